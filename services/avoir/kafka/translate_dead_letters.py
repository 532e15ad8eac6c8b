"""From a record that was not handled to the record on `credit-dead-letter`: bytes and headers intact, and why."""

from hashlib import sha256
from typing import NamedTuple
from uuid import UUID

from avoir.record import Record

TOPIC = "credit-dead-letter"


class DeadLetter(NamedTuple):
    """A record to publish; `topic` is the default name."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]


def dead_letter_record(record: Record, reason: str, dead_letter_id: UUID, max_bytes: int) -> DeadLetter:
    """The original key, value and headers with `avoir-*` headers added; a value above `max_bytes` only by its hash."""
    added = {
        "avoir-reason": reason,
        "avoir-topic": record.topic,
        "avoir-partition": str(record.partition),
        "avoir-offset": str(record.offset),
    }
    value = record.value
    if value is not None and len(value) > max_bytes:
        added |= {"avoir-sha256": sha256(value).hexdigest(), "avoir-dead-letter-id": str(dead_letter_id)}
        value = None
    headers = tuple((name, text.encode()) for name, text in added.items())
    return DeadLetter(TOPIC, record.key, value, (*record.headers, *headers))
