"""An account's statement: movements with cause, document and balance, and a check of the sums."""

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
    """Remaining amount of a grant that expires, in micros."""

    grant_id: UUID
    source: str
    reason: str
    expires_at: datetime
    left: Held


@dataclass(frozen=True, slots=True)
class AccountStatement:
    """One account within a period: opening balance, movements, closing balance, as the ledger holds them.

    `opening_expired` and `expired_unswept` are the parts in expired, unswept grants. `expiring` is what expires after
    the closing, soonest first. `earlier` says that the limit left out older movements (the opening balance includes
    them).
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
        """Credit that could be used, and credit that was reserved, at the closing; without expired credit."""
        return self.closing.minus(self.expired_unswept)

    @property
    def adds_up(self) -> bool:
        """Check whether the movements lead to the stored balances."""
        return not self.differences


@dataclass(frozen=True, slots=True)
class Statement:
    """An owner's statement as of `as_of`."""

    tenant_id: str
    owner: Owner
    as_of: datetime
    accounts: tuple[AccountStatement, ...]


@dataclass(frozen=True, slots=True)
class MovementFilter:
    """Selection of movements: recorded from `start` to before `end`, no later than `as_of`; the last `limit`."""

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
    connection: Connection, tenant_id: str, owner: Owner, currency: str | None, selection: MovementFilter
) -> Statement:
    """The statement of an owner's account in one currency, or in all. Raises NotYetError for a future `as_of`."""
    async with snapshot(connection, selection.as_of) as now:
        rows = await connection.fetch(
            *queries.read_owner_accounts(tenant_id=tenant_id, owner=owner, currency=currency)
        )
        statements = []
        for row in rows:
            account = AccountKey(tenant_id, *owner, row["currency"])
            statements.append(await _read_account(connection, account, row, selection, now))
    return Statement(tenant_id, owner, selection.as_of or now, tuple(statements))


async def _read_account(
    connection: Connection,
    account: AccountKey,
    held: asyncpg.Record,
    selection: MovementFilter,
    now: datetime,
) -> AccountStatement:
    start, end, as_of = selection.start or BEGINNING, selection.end or END, selection.as_of or END
    # One row more to see whether there are more, and one for the other half of a posting.
    limit = None if selection.limit is None else selection.limit + 2
    rows = await connection.fetch(
        *queries.read_movements(account=account, start=start, end=end, as_of=as_of, limit=limit)
    )
    shown, earlier = last_entries(rows, selection.limit)
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
    """Balances of the account that differ from the sum of all its entries, of any period."""
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
