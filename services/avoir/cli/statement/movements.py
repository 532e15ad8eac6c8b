"""Rows of entries as movements: one for each posting, with its document and what the account holds after it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NamedTuple
from uuid import UUID

import asyncpg

from avoir.cli.base.differences import Difference
from avoir.core.handlers.invoices import credit_note_number
from avoir.core.model.events import AccountKey
from avoir.core.model.money import format_decimal

LedgerAccount = Literal["available", "reserved"]


class Held(NamedTuple):
    """The two balances of an account, in micros."""

    available: int
    reserved: int

    def plus(self, other: "Held") -> "Held":
        """Both sums."""
        return Held(self.available + other.available, self.reserved + other.reserved)

    def minus(self, other: "Held") -> "Held":
        """Both differences."""
        return Held(self.available - other.available, self.reserved - other.reserved)


NOTHING = Held(0, 0)
NAMED_BY_REFERENCE = frozenset({"drawn", "refunded"})
"""Events whose entries have the command's reference as their reason."""


class Document(NamedTuple):
    """Document of a movement; `number` is that of the invoice or credit note, if known."""

    kind: str
    id: str
    number: str | None = None


@dataclass(frozen=True, slots=True)
class Movement:
    """One posting, numbered by its first entry; `change` says what it did to both balances, in micros.

    Between available and reserved, `ledger_account` is the destination and `counter_account` the source.
    """

    seq: int
    n: int
    event: str
    reason: str
    ledger_account: LedgerAccount
    counter_account: str
    change: Held
    after: Held
    grant_id: UUID
    source: str
    document: Document | None
    application_id: UUID | None
    cause_topic: str
    cause_event_id: str
    occurred_at: datetime
    recorded_at: datetime

    @property
    def amount(self) -> int:
        """Change of what the owner holds, in micros; zero between available and reserved."""
        return sum(self.change)


def last_entries(rows: Sequence[asyncpg.Record], limit: int | None) -> tuple[Sequence[asyncpg.Record], bool]:
    """From rows that come newest first, return the last `limit`, oldest first, and whether there are more.

    The two entries of a posting between available and reserved stay together.
    """
    if limit is None or len(rows) <= limit:
        return rows[::-1], False
    kept = rows[: limit + 1] if _are_one_posting(rows[limit], rows[limit - 1]) else rows[:limit]
    return kept[::-1], len(rows) > len(kept)


def _are_one_posting(first: asyncpg.Record, second: asyncpg.Record) -> bool:
    return (
        (first["seq"], first["n"] + 1, first["grant_id"]) == (second["seq"], second["n"], second["grant_id"])
        and first["counter_account"] == second["ledger_account"]
        and first["ledger_account"] == second["counter_account"]
        and first["amount"] == -second["amount"]
    )


def follow(opening: Held, rows: Iterable[asyncpg.Record]) -> tuple[Movement, ...]:
    """Movements of entries in order, with the balances after each."""
    movements: list[Movement] = []
    before: asyncpg.Record | None = None
    after = opening
    for row in rows:
        on_available = row["ledger_account"] == "available"
        change = Held(row["amount"], 0) if on_available else Held(0, row["amount"])
        after = after.plus(change)
        if before is not None and _are_one_posting(before, row):
            first = movements.pop()
            movements.append(_movement(row, first.n, first.change.plus(change), after))
            before = None
        else:
            movements.append(_movement(row, row["n"], change, after))
            before = row
    return tuple(movements)


def differences(
    account: AccountKey, opening: Held, stored: Held, rows: Iterable[asyncpg.Record]
) -> list[Difference]:
    """Places where stored balances differ from the sums; `stored` is the balance in the previous entry."""
    held = opening._asdict()
    apart = dict.fromkeys(held, 0)
    result = []

    # A gap is reported at the entry where it begins, not at every entry after it.
    def compare(name: str, where: str, balance: int) -> None:
        if balance - held[name] != apart[name]:
            amounts = (format_decimal(micros, account.currency) for micros in (held[name], balance))
            result.append(
                Difference(account.tenant_id, f"{place(account)}{where}", f"balance of {name}", *amounts)
            )
        apart[name] = balance - held[name]

    for name, balance in stored._asdict().items():
        compare(name, ", before the first movement", balance)
    for row in rows:
        held[row["ledger_account"]] += row["amount"]
        compare(row["ledger_account"], f", entry {row['seq']}.{row['n']}", row["balance"])
    return result


def place(account: AccountKey) -> str:
    """Name of an account in a difference."""
    return f"account {account.owner_type}/{account.owner_id} {account.currency}"


def _movement(row: asyncpg.Record, n: int, change: Held, after: Held) -> Movement:
    return Movement(
        row["seq"],
        n,
        row["event"],
        row["reason"],
        row["ledger_account"],
        row["counter_account"],
        change,
        after,
        row["grant_id"],
        row["source"],
        _document(row),
        row["application_id"],
        row["topic"],
        row["event_id"],
        row["occurred_at"],
        row["recorded_at"],
    )


def _document(row: asyncpg.Record) -> Document | None:
    number = row["number"]
    if row["event"] in NAMED_BY_REFERENCE:
        return Document("reference", row["reason"])
    if row["invoice_id"] is not None:
        return Document("invoice", row["invoice_id"], number)
    match row["entitlement_kind"]:
        case "line" if row["line_kind"] in ("booking", "plan") and row["subject_id"]:
            return Document(row["line_kind"], row["subject_id"], number)
        case "line" | "amount_paid":
            return Document("invoice", row["entitlement_id"], number)
        case "negative_total":
            return Document("credit_note", row["entitlement_id"], number and credit_note_number(number))
        case "payment":
            return Document("payment", row["entitlement_id"])
    return Document("reference", row["reference"]) if row["reference"] is not None else None
