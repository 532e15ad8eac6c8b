"""State of the service: positions, outbox, leases, dead letters, epoch and schema."""

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from avoir.batch.locked import rows_waited_for
from avoir.cli.base.snapshot import snapshot
from avoir.kafka.position import StoredPosition, positions_of
from avoir.postgres import queries
from avoir.postgres.connect import Connection
from avoir.postgres.migrate import REQUIRED_VERSION, schema_version
from avoir.record import TopicPartition


class LeaseHeld(NamedTuple):
    """A lease and its holder; `held` is false once it has expired."""

    name: str
    holder: str
    held_until: datetime
    held: bool


class DeadLetterCount(NamedTuple):
    """Dead letters not replayed yet."""

    outcome: str
    topic: str
    messages: int
    newest: datetime


class Deferred(NamedTuple):
    """Deferred messages, since when, and the keys of the locked rows they wait for."""

    messages: int
    oldest: datetime | None
    waits_for: tuple[str, ...]


class PendingCredit(NamedTuple):
    """Pending grants, the number overdue and the next moment; accounts that wait for a requested refill."""

    pending: int
    overdue: int
    next_at: datetime | None
    refills: int


@dataclass(frozen=True, slots=True)
class Status:
    """The database's side of the service at a moment.

    `oldest` is the oldest message that waits to be published, `moved_at` when each position last moved, and `used` the
    number of partitions in use of each output topic, by actual names.
    """

    as_of: datetime
    schema: int
    schema_needed: int
    epoch: int
    positions: dict[TopicPartition, StoredPosition]
    moved_at: dict[TopicPartition, datetime]
    waiting: int
    oldest: datetime | None
    refused: int
    leases: tuple[LeaseHeld, ...]
    dead_letters: tuple[DeadLetterCount, ...]
    pending_credit: PendingCredit
    deferred: Deferred
    used: dict[str, int]


async def read_status(connection: Connection, group_id: str) -> Status:
    """Read the state of the service; `group_id` is the consumer group of the positions."""
    async with snapshot(connection) as now:
        rows = await connection.fetch(*queries.all_positions(group_id=group_id))
        outbox = await connection.fetchrow(*queries.read_outbox())
        leases = await connection.fetch(*queries.read_leases())
        counts = await connection.fetch(*queries.read_dead_letter_counts())
        pending_credit = await connection.fetchrow(*queries.read_pending_counts(now=now))
        used = await connection.fetch(*queries.read_all_output_topics())
        assert outbox is not None
        deferred = await connection.fetchrow(*queries.count_deferred(group_id=group_id))
        assert pending_credit is not None
        assert deferred is not None
        return Status(
            now,
            await schema_version(connection),
            REQUIRED_VERSION,
            await connection.fetchval(*queries.read_epoch()),
            positions_of(rows),
            {TopicPartition(row["topic"], row["partition"]): row["moved_at"] for row in rows},
            outbox["waiting"],
            outbox["oldest"],
            outbox["refused"],
            tuple(LeaseHeld(*row) for row in leases),
            tuple(DeadLetterCount(*row) for row in counts),
            PendingCredit(*pending_credit),
            Deferred(
                deferred["messages"],
                deferred["oldest"],
                rows_waited_for(deferred["waits_for"]),
            ),
            {row["topic"]: row["partitions"] for row in used},
        )
