"""A Kafka record as Avoir handles it, whichever client read it, and where a consumer stands."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import NamedTuple

MOST_RECORD_BYTES = 1_000_000
"""What key, value and headers of a record may have together, so that it is read, and kept, whole."""


KEPT_BYTES = 1_024
"""So much of key and value is kept of a record that is not kept whole."""


@dataclass(frozen=True, slots=True)
class Cut:
    """What is missing of a record that is too large: of its key and value only the first bytes are there, no headers.

    `length` and `sha256` are of the whole value. Or the record stands for all `messages` from `first_offset` on, which
    are together too much to be unpacked: then they are of these as they are compressed.
    """

    problem: str
    length: int
    sha256: bytes
    first_offset: int | None = None
    messages: int = 1


@dataclass(frozen=True, slots=True)
class Record:
    """One record with bytes and headers intact, unless `cut`; `topic` is the default name, `timestamp_ms` Kafka's."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()
    cut: Cut | None = None


def cut(record: Record, problem: str) -> Record:
    """A record of which only the first bytes are kept."""
    value = record.value or b""
    key = None if record.key is None else record.key[:KEPT_BYTES]
    kept = None if record.value is None else value[:KEPT_BYTES]
    missing = Cut(problem, len(value), sha256(value).digest())
    return replace(record, key=key, value=kept, headers=(), cut=missing)


class TopicPartition(NamedTuple):
    """A partition of a topic, by the topic's default name."""

    topic: str
    partition: int


Positions = Mapping[TopicPartition, int]
"""The offset of the next record to handle, of each partition."""


def next_offsets(records: Iterable[Record]) -> dict[TopicPartition, int]:
    """Where the partitions of records, in their order, stand behind them."""
    return {TopicPartition(each.topic, each.partition): each.offset + 1 for each in records}


class Fenced(Exception):
    """The partitions of a batch moved on meanwhile: another process handled them. Read the positions again."""


class Doubted(Exception):
    """A batch failed again although the database answers: a smaller part is tried next, in the end one message."""


class Notable(NamedTuple):
    """A message that somebody may want to see in the log: declined, dead-lettered or parked."""

    topic: str
    event_id: str
    tenant_id: str
    outcome: str
    reason: str


PARKED_WINDOW = 100
MOST_PARKED = 10


def too_many_parked(parked: int, messages: int) -> bool:
    """Whether more than 10 of 100 messages were parked, or the same share of more: then consuming stops."""
    return parked * PARKED_WINDOW > MOST_PARKED * max(messages, PARKED_WINDOW)


@dataclass(frozen=True, slots=True)
class BatchReport:
    """What one batch did: decisions by (topic, outcome), micros by (event, currency), and the notable messages.

    Only the first `messages` of the batch were handled where it was `halted`, since too many of them were parked, or
    where it is not `complete`, since an error came in between: what is left is to be read again.
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
        """How many messages were parked."""
        return sum(n for (_, outcome), n in self.decisions.items() if outcome == "parked")


def merged(first: BatchReport, second: BatchReport) -> BatchReport:
    """Two reports as one."""
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
