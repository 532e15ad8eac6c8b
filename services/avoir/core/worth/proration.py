"""The share of a price for time not used, as a fraction of two integers."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from avoir.core.model.facts import Period

MICROSECOND = timedelta(microseconds=1)
LATEST = datetime(9998, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
"""Last moment that a message can express."""


class Fraction(NamedTuple):
    """`part / whole`, with 0 <= part <= whole and whole > 0."""

    part: int
    whole: int


NOTHING = Fraction(0, 1)
ALL = Fraction(1, 1)


def length(period: Period) -> int:
    """Length of a period, in microseconds."""
    return (period.end - period.start) // MICROSECOND


def overlap(one: Period, other: Period) -> int:
    """Time that two periods share, in microseconds."""
    return max(0, (min(one.end, other.end) - max(one.start, other.start)) // MICROSECOND)


def unused_of_shortened(period: Period, remaining: Period) -> Fraction:
    """Unused share of a billed period given the remaining period: 1 - overlap / period."""
    return Fraction(length(period) - overlap(period, remaining), length(period))


def given_up(billed: Iterable[Period], remaining: Period) -> Fraction:
    """Share of the unused time that is given up: 1 - moved / unused, at least 0; all of it if nothing is unused.

    The part of the remaining period that was never billed is time moved, and still used.
    """
    union = merged(billed)
    kept = sum(overlap(period, remaining) for period in union)
    unused = sum(map(length, union)) - kept
    moved = length(remaining) - kept
    return Fraction(max(0, unused - moved), unused) if unused else ALL


def merged(periods: Iterable[Period]) -> list[Period]:
    """The time of some periods as periods that share none, in order."""
    union: list[Period] = []
    for period in sorted(periods):
        if union and period.start <= union[-1].end:
            union[-1] = Period(union[-1].start, max(union[-1].end, period.end))
        else:
            union.append(period)
    return union


def unused_by_time(period: Period, ended_at: datetime) -> Fraction:
    """Remaining share of a running period after `ended_at`, by elapsed time."""
    if ended_at <= period.start:
        return ALL
    if ended_at >= period.end:
        return NOTHING
    return Fraction((period.end - ended_at) // MICROSECOND, length(period))


def days_later(moment: datetime, days: int, time_zone: str) -> datetime:
    """The same wall time in a time zone, days later, in UTC and no later than LATEST.

    Where clocks show that time twice it is the first of the two; where they skip it, as much later as they skip.
    """
    if moment > LATEST - timedelta(days=days):
        return LATEST
    zone = ZoneInfo(time_zone)
    wall_time = moment.astimezone(zone).replace(tzinfo=None) + timedelta(days=days)
    return min(wall_time.replace(tzinfo=zone).astimezone(UTC), LATEST)


def unused_by_days(period: Period, ended_at: datetime, time_zone: str) -> Fraction:
    """Remaining share of a running period after `ended_at`, by whole days of a time zone.

    The day of `ended_at` counts as used, but not if `ended_at` is its very first moment.
    """
    if ended_at <= period.start:
        return ALL
    if ended_at >= period.end:
        return NOTHING
    zone = ZoneInfo(time_zone)
    first = period.start.astimezone(zone).date()
    last = (period.end - MICROSECOND).astimezone(zone).date()
    used_until = (ended_at - MICROSECOND).astimezone(zone).date()
    return Fraction((last - used_until).days, (last - first).days + 1)
