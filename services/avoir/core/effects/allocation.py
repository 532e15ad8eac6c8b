"""Selection of grants, in the order of use."""

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import NamedTuple

from avoir.core.model.money import round_down
from avoir.core.model.rows import Grant


class Part(NamedTuple):
    """An amount of one grant."""

    grant: Grant
    amount: int


def is_unexpired(grant: Grant, at: datetime, now: datetime) -> bool:
    """Check whether a grant is unexpired, both at a moment and now."""
    return not grant.is_expired(max(at, now))


def is_usable(grant: Grant, at: datetime, now: datetime) -> bool:
    """Check whether a grant is usable at a moment: effective by then, and unexpired both then and now."""
    return grant.effective_at <= at and is_unexpired(grant, at, now)


def usable(grants: Iterable[Grant], at: datetime, now: datetime) -> Iterator[Grant]:
    """Grants that have credit available and are usable at a moment."""
    return (grant for grant in grants if grant.available > 0 and is_usable(grant, at, now))


def whole(grant: Grant) -> int:
    """Available whole minor units of a grant, in micros; only draws use fractions."""
    # Draws may leave fractions of a minor unit; invoices and refunds are money, so they cannot use those.
    return round_down(grant.available, grant.account.currency)


def allocate(
    amount: int, grants: Iterable[Grant], part_of: Callable[[Grant], int] = whole
) -> tuple[tuple[Part, ...], int]:
    """Split an amount (micros) over grants in the order given, at most `part_of` from each.

    Returns the parts and the rest of the amount; reads no more grants than it needs.
    """
    parts: list[Part] = []
    if amount > 0:
        for grant in grants:
            part = min(amount, part_of(grant))
            if part > 0:
                parts.append(Part(grant, part))
                amount -= part
                if amount == 0:
                    break
    return tuple(parts), amount
