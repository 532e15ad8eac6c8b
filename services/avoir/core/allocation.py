"""Which grants pay, and in what order."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from avoir.core.rows import Grant

NEVER = datetime.max.replace(tzinfo=UTC)


class Part(NamedTuple):
    """So much of one grant."""

    grant: Grant
    amount: int


def order_of_use(grant: Grant) -> tuple[object, ...]:
    """Priority (0 first), earliest expiry (none last), given before paid for, earliest effective, id."""
    return grant.priority, grant.expires_at or NEVER, grant.paid_for, grant.effective_at, grant.key.id


def is_usable(grant: Grant, at: datetime, now: datetime) -> bool:
    """Whether a grant can be used at a moment: effective by then, and unexpired both then and now."""
    unexpired = grant.expires_at is None or (grant.expires_at > at and grant.expires_at > now)
    return grant.available > 0 and grant.effective_at <= at and unexpired


def usable(grants: Iterable[Grant], at: datetime, now: datetime) -> list[Grant]:
    """The grants usable at a moment, in order of use."""
    return sorted((grant for grant in grants if is_usable(grant, at, now)), key=order_of_use)


def allocate(amount: int, grants: Sequence[Grant]) -> tuple[Part, ...]:
    """Split an amount (micros, at most what the grants have available) over grants in the order given."""
    parts = []
    for grant in grants:
        if amount == 0:
            break
        part = min(amount, grant.available)
        parts.append(Part(grant, part))
        amount -= part
    if amount:
        raise ValueError(f"{amount} micros more than the grants have available")
    return tuple(parts)
