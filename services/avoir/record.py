"""A Kafka record, independent of the client that read it, a consumer's positions, and the report of a batch."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import NamedTuple

MOST_RECORD_BYTES = 1_000_000
"""Maximum size of a record's key, value and headers together, in bytes, for it to be read and kept whole."""

KEPT_BYTES = 1_024
"""Bytes of the key and of the value that are kept of a record that is not kept whole."""


@dataclass(frozen=True, slots=True)
class Cut:
    """The part that a too large record lacks: only the first bytes of key and value are kept, and no headers.

    `length` and `sha256` are of the whole value. If the record stands for all `messages` from `first_offset` on, which
    together are too large to be unpacked, they are of these in compressed form.
    """

    problem: str
    length: int
    sha256: bytes
    first_offset: int | None = None
    messages: int = 1


@dataclass(frozen=True, slots=True)
class Record:
    """A record with its original bytes and headers, unless it is `cut`.

    `topic` is the default name, `timestamp_ms` Kafka's timestamp: milliseconds since 1970.
    """

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()
    cut: Cut | None = None


def first_bytes(
    key: bytes | None, value: bytes | None, problem: str
) -> tuple[bytes | None, bytes | None, Cut]:
    """The first `KEPT_BYTES` of a record's key and value, with the length and hash of the whole value."""
    missing = Cut(problem, len(value or b""), sha256(value or b"").digest())
    return (
        None if key is None else key[:KEPT_BYTES],
        None if value is None else value[:KEPT_BYTES],
        missing,
    )


def cut(record: Record, problem: str) -> Record:
    """Cut a record: keep only the first bytes of its key and value, and no headers."""
    key, value, missing = first_bytes(record.key, record.value, problem)
    return replace(record, key=key, value=value, headers=(), cut=missing)


class TopicPartition(NamedTuple):
    """A partition of a topic, by the topic's default name."""

    topic: str
    partition: int


Positions = Mapping[TopicPartition, int]
"""The offset of the next record to handle, of each partition."""


def next_offsets(records: Iterable[Record]) -> dict[TopicPartition, int]:
    """The positions after records, which are in the order of their offsets."""
    return {TopicPartition(each.topic, each.partition): each.offset + 1 for each in records}


class Fenced(Exception):
    """The stored positions of a batch's partitions have moved: another process handled the batch, or an operator moved
    them. Read them again."""


class Doubted(Exception):
    """A batch failed again although the database answers: a smaller part is tried next, in the end one message."""


class Notable(NamedTuple):
    """A message worth a log line: declined, dead-lettered or parked."""

    topic: str
    event_id: str
    tenant_id: str
    outcome: str
    reason: str


PARKED_WINDOW = 100
MOST_PARKED = 10


def too_many_parked(parked: int, messages: int) -> bool:
    """Check for too many parked messages: more than 10 of 100, or the same share of more. Then consuming stops."""
    return parked * PARKED_WINDOW > MOST_PARKED * max(messages, PARKED_WINDOW)


@dataclass(frozen=True, slots=True)
class BatchReport:
    """Result of a batch: decisions by (topic, outcome), micros by (event, currency), and the notable messages.

    If it is `halted` (too many messages were parked) or not `complete` (an error came in between), only the first
    `messages` were handled, and the rest must be read again.
    """

    messages: int
    decisions: Mapping[tuple[str, str], int] = field(default_factory=dict)
    amounts: Mapping[tuple[str, str], int] = field(default_factory=dict)
    notable: Sequence[Notable] = ()
    statements: int = 0
    alarms: Mapping[str, int] = field(default_factory=dict)
    halted: bool = False
    complete: bool = True

    @property
    def parked(self) -> int:
        """Number of messages parked."""
        return sum(n for (_, outcome), n in self.decisions.items() if outcome == "parked")


def merged(first: BatchReport, second: BatchReport) -> BatchReport:
    """Merge the reports of two parts of a batch, in their order."""
    return BatchReport(
        messages=first.messages + second.messages,
        decisions=Counter(first.decisions) + Counter(second.decisions),
        amounts=Counter(first.amounts) + Counter(second.amounts),
        notable=[*first.notable, *second.notable],
        statements=first.statements + second.statements,
        alarms=Counter(first.alarms) + Counter(second.alarms),
        halted=second.halted,
        complete=second.complete,
    )
