"""Which grants pay, and in what order."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import NamedTuple

from avoir.core.money import round_down
from avoir.core.rows import Grant

NEVER = datetime.max.replace(tzinfo=UTC)


class Part(NamedTuple):
    """So much of one grant."""

    grant: Grant
    amount: int


def order_of_use(grant: Grant) -> tuple[object, ...]:
    """Priority (0 first), earliest expiry (none last), given before paid for, earliest effective, id."""
    return grant.priority, grant.expires_at or NEVER, grant.paid_for, grant.effective_at, grant.key.id


def order_of_refund(grant: Grant) -> tuple[object, ...]:
    """Paid for before given, then as in the order of use."""
    return not grant.paid_for, *order_of_use(grant)


def is_unexpired(grant: Grant, at: datetime, now: datetime) -> bool:
    """Whether a grant has not expired, both at a moment and now."""
    return grant.expires_at is None or (grant.expires_at > at and grant.expires_at > now)


def is_usable(grant: Grant, at: datetime, now: datetime) -> bool:
    """Whether a grant can be used at a moment: effective by then, and unexpired both then and now."""
    return grant.effective_at <= at and is_unexpired(grant, at, now)


def usable(grants: Iterable[Grant], at: datetime, now: datetime) -> list[Grant]:
    """The grants that have something available and are usable at a moment, in order of use."""
    return sorted(
        (grant for grant in grants if grant.available > 0 and is_usable(grant, at, now)), key=order_of_use
    )


def whole(grant: Grant) -> int:
    """The whole minor units that a grant has available, in micros: all but draws use only these."""
    return round_down(grant.available, grant.account.currency)


def allocate(
    amount: int, grants: Iterable[Grant], part_of: Callable[[Grant], int] = whole
) -> tuple[Part, ...]:
    """Split an amount (micros) over grants in the order given, of each at most what `part_of` says."""
    parts = []
    for grant in grants:
        part = min(amount, part_of(grant))
        if part > 0:
            parts.append(Part(grant, part))
            amount -= part
    if amount:
        raise ValueError(f"{amount} micros more than the grants have available")
    return tuple(parts)
