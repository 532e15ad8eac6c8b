"""Sends refused records again."""

from typing import NamedTuple

from avoir.batch.outbox import ACCOUNTS_AT_A_TIME, publish_balances
from avoir.core.model.events import AccountKey
from avoir.postgres import queries, rows
from avoir.postgres.connect import Connection
from avoir.wire.outgoing import account_of_key
from avoir.wire.topics import BALANCE


class Retried(NamedTuple):
    """Number of records sent unchanged, and of accounts whose current balance is sent."""

    records: int
    balances: int


async def retry_refused(connection: Connection, ce_source: str) -> Retried:
    """Let the relay send refused records, in one transaction.

    Balances are written again: a later one may be out already, and the compacted topic would keep the one that comes
    last.
    """
    written: set[AccountKey] = set()
    async with connection.transaction():
        # No batch may write a balance, and have it published, before those written here.
        await connection.execute(*queries.lock_all_accounts())
        epoch: int = await connection.fetchval(*queries.read_epoch())
        while refused := await connection.fetch(
            *queries.delete_refused(topic=BALANCE, limit=ACCOUNTS_AT_A_TIME)
        ):
            accounts = {account_of_key(row["key"]) for row in refused} - written
            if accounts:
                fetched = await connection.fetch(*queries.lock_accounts(accounts=accounts))
                current = [(rows.account(row), row["recorded_at"]) for row in fetched]
                await publish_balances(connection, current, epoch, ce_source)
            written |= accounts
        # A balance refused only now stays refused: it may be older than the one written here.
        records: int = await connection.fetchval(*queries.retry_refused(except_topic=BALANCE))
    return Retried(records, len(written))
