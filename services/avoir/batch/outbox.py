"""Writes records for the relay to the outbox."""

from collections.abc import Iterable
from datetime import datetime

from avoir.core.model.rows import Account
from avoir.postgres import queries
from avoir.postgres.connect import Connection
from avoir.postgres.headers import packed
from avoir.postgres.session import Session
from avoir.postgres.write import OutboxRow, write_outbox
from avoir.wire.dead_letters import DeadLetter
from avoir.wire.outgoing import Outgoing, balance_record

ACCOUNTS_AT_A_TIME = 1_000


def outbox_row(tenant_id: str, record: Outgoing | DeadLetter, recorded_at: datetime) -> OutboxRow:
    """A record to publish as a row of the outbox."""
    return OutboxRow(tenant_id, record.topic, record.key, record.value, packed(record.headers), recorded_at)


async def publish_balances(
    connection: Connection, accounts: Iterable[tuple[Account, datetime]], epoch: int, ce_source: str
) -> None:
    """Put the balances of accounts, with their times, into the outbox under an epoch."""
    # They wait to be published since now, however old the balances are.
    now: datetime = await connection.fetchval(*queries.read_clock())
    rows = []
    for account, as_of in accounts:
        balance = account.balance(account.event_id(epoch), epoch, as_of)
        rows.append(outbox_row(account.key.tenant_id, balance_record(balance, ce_source), now))
    await write_outbox(Session(connection), rows)
