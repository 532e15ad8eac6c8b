"""Summary of dead letters beyond a topic's limit per minute: a count, offsets and a hash."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import NamedTuple
from uuid import UUID

from avoir.core.model.decision import Decision
from avoir.core.model.ids import derived_id
from avoir.postgres import queries
from avoir.postgres.session import Session
from avoir.record import KEPT_BYTES, Record, cut

MAX_DEAD_LETTERS = 1_000
MAX_DEAD_LETTER_BYTES = 16_000_000
"""Limits of a topic's dead letters per minute (database clock), in number and bytes. When the bytes are used up,
further dead letters keep only length, hash and first bytes."""

REASON = f"more than {MAX_DEAD_LETTERS} dead letters of this topic in this minute"


class DeadRecord(NamedTuple):
    """A message that could not be handled: its record, what was decided, and why."""

    record: Record
    decision: Decision
    reason: str


@dataclass(frozen=True, slots=True)
class Flood:
    """Messages of one partition and minute that are only counted."""

    dead_letter_id: UUID
    topic: str
    partition: int
    first_offset: int
    last_offset: int
    messages: int
    sha256: bytes


async def bounded(
    session: Session, dead_records: Sequence[DeadRecord], now: datetime
) -> tuple[list[DeadRecord], list[DeadRecord]]:
    """Split dead letters into those the minute has room for, some of them cut, and the rest.

    All processes share the count. The counting rows are locked until the transaction ends, so this comes last.
    """
    asked = Counter(each.record.topic for each in dead_records)
    asked_bytes: Counter[str] = Counter()
    for each in dead_records:
        asked_bytes[each.record.topic] += _size(each.record)
    topics = sorted(asked)
    room, room_bytes = {}, {}
    counted = await session.fetch(
        *queries.count_dead_letters(
            topics=topics,
            letters=[asked[topic] for topic in topics],
            bytes=[asked_bytes[topic] for topic in topics],
            minute=_minute(now),
        )
    )
    for row in counted:
        topic = row["topic"]
        room[topic] = MAX_DEAD_LETTERS - row["letters"] + asked[topic]
        room_bytes[topic] = MAX_DEAD_LETTER_BYTES - row["bytes"] + asked_bytes[topic]
    kept: list[DeadRecord] = []
    overflow: list[DeadRecord] = []
    for each in dead_records:
        topic = each.record.topic
        size = _size(each.record)
        room[topic] -= 1
        room_bytes[topic] -= size
        if room_bytes[topic] < 0 and size > 2 * KEPT_BYTES and each.record.cut is None:
            each = each._replace(record=cut(each.record, each.reason))
        (kept if room[topic] >= 0 else overflow).append(each)
    return kept, overflow


async def summarise(session: Session, records: Iterable[Record], now: datetime) -> Sequence[Flood]:
    """Count messages in the rows of their partition and minute; returns what was counted."""
    summaries = floods(records, _minute(now))
    await session.fetch(*queries.summarise_dead_letters(floods=summaries, reason=REASON, now=now))
    return summaries


def floods(records: Iterable[Record], minute: datetime) -> Sequence[Flood]:
    """Summarise records, each partition's in order, as one flood per partition.

    The hash is the SHA-256 of the concatenated SHA-256 of each value.
    """
    by_partition: dict[tuple[str, int], list[Record]] = {}
    for record in records:
        by_partition.setdefault((record.topic, record.partition), []).append(record)
    return [_flood(by_partition[key], minute) for key in sorted(by_partition)]


def _flood(records: Sequence[Record], minute: datetime) -> Flood:
    first, last = records[0], records[-1]
    hashes = (each.cut.sha256 if each.cut else sha256(each.value or b"").digest() for each in records)
    return Flood(
        derived_id("flood", first.topic, first.partition, minute.isoformat()),
        first.topic,
        first.partition,
        first.offset if first.cut is None or first.cut.first_offset is None else first.cut.first_offset,
        last.offset,
        sum(each.cut.messages if each.cut else 1 for each in records),
        sha256(b"".join(hashes)).digest(),
    )


def _minute(now: datetime) -> datetime:
    return now.replace(second=0, microsecond=0)


def _size(record: Record) -> int:
    headers = sum(len(name) + len(value or b"") for name, value in record.headers)
    return len(record.key or b"") + len(record.value or b"") + headers
