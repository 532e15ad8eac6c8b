"""An account's statement: each movement with cause, document and balance after it, and the sum checked."""

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import asyncpg

from avoir.cli.base.differences import Difference
from avoir.cli.base.snapshot import BEGINNING, END, snapshot
from avoir.cli.statement.movements import NOTHING, Held, Movement, differences, follow, last_entries, place
from avoir.core.model.events import AccountKey
from avoir.core.model.facts import Owner
from avoir.core.model.money import format_decimal
from avoir.postgres import queries
from avoir.postgres.connect import Connection

LAST_ENTRY = (2**62, 2**30)


@dataclass(frozen=True, slots=True)
class Expiring:
    """What is left in a grant that expires, in micros."""

    grant_id: UUID
    source: str
    reason: str
    expires_at: datetime
    left: Held


@dataclass(frozen=True, slots=True)
class AccountStatement:
    """One account within a span: opening balance, movements, closing balance.

    `opening` and `closing` are what the ledger holds; `opening_expired` and `expired_unswept` the parts of them in
    grants that had expired and were not yet swept. `expiring` is what expires after the closing, soonest first.
    `earlier` says that the limit left out older movements of the span (the opening balance counts them).
    """

    account: AccountKey
    opening: Held
    opening_expired: Held
    movements: tuple[Movement, ...]
    closing: Held
    expired_unswept: Held
    expiring: tuple[Expiring, ...]
    earlier: bool
    differences: tuple[Difference, ...]

    @property
    def unexpired(self) -> Held:
        """What could really be used, and what was really set aside, at the closing."""
        return self.closing.minus(self.expired_unswept)

    @property
    def adds_up(self) -> bool:
        """Whether the movements come to the balances that are kept."""
        return not self.differences


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
    limit: int | None = None


class _Place(NamedTuple):
    """A place in an account's entries: before an entry, before a moment, and no later than another."""

    seq: int
    n: int
    before: datetime
    as_of: datetime


async def read_statement(
    connection: Connection, tenant_id: str, owner: Owner, currency: str | None, span: Span
) -> Statement:
    """The statement of an owner's account in one currency, or of all of them. NotYetError for a later `as_of`."""
    async with snapshot(connection, span.as_of) as now:
        rows = await connection.fetch(
            *queries.read_owner_accounts(tenant_id=tenant_id, owner=owner, currency=currency)
        )
        statements = []
        for row in rows:
            account = AccountKey(tenant_id, *owner, row["currency"])
            statements.append(await _read_account(connection, account, row, span, now))
    return Statement(tenant_id, owner, span.as_of or now, tuple(statements))


async def _read_account(
    connection: Connection, account: AccountKey, held: asyncpg.Record, span: Span, now: datetime
) -> AccountStatement:
    start, end, as_of = span.start or BEGINNING, span.end or END, span.as_of or END
    # One for knowing that there are more, one for the other half of a posting.
    limit = None if span.limit is None else span.limit + 2
    rows = await connection.fetch(
        *queries.read_movements(account=account, start=start, end=end, as_of=as_of, limit=limit)
    )
    shown, earlier = last_entries(rows, span.limit)
    first = _Place(shown[0]["seq"], shown[0]["n"], END, as_of) if shown else _Place(*LAST_ENTRY, start, as_of)
    opened_at = shown[0]["recorded_at"] if earlier else start
    before = await connection.fetch(*queries.read_grants_left(account=account, place=first))
    last = _Place(*LAST_ENTRY, end, as_of)
    after = await connection.fetch(*queries.read_grants_left(account=account, place=last))
    stored = [
        await connection.fetchval(
            *queries.read_balance_before(account=account, place=first, ledger_account=name)
        )
        or 0
        for name in Held._fields
    ]
    closed_at = min(as_of, end, now)
    opening = _sum(before)
    movements = follow(opening, shown)
    return AccountStatement(
        account,
        opening,
        _sum(_expired(before, opened_at)),
        movements,
        movements[-1].after if movements else opening,
        _sum(_expired(after, closed_at)),
        _expiring(after, closed_at),
        earlier,
        (*differences(account, opening, Held(*stored), shown), *_whole(account, held)),
    )


def _sum(grants: list[asyncpg.Record]) -> Held:
    held = NOTHING
    for row in grants:
        held = held.plus(Held(row["available"], row["reserved"]))
    return held


def _expired(grants: list[asyncpg.Record], by: datetime) -> list[asyncpg.Record]:
    return [row for row in grants if row["expires_at"] is not None and row["expires_at"] <= by]


def _expiring(grants: list[asyncpg.Record], after: datetime) -> tuple[Expiring, ...]:
    return tuple(
        Expiring(
            row["grant_id"],
            row["source"],
            row["reason"],
            row["expires_at"],
            Held(row["available"], row["reserved"]),
        )
        for row in grants
        if row["expires_at"] is not None and row["expires_at"] > after
    )


def _whole(account: AccountKey, held: asyncpg.Record) -> list[Difference]:
    """Where all entries of the account, of whatever span, do not come to what it holds now."""
    return [
        Difference(
            account.tenant_id,
            place(account),
            name,
            *(format_decimal(held[part], account.currency) for part in (f"summed_{name}", name)),
        )
        for name in Held._fields
        if held[name] != held[f"summed_{name}"]
    ]
