"""Converts an unhandled record to the one on `credit-dead-letter`: original bytes and headers, and the reason."""

from hashlib import sha256
from typing import NamedTuple
from uuid import UUID

from avoir.record import Record

TOPIC = "credit-dead-letter"
PREFIX = "avoir-"
"""Prefix of the added headers."""


class DeadLetter(NamedTuple):
    """A record to publish; `topic` is the default name."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]


def dead_letter_record(record: Record, reason: str, dead_letter_id: UUID, max_bytes: int) -> DeadLetter:
    """The original key, value and headers with `avoir-*` headers added; original headers with that prefix are left out.

    If they exceed `max_bytes` together, or the record is cut, hash and length replace the value; if key and headers
    alone exceed it, they are left out too. The row in `dead_letters` keeps whatever was read.
    """
    added = {
        "avoir-reason": reason,
        "avoir-topic": record.topic,
        "avoir-partition": str(record.partition),
        "avoir-offset": str(record.offset),
    }
    key, value, cut = record.key, record.value, record.cut
    # Headers with this prefix are always Avoir's own: nobody can forge them, and an earlier dead letter's are replaced.
    headers = tuple(header for header in record.headers if not header[0].lower().startswith(PREFIX))
    size = len(key or b"") + sum(len(name.encode()) + len(content or b"") for name, content in headers)
    if cut is not None or len(value or b"") + size > max_bytes:
        added |= {
            "avoir-sha256": (cut.sha256 if cut else sha256(value or b"").digest()).hex(),
            "avoir-length": str(cut.length if cut else len(value or b"")),
            "avoir-dead-letter-id": str(dead_letter_id),
        }
        if cut is not None and cut.first_offset is not None:
            added["avoir-first-offset"] = str(cut.first_offset)
        value = None
        if size > max_bytes:
            key, headers = None, ()
    encoded = tuple((name, text.encode()) for name, text in added.items())
    return DeadLetter(TOPIC, key, value, (*headers, *encoded))
