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
"""What the figures are called, in the order in which they are shown; what was given comes after what is reserved."""


def flat(figures: Figures, sources: Iterable[str]) -> dict[str, int]:
    """Figures by their labels, what was given by each of these sources."""
    found = {LABELS[name]: getattr(figures, name) for name in ("available", "reserved")}
    found |= {f"given: {each.replace('_', ' ')}": figures.given.get(each, 0) for each in sources}
    return found | {label: getattr(figures, name) for name, label in LABELS.items() if label not in found}


def figures_json(figures: Figures, currency: str) -> dict[str, Any]:
    """The documented shape of an account's figures."""
    found = {name: amount(getattr(figures, name), currency) for name in LABELS}
    return {**found, "given": {source: amount(each, currency) for source, each in figures.given.items()}}


def account_name(key: AccountKey) -> str:
    """An account as people name it."""
    return f"{key.owner_type}/{key.owner_id} {key.currency}"


def account_json(key: AccountKey) -> dict[str, Any]:
    """Which account it is."""
    return {"owner": {"type": key.owner_type, "id": key.owner_id}, "currency": key.currency}


def figures_table(accounts: Iterable[tuple[str, str, Figures]]) -> Table:
    """Accounts by name and currency, a row each; columns in which there is nothing are left out."""
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
