"""What goes into the outbox by hand: balances as they stand, and what the broker had refused."""

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from avoir.core.events import AccountKey
from avoir.core.rows import Account
from avoir.kafka.translate_events import BALANCE, account_of_key, balance_record
from avoir.postgres import queries, rows
from avoir.postgres.connect import Connection
from avoir.postgres.headers import packed
from avoir.postgres.session import Session
from avoir.postgres.write import OUTBOX_COLUMNS

ACCOUNTS_AT_A_TIME = 1_000


class Retried(NamedTuple):
    """How many records go out as they were, and how many accounts' balances as they stand now."""

    records: int
    balances: int


async def retry_refused(connection: Connection, ce_source: str) -> Retried:
    """Let the relay send what the broker had refused, in one transaction.

    Balances are written anew: a later one may be out already, and the compacted topic would keep the one that comes
    last.
    """
    written: set[AccountKey] = set()
    async with connection.transaction():
        # No batch may write a balance, and have it published, before those written here.
        await connection.execute(queries.lock_all_accounts)
        epoch: int = await connection.fetchval(queries.read_epoch)
        while refused := await connection.fetch(queries.drop_refused, BALANCE, ACCOUNTS_AT_A_TIME):
            accounts = {account_of_key(row["key"]) for row in refused} - written
            columns = [list(column) for column in zip(*sorted(accounts), strict=True)]
            if columns:
                found = await connection.fetch(queries.lock_accounts, *columns)
                standing = [(rows.account(row), row["recorded_at"]) for row in found]
                await publish_balances(connection, standing, epoch, ce_source)
            written |= accounts
        # A balance that the relay sets aside only now stays so: it may be older than what was written here.
        records: int = await connection.fetchval(queries.retry_refused, BALANCE)
    return Retried(records, len(written))


async def publish_balances(
    connection: Connection, accounts: Iterable[tuple[Account, datetime]], epoch: int, ce_source: str
) -> None:
    """Put the balances of accounts, with the times since which they stand, into the outbox under an epoch."""
    records = []
    for account, as_of in accounts:
        balance = account.balance(account.event_id(epoch), epoch, as_of)
        out = balance_record(balance, ce_source)
        records.append((account.key.tenant_id, out.topic, out.key, out.value, packed(out.headers), as_of))
    await Session(connection).copy("outbox", OUTBOX_COLUMNS, records)
