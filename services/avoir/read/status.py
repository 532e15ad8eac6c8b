"""How the service stands: positions, outbox, leases, dead letters, epoch and schema."""

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from avoir.postgres import queries
from avoir.postgres.connect import Connection
from avoir.postgres.migrate import REQUIRED_VERSION, schema_version
from avoir.read.snapshot import snapshot
from avoir.record import TopicPartition


class LeaseHeld(NamedTuple):
    """A lease and who has it; `held` is false once it has run out."""

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


class StandingCredit(NamedTuple):
    """Grants that are to come, how many of them are overdue and when the next comes; accounts that await a refill."""

    pending: int
    overdue: int
    next_at: datetime | None
    refills: int


@dataclass(frozen=True, slots=True)
class Status:
    """The database's side of the service at a moment; `oldest` is the oldest message that waits to be published.

    `used` is how many partitions of each topic out are used, by actual names.
    """

    as_of: datetime
    schema: int
    schema_needed: int
    epoch: int
    positions: dict[TopicPartition, int]
    waiting: int
    oldest: datetime | None
    refused: int
    leases: tuple[LeaseHeld, ...]
    dead_letters: tuple[DeadLetterCount, ...]
    standing: StandingCredit
    used: dict[str, int]


async def read_status(connection: Connection, group_id: str) -> Status:
    """How the service stands; `group_id` is the consumer group whose positions count."""
    async with snapshot(connection) as now:
        positions = await connection.fetch(queries.all_positions, group_id)
        outbox = await connection.fetchrow(queries.read_outbox)
        leases = await connection.fetch(queries.read_leases)
        counts = await connection.fetch(queries.read_dead_letter_counts)
        standing = await connection.fetchrow(queries.read_standing_credit, now)
        used = await connection.fetch(queries.read_all_topics_out)
        assert outbox is not None
        assert standing is not None
        return Status(
            now,
            await schema_version(connection),
            REQUIRED_VERSION,
            await connection.fetchval(queries.read_epoch),
            {TopicPartition(row["topic"], row["partition"]): row["next_offset"] for row in positions},
            outbox["waiting"],
            outbox["oldest"],
            outbox["refused"],
            tuple(LeaseHeld(*row) for row in leases),
            tuple(DeadLetterCount(*row) for row in counts),
            StandingCredit(*standing),
            {row["topic"]: row["partitions"] for row in used},
        )
