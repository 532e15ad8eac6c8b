"""Rows of an account in an order, such as its open invoices: walked from any place on, loaded as far as needed."""

from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from heapq import merge
from typing import Any, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from avoir.core.model.events import AccountKey

Place: TypeAlias = tuple[Any, ...]
"""What orders a row, and last its key; a shorter one comes before all that begin with it."""

BEGINNING: Place = ()
Gap: TypeAlias = tuple[Place, Place | None]

_FEW = 64
_SHARE = 32


class GapError(LookupError):
    """A walk along a queue came to places that are not loaded: those after `after`."""

    def __init__(self, after: Place) -> None:
        super().__init__(after)
        self.after = after


class NotLoadedError(Exception):
    """More of a queue is needed than the state holds: load what comes after a place, then decide again."""

    def __init__(self, queue: str, account: AccountKey, after: Place) -> None:
        super().__init__(queue, account, after)
        self.queue = queue
        self.account = account
        self.after = after


class Queue(Struct, frozen=True):
    """Places in order. Those of rows that have left stay until they are passed by: whoever walks looks at the rows.

    `gaps` are the stretches that are not loaded: from just after one place up to another, or to the end (None).
    Places before `start` have left. New ones are kept apart, so that adding one doesn't copy all.
    """

    base: Sequence[Place] = ()
    start: int = 0
    new: tuple[Place, ...] = ()
    gaps: tuple[Gap, ...] = ()

    def add(self, place: Place) -> "Queue":
        """The queue with one place more."""
        new = list(self.new)
        insort(new, place)
        if len(new) <= _FEW + len(self.base) // _SHARE:
            return replace(self, new=tuple(new))
        return replace(self, base=sorted([*self.base[self.start :], *new]), start=0, new=())

    def since(self, since: Place) -> Iterator[Place]:
        """The places from one on. Raises GapError where it comes to what is not loaded."""
        at, last = since, None
        first = max(self.start, bisect_left(self.base, since))
        places: Iterator[Place] = map(self.base.__getitem__, range(first, len(self.base)))
        if self.new:
            places = merge(places, self.new[bisect_left(self.new, since) :])
        for place in places:
            if place != last:
                self._refuse_gap(at, place)
                yield place
                at = last = place
        self._refuse_gap(at, None)

    def loaded(self, after: Place, last: Place | None) -> "Queue":
        """The queue after all was added that comes after a place, up to a last one or the end (None)."""
        gaps: list[Gap] = []
        for begin, end in self.gaps:
            if begin < after:
                gaps.append((begin, after if end is None else min(after, end)))
            if last is not None and (end is None or last < end):
                gaps.append((max(begin, last), end))
        return replace(self, gaps=tuple(gap for gap in gaps if gap[1] is None or gap[0] < gap[1]))

    def _refuse_gap(self, at: Place, place: Place | None) -> None:
        for begin, end in self.gaps:
            if (place is None or begin < place) and (end is None or at < end):
                raise GapError(max(begin, at))
