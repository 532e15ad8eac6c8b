"""The double-entry ledger: postings move amounts between ledger accounts, entries record them, hashes chain them."""

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256
from typing import Literal, NamedTuple
from uuid import UUID

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from avoir.core.model.events import AccountKey
from avoir.core.model.rows import Grant

CustomerAccount = Literal["available", "reserved"]
CounterAccount = Literal["issued", "applied", "drawn", "refunded", "expired", "voided", "taken_back"]
LedgerAccount = CustomerAccount | CounterAccount

GRANT_BUCKETS: Mapping[str, str] = {
    "issued": "pending",
    "available": "available",
    "reserved": "reserved",
    "applied": "spent",
    "drawn": "spent",
    "refunded": "spent",
    "expired": "lost",
    "voided": "lost",
    "taken_back": "taken",
}
"""Part of a grant that corresponds to a ledger account; unissued credit is pending."""

BUCKETS: tuple[CustomerAccount, CustomerAccount] = ("available", "reserved")
GENESIS = bytes(32)
"""Hash before the first entry of an account."""

_JSON = msgspec.json.Encoder()


class Posting(NamedTuple):
    """A positive amount of one grant, moved from one ledger account to another."""

    grant_id: UUID
    source: LedgerAccount
    destination: LedgerAccount
    amount: int


class Entry(Struct, frozen=True):
    """The signed row that a posting writes on a customer's ledger account, numbered by its event's seq and n."""

    account: AccountKey
    seq: int
    n: int
    ledger_account: CustomerAccount
    counter_account: LedgerAccount
    grant_id: UUID
    amount: int
    balance: int
    event: str
    reason: str
    invoice_id: str | None
    application_id: UUID | None
    topic: str
    event_id: str
    occurred_at: datetime
    recorded_at: datetime
    hash: bytes = b""


def post(grant: Grant, posting: Posting) -> Grant:
    """The grant after a posting.

    Raises ValueError if the amount is not positive or a ledger account would be overdrawn.
    """
    if posting.amount <= 0:
        raise ValueError(f"a posting of {posting.amount} micros")
    bucket = GRANT_BUCKETS[posting.source]
    moved = {bucket: getattr(grant, bucket) - posting.amount}
    if moved[bucket] < 0:
        raise ValueError(f"grant {grant.key.id} has less than {posting.amount} micros {posting.source}")
    bucket = GRANT_BUCKETS[posting.destination]
    moved[bucket] = moved.get(bucket, getattr(grant, bucket)) + posting.amount
    return replace(grant, **moved)


def postings_of_all(grant: Grant, destination: LedgerAccount) -> list[Posting]:
    """The postings that move all that remains of a grant to one ledger account."""
    parts = [Posting(grant.key.id, bucket, destination, getattr(grant, bucket)) for bucket in BUCKETS]
    return [posting for posting in parts if posting.amount]


# Cached: all entries of a batch have the same `recorded_at`.
@lru_cache(maxsize=1_024)
def _instant(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def entry_hash(previous: bytes, entry: Entry) -> bytes:
    """SHA-256 over the previous hash and this entry as a compact JSON array (docs/ledger.md gives the bytes)."""
    # The order of the fields is published and never changes: `verify` and readers recompute the hashes.
    fields = (
        *entry.account,
        entry.seq,
        entry.n,
        entry.ledger_account,
        entry.counter_account,
        entry.grant_id,
        entry.amount,
        entry.balance,
        entry.event,
        entry.reason,
        entry.invoice_id,
        entry.application_id,
        entry.topic,
        entry.event_id,
        _instant(entry.occurred_at),
        _instant(entry.recorded_at),
    )
    return sha256(previous + _JSON.encode(fields)).digest()
