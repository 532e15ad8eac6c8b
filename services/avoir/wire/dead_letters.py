"""From a record that was not handled to the record on `credit-dead-letter`: bytes and headers intact, and why."""

from hashlib import sha256
from typing import NamedTuple
from uuid import UUID

from avoir.record import Record

TOPIC = "credit-dead-letter"
OURS = "avoir-"
"""What the names of the added headers begin with."""


class DeadLetter(NamedTuple):
    """A record to publish; `topic` is the default name."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]


def dead_letter_record(record: Record, reason: str, dead_letter_id: UUID, max_bytes: int) -> DeadLetter:
    """The original key, value and headers with `avoir-*` headers added; such as came from outside are left out.

    Where they are above `max_bytes` together, or the record is cut, the value is left out and named by its hash and
    length; where key and headers alone are, they are left out too. The table keeps what there is.
    """
    added = {
        "avoir-reason": reason,
        "avoir-topic": record.topic,
        "avoir-partition": str(record.partition),
        "avoir-offset": str(record.offset),
    }
    key, value, cut = record.key, record.value, record.cut
    headers = tuple(header for header in record.headers if not header[0].lower().startswith(OURS))
    around = len(key or b"") + sum(len(name.encode()) + len(held or b"") for name, held in headers)
    if cut is not None or len(value or b"") + around > max_bytes:
        added |= {
            "avoir-sha256": (cut.sha256 if cut else sha256(value or b"").digest()).hex(),
            "avoir-length": str(cut.length if cut else len(value or b"")),
            "avoir-dead-letter-id": str(dead_letter_id),
        }
        if cut is not None and cut.first_offset is not None:
            added["avoir-first-offset"] = str(cut.first_offset)
        value = None
        if around > max_bytes:
            key, headers = None, ()
    more = tuple((name, text.encode()) for name, text in added.items())
    return DeadLetter(TOPIC, key, value, (*headers, *more))
