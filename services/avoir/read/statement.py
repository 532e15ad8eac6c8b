"""An account's statement: each movement with cause, document and balance after it, and the sum checked."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NamedTuple
from uuid import UUID

import asyncpg

from avoir.core.events import AccountKey
from avoir.core.facts import Owner
from avoir.postgres import queries
from avoir.postgres.connect import Connection
from avoir.read.snapshot import BEGINNING, END, snapshot

LedgerAccount = Literal["available", "reserved"]
LAST_ENTRY = (2**62, 2**30)


class Held(NamedTuple):
    """The two balances of an account."""

    available: int
    reserved: int


class Document(NamedTuple):
    """What a movement is about: the invoice it was used on, or what its grant was given for."""

    kind: str
    id: str


@dataclass(frozen=True, slots=True)
class Movement:
    """One entry of the ledger; `balance` is that of its own ledger account, `after` both."""

    seq: int
    n: int
    event: str
    reason: str
    ledger_account: LedgerAccount
    counter_account: str
    amount: int
    balance: int
    after: Held
    grant_id: UUID
    source: str
    document: Document | None
    application_id: UUID | None
    cause_topic: str
    cause_event_id: str
    occurred_at: datetime
    recorded_at: datetime


@dataclass(frozen=True, slots=True)
class AccountStatement:
    """One account within a span: opening balance, movements, closing balance.

    `earlier` says that the limit left out older movements of the span (the opening balance counts them).
    `expired_unswept` is the part of the closing balance in grants that had expired and were not yet swept.
    `adds_up`: each balance follows from the one before it, and the last one is that of the account.
    """

    account: AccountKey
    opening: Held
    movements: tuple[Movement, ...]
    closing: Held
    expired_unswept: Held
    earlier: bool
    adds_up: bool


@dataclass(frozen=True, slots=True)
class Statement:
    """An owner's statement as the ledger stood at `as_of`."""

    tenant_id: str
    owner: Owner
    as_of: datetime
    accounts: tuple[AccountStatement, ...]


@dataclass(frozen=True, slots=True)
class Span:
    """Which movements: recorded from `start` to before `end`, no later than `as_of`; the last `limit`."""

    start: datetime | None = None
    end: datetime | None = None
    as_of: datetime | None = None
    limit: int = 1000


async def read_statement(
    connection: Connection, tenant_id: str, owner: Owner, currency: str | None, span: Span
) -> Statement:
    """The statement of an owner's account in one currency, or of all of them."""
    async with snapshot(connection) as now:
        rows = await connection.fetch(queries.read_owner_accounts, tenant_id, *owner, currency)
        statements = []
        for row in rows:
            account = AccountKey(tenant_id, *owner, row["currency"])
            held = Held(row["available"], row["reserved"])
            statements.append(await _read_account(connection, account, held, span, now))
    return Statement(tenant_id, owner, span.as_of or now, tuple(statements))


async def _read_account(
    connection: Connection, account: AccountKey, held: Held, span: Span, now: datetime
) -> AccountStatement:
    start, end, as_of = span.start or BEGINNING, span.end or END, span.as_of or END
    rows = await connection.fetch(queries.read_movements, *account, start, end, as_of, span.limit + 1)
    shown = rows[: span.limit][::-1]
    first = (shown[0]["seq"], shown[0]["n"]) if shown else LAST_ENTRY
    before = END if shown else start
    opening = Held(
        *[
            await connection.fetchval(queries.read_balance_before, *account, name, *first, before, as_of) or 0
            for name in ("available", "reserved")
        ]
    )
    movements, chained = follow(opening, shown)
    closing = movements[-1].after if movements else opening
    whole = span.end is None and span.as_of is None
    expired = await connection.fetchrow(
        queries.read_expired_unswept, *account, min(as_of, end, now), end, as_of
    )
    return AccountStatement(
        account,
        opening,
        movements,
        closing,
        Held(*expired) if expired else Held(0, 0),
        earlier=len(rows) > span.limit,
        adds_up=chained and (not whole or closing == held),
    )


def follow(opening: Held, rows: Iterable[asyncpg.Record]) -> tuple[tuple[Movement, ...], bool]:
    """The movements with the balance after each, and whether each stored balance is the one computed."""
    after, chained, movements = opening, True, []
    for row in rows:
        if row["ledger_account"] == "available":
            after = Held(after.available + row["amount"], after.reserved)
            chained = chained and after.available == row["balance"]
        else:
            after = Held(after.available, after.reserved + row["amount"])
            chained = chained and after.reserved == row["balance"]
        movements.append(_movement(row, after))
    return tuple(movements), chained


def _movement(row: asyncpg.Record, after: Held) -> Movement:
    return Movement(
        row["seq"],
        row["n"],
        row["event"],
        row["reason"],
        row["ledger_account"],
        row["counter_account"],
        row["amount"],
        row["balance"],
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
    if row["invoice_id"] is not None:
        return Document("invoice", row["invoice_id"])
    match row["entitlement_kind"]:
        case "line" if row["line_kind"] in ("booking", "plan") and row["subject_id"]:
            return Document(row["line_kind"], row["subject_id"])
        case "line" | "amount_paid" | "negative_total":
            return Document("invoice", row["entitlement_id"])
        case "payment":
            return Document("payment", row["entitlement_id"])
    return None
