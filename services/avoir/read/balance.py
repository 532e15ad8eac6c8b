"""What owners have: available and reserved credit, and what of it expires next."""

from dataclasses import dataclass
from datetime import datetime

import asyncpg

from avoir.core.events import AccountKey
from avoir.core.facts import Owner
from avoir.postgres import queries
from avoir.postgres.connect import Connection
from avoir.read.snapshot import snapshot


@dataclass(frozen=True, slots=True)
class Expiry:
    """The part of a balance that expires next."""

    at: datetime
    amount: int


@dataclass(frozen=True, slots=True)
class AccountBalance:
    """What an account holds; `expired_unswept` is what expired and awaits the sweep, in neither balance."""

    account: AccountKey
    available: int
    reserved: int
    expired_unswept: int
    next_expiry: Expiry | None
    seq: int
    head: bytes
    recorded_at: datetime | None


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
        epoch = await connection.fetchval(queries.read_epoch)
        rows = await connection.fetch(queries.read_balances, tenant_id, owner_type, owner_id, now, limit + 1)
    accounts = tuple(_account(tenant_id, row) for row in rows[:limit])
    return Balances(tenant_id, now, epoch, accounts, more=len(rows) > limit)


def _account(tenant_id: str, row: asyncpg.Record) -> AccountBalance:
    expiry = Expiry(row["next_expires_at"], row["next_expiring"]) if row["next_expires_at"] else None
    return AccountBalance(
        AccountKey(tenant_id, row["owner_type"], row["owner_id"], row["currency"]),
        row["available"],
        row["reserved"],
        row["expired_unswept"],
        expiry,
        row["seq"],
        row["head"],
        row["recorded_at"],
    )
