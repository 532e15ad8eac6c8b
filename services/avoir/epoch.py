"""Begins a new epoch, and publishes every account's balance under it."""

from avoir.core.events import Balance
from avoir.core.ids import derived_id
from avoir.kafka.translate_events import balance_record
from avoir.postgres import queries, rows
from avoir.postgres.connect import Connection
from avoir.postgres.headers import packed
from avoir.postgres.session import Session
from avoir.postgres.write import OUTBOX_COLUMNS

ROWS_AT_A_TIME = 1_000


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
        while found := await stream.fetch(ROWS_AT_A_TIME):
            records = []
            for row in found:
                account = rows.account(row)
                balance = Balance(
                    event_id=derived_id(*account.key, epoch, account.seq),
                    account=account.key,
                    available=account.available,
                    reserved=account.reserved,
                    as_of=row["recorded_at"],
                    epoch=epoch,
                    seq=account.seq,
                    head=account.head,
                )
                out = balance_record(balance, ce_source)
                headers = packed(out.headers)
                records.append(
                    (account.key.tenant_id, out.topic, out.key, out.value, headers, row["recorded_at"])
                )
            await Session(connection).copy("outbox", OUTBOX_COLUMNS, records)
            published += len(records)
    return epoch, published
