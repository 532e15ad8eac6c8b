"""Begins a new epoch, and publishes every account's balance under it."""

from avoir.outbox import ACCOUNTS_AT_A_TIME, publish_balances
from avoir.postgres import queries
from avoir.postgres.connect import Connection


async def raise_epoch(connection: Connection, reason: str, ce_source: str) -> tuple[int, int]:
    """The new epoch, and how many balances it puts in the outbox; all in one transaction.

    Without the balances, the compacted topic would keep what accounts had after transactions that are lost now.
    """
    published = 0
    async with connection.transaction():
        # No batch may read the old epoch and commit after the balances are read.
        await connection.execute(queries.lock_all_accounts)
        epoch: int = await connection.fetchval(queries.raise_epoch, reason)
        stream = await connection.cursor(queries.stream_accounts)
        while found := await stream.fetch(ACCOUNTS_AT_A_TIME):
            await publish_balances(connection, found, epoch, ce_source)
            published += len(found)
    return epoch, published
