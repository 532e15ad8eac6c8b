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
    """The original key, value and headers with `avoir-*` headers added.

    Where they are above `max_bytes` together the value is left out and named by its hash; where key and headers alone
    are, they are left out too. The table keeps all.
    """
    added = {
        "avoir-reason": reason,
        "avoir-topic": record.topic,
        "avoir-partition": str(record.partition),
        "avoir-offset": str(record.offset),
    }
    key, value, headers = record.key, record.value, record.headers
    around = len(key or b"") + sum(len(name.encode()) + len(held or b"") for name, held in headers)
    if len(value or b"") + around > max_bytes:
        added |= {
            "avoir-sha256": sha256(value or b"").hexdigest(),
            "avoir-dead-letter-id": str(dead_letter_id),
        }
        value = None
        if around > max_bytes:
            key, headers = None, ()
    more = tuple((name, text.encode()) for name, text in added.items())
    return DeadLetter(TOPIC, key, value, (*headers, *more))
