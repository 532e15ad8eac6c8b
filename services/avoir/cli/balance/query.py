"""Balances of owners: available and reserved credit, and the next amount to expire."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

import asyncpg

from avoir.cli.base.snapshot import snapshot
from avoir.core.model.events import AccountKey
from avoir.core.model.facts import Owner
from avoir.postgres import queries
from avoir.postgres.connect import Connection


@dataclass(frozen=True, slots=True)
class Expiry:
    """The part of a balance that expires next."""

    at: datetime
    amount: int


class Pending(NamedTuple):
    """Pending credit that takes effect at a later moment, in micros."""

    at: datetime
    amount: int


class Reserved(NamedTuple):
    """Credit reserved for an invoice, in micros; no invoice means the owner's next."""

    invoice_id: str | None
    amount: int


@dataclass(frozen=True, slots=True)
class AccountBalance:
    """Balance of an account.

    `expired_unswept` is expired credit that awaits the sweep, `coming` is pending; neither is in a balance.
    `refill_asked` is true from the request of a refill until prepaid credit arrives.
    """

    account: AccountKey
    available: int
    reserved: int
    expired_unswept: int
    next_expiry: Expiry | None
    seq: int
    head: bytes
    recorded_at: datetime | None
    pending: tuple[Pending, ...] = ()
    reservations: tuple[Reserved, ...] = ()
    refill_asked: bool = False


@dataclass(frozen=True, slots=True)
class Balances:
    """Accounts at a moment of the database clock; `more` says that the limit left some out."""

    tenant_id: str
    as_of: datetime
    epoch: int
    accounts: tuple[AccountBalance, ...]
    more: bool


async def read_balances(connection: Connection, tenant_id: str, owner: Owner | None, limit: int) -> Balances:
    """The accounts of one owner, or the first `limit` of the tenant."""
    owner_type, owner_id = owner or (None, None)
    async with snapshot(connection) as now:
        epoch = await connection.fetchval(*queries.read_epoch())
        rows = await connection.fetch(
            *queries.read_balances(
                tenant_id=tenant_id, owner_type=owner_type, owner_id=owner_id, now=now, limit=limit + 1
            )
        )
        keys = [
            AccountKey(tenant_id, row["owner_type"], row["owner_id"], row["currency"]) for row in rows[:limit]
        ]
        pending = await connection.fetch(*queries.read_pending(tenant_id=tenant_id, accounts=keys))
        reservations = await connection.fetch(
            *queries.read_reserved(tenant_id=tenant_id, accounts=keys, now=now)
        )
    accounts = tuple(_account(tenant_id, row, pending, reservations) for row in rows[:limit])
    return Balances(tenant_id, now, epoch, accounts, more=len(rows) > limit)


def _account(
    tenant_id: str,
    row: asyncpg.Record,
    pending: Sequence[asyncpg.Record],
    reservations: Sequence[asyncpg.Record],
) -> AccountBalance:
    expiry = Expiry(row["next_expires_at"], row["next_expiring"]) if row["next_expires_at"] else None
    key = _key(row)
    return AccountBalance(
        AccountKey(tenant_id, *key),
        row["available"],
        row["reserved"],
        row["expired_unswept"],
        expiry,
        row["seq"],
        row["head"],
        row["recorded_at"],
        tuple(Pending(each["effective_at"], each["amount"]) for each in pending if _key(each) == key),
        tuple(Reserved(each["invoice_id"], each["amount"]) for each in reservations if _key(each) == key),
        row["refill_asked"],
    )


def _key(row: asyncpg.Record) -> tuple[str, str, str]:
    return row["owner_type"], row["owner_id"], row["currency"]
