"""The messages that could not be handled: a list of them, and one with everything that came."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg

from avoir.postgres import queries
from avoir.postgres.connect import Connection


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A dead letter without its bytes; `topic` is the default name.

    If it has a `sha256`, its contents are not complete: the hash is of a value of `value_length` bytes, of a part of a
    batch, or of `messages` that are only counted, from `first_offset` to `offset`.
    """

    tenant_id: str
    dead_letter_id: UUID
    outcome: str
    reason: str
    event_id: str
    topic: str
    partition: int
    offset: int
    recorded_at: datetime
    replayed_at: datetime | None
    first_offset: int | None = None
    messages: int = 1
    value_length: int | None = None
    sha256: bytes | None = None

    @property
    def place(self) -> str:
        """Location in Kafka: `topic/partition@offset`, or a range of offsets."""
        first = "" if self.first_offset is None else f"{self.first_offset} to "
        return f"{self.topic}/{self.partition}@{first}{self.offset}"


@dataclass(frozen=True, slots=True)
class DeadLetterBytes:
    """A dead letter with its original key, value and headers, or their first bytes."""

    dead_letter: DeadLetter
    kafka_timestamp: datetime | None
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]


@dataclass(frozen=True, slots=True)
class DeadLetterFilter:
    """Filter of dead letters: tenant, outcome or topic (None: any), replayed or not, the newest `limit`."""

    tenant_id: str | None = None
    outcome: str | None = None
    topic: str | None = None
    replayed: bool = False
    limit: int = 100


async def read_dead_letters(connection: Connection, selection: DeadLetterFilter) -> tuple[DeadLetter, ...]:
    """Dead letters that match, newest first."""
    rows = await connection.fetch(
        *queries.read_dead_letters(
            tenant_id=selection.tenant_id,
            outcome=selection.outcome,
            topic=selection.topic,
            replayed=selection.replayed,
            limit=selection.limit,
        ),
    )
    return tuple(_dead_letter(row) for row in rows)


async def read_dead_letter(connection: Connection, dead_letter_id: UUID) -> DeadLetterBytes | None:
    """One dead letter with its bytes."""
    row = await connection.fetchrow(*queries.read_dead_letter(dead_letter_id=dead_letter_id))
    if row is None:
        return None
    names = [name.decode() for name in row["header_names"]]
    headers = tuple(zip(names, row["header_values"], strict=True))
    return DeadLetterBytes(_dead_letter(row), row["kafka_timestamp"], row["key"], row["value"], headers)


def _dead_letter(row: asyncpg.Record) -> DeadLetter:
    return DeadLetter(
        row["tenant_id"],
        row["dead_letter_id"],
        row["outcome"],
        row["reason"],
        row["event_id"],
        row["topic"],
        row["partition"],
        row["kafka_offset"],
        row["recorded_at"],
        row["replayed_at"],
        row["first_offset"],
        row["messages"],
        row["value_length"],
        row["sha256"],
    )
