"""What is kept of more dead letters than a topic may leave in a minute: a count, places and a hash."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from uuid import UUID

from avoir.core.ids import derived_id
from avoir.record import Record

MOST_LETTERS = 1_000
"""So many dead letters of a topic and minute (of the database's clock) are kept, and published, whole."""

REASON = f"more than {MOST_LETTERS} messages of the topic could not be handled in this minute"


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


def floods(records: Iterable[Record], minute: datetime) -> Sequence[Flood]:
    """Records, each partition's in their order, as one flood a partition.

    Its hash is SHA-256 of the SHA-256 of each message's value, one after the other.
    """
    by_place: dict[tuple[str, int], list[Record]] = {}
    for record in records:
        by_place.setdefault((record.topic, record.partition), []).append(record)
    return [_flood(by_place[place], minute) for place in sorted(by_place)]


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
