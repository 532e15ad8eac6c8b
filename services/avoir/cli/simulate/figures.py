"""Figures of accounts as `avoir simulate` prints them."""

from collections.abc import Iterable, Mapping
from typing import Any

from rich.table import Table

from avoir.cli.base.output import add_rows, amount, table
from avoir.core.model.events import AccountKey
from avoir.core.simulate import Figures

ALWAYS = {"available", "due"}
LABELS: Mapping[str, str] = {
    "available": "available",
    "reserved": "reserved",
    "used": "used",
    "expired": "expired",
    "voided": "voided",
    "shortfall": "shortfall",
    "due": "due on invoices",
}
"""Names of the figures, in display order; credit given comes after reserved."""


def flat(figures: Figures, sources: Iterable[str]) -> dict[str, int]:
    """Figures by label, with credit given by each of these sources."""
    by_label = {LABELS[name]: getattr(figures, name) for name in ("available", "reserved")}
    by_label |= {f"given: {each.replace('_', ' ')}": figures.given.get(each, 0) for each in sources}
    return by_label | {
        label: getattr(figures, name) for name, label in LABELS.items() if label not in by_label
    }


def figures_json(figures: Figures, currency: str) -> dict[str, Any]:
    """The documented shape of an account's figures."""
    by_label = {name: amount(getattr(figures, name), currency) for name in LABELS}
    return {**by_label, "given": {source: amount(each, currency) for source, each in figures.given.items()}}


def account_name(key: AccountKey) -> str:
    """Name of an account for people."""
    return f"{key.owner_type}/{key.owner_id} {key.currency}"


def account_json(key: AccountKey) -> dict[str, Any]:
    """Identity of an account."""
    return {"owner": {"type": key.owner_type, "id": key.owner_id}, "currency": key.currency}


def figures_table(accounts: Iterable[tuple[str, str, Figures]]) -> Table:
    """One row per account, by name and currency; empty columns are left out."""
    rows = list(accounts)
    given = {name: sum(each.given.values()) for name, _, each in rows}
    shown = [name for name in LABELS if name in ALWAYS or any(getattr(each, name) for _, _, each in rows)]
    titles = [LABELS[name].capitalize() for name in shown]
    titles.insert(1, "Given")
    made = table("Account", *titles, right=titles)
    for name, currency, each in rows:
        cells = [amount(getattr(each, part), currency) for part in shown]
        cells.insert(1, amount(given[name], currency))
        add_rows(made, [(name, *cells)])
    return made
