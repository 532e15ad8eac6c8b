"""The share of a price for time not used, as a fraction of two integers."""

from datetime import datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from avoir.core.model.facts import Period

MICROSECOND = timedelta(microseconds=1)


class Fraction(NamedTuple):
    """`part / whole`, with 0 <= part <= whole and whole > 0."""

    part: int
    whole: int


NOTHING = Fraction(0, 1)
ALL = Fraction(1, 1)


def length(period: Period) -> int:
    """Length of a period, in microseconds."""
    return (period.end - period.start) // MICROSECOND


def unused_of_shortened(period: Period, remaining: Period) -> Fraction:
    """Unused share of a billed period given the remaining period: 1 - overlap / period."""
    start, end = max(period.start, remaining.start), min(period.end, remaining.end)
    overlap = max(0, (end - start) // MICROSECOND)
    return Fraction(length(period) - overlap, length(period))


def unused_by_time(period: Period, ended_at: datetime) -> Fraction:
    """Remaining share of a running period after `ended_at`, by elapsed time."""
    if ended_at <= period.start:
        return ALL
    if ended_at >= period.end:
        return NOTHING
    return Fraction((period.end - ended_at) // MICROSECOND, length(period))


def unused_by_days(period: Period, ended_at: datetime, time_zone: str) -> Fraction:
    """Remaining share of a running period after `ended_at`, by whole days of a time zone.

    The day of `ended_at` counts as used, unless that is its very first moment.
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
