"""Ordered rows of an account, such as its open invoices: read from any sort key on, loaded as far as needed."""

from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from heapq import merge
from typing import Any, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from avoir.core.model.events import AccountKey

SortKey: TypeAlias = tuple[Any, ...]
"""Sort key of a row, ending with its key; a shorter one comes before all that begin with it."""

BEGINNING: SortKey = ()
Gap: TypeAlias = tuple[SortKey, SortKey | None]

# New keys are sorted into `base` once there are more than 64 plus 1/32 of its length: rarely, so adding stays cheap.
_FEW = 64
_SHARE = 32


class GapError(LookupError):
    """A walk along a queue came to rows that are not loaded: those after the sort key `after`."""

    def __init__(self, after: SortKey) -> None:
        super().__init__(after)
        self.after = after


class NotLoadedError(Exception):
    """More of a queue is needed than is loaded: load what comes after the sort key `after`, then decide again."""

    def __init__(self, queue: str, account: AccountKey, after: SortKey) -> None:
        super().__init__(queue, account, after)
        self.queue = queue
        self.account = account
        self.after = after


class Queue(Struct, frozen=True):
    """Sort keys in order. Those of rows that have left stay until they are skipped, so readers check the rows.

    `gaps` are stretches that are not loaded: from just after one sort key up to another, or to the end (None). Those
    before `start` in `base` have left. New ones are kept separately, so that adding one does not copy all.
    """

    base: Sequence[SortKey] = ()
    start: int = 0
    new: tuple[SortKey, ...] = ()
    gaps: tuple[Gap, ...] = ()

    def add(self, sort_key: SortKey) -> "Queue":
        """The queue with one more sort key."""
        new = list(self.new)
        insort(new, sort_key)
        if len(new) <= _FEW + len(self.base) // _SHARE:
            return replace(self, new=tuple(new))
        return replace(self, base=sorted([*self.base[self.start :], *new]), start=0, new=())

    def since(self, since: SortKey) -> Iterator[SortKey]:
        """Sort keys from one on. Raises GapError at a stretch that is not loaded."""
        at, last = since, None
        first = max(self.start, bisect_left(self.base, since))
        sort_keys: Iterator[SortKey] = map(self.base.__getitem__, range(first, len(self.base)))
        if self.new:
            sort_keys = merge(sort_keys, self.new[bisect_left(self.new, since) :])
        for sort_key in sort_keys:
            if sort_key != last:
                self._refuse_gap(at, sort_key)
                yield sort_key
                at = last = sort_key
        self._refuse_gap(at, None)

    def loaded(self, after: SortKey, last: SortKey | None) -> "Queue":
        """The queue after loading everything that comes after a sort key, up to a last one or the end (None)."""
        gaps: list[Gap] = []
        for begin, end in self.gaps:
            if begin < after:
                gaps.append((begin, after if end is None else min(after, end)))
            if last is not None and (end is None or last < end):
                gaps.append((max(begin, last), end))
        return replace(self, gaps=tuple(gap for gap in gaps if gap[1] is None or gap[0] < gap[1]))

    def _refuse_gap(self, at: SortKey, sort_key: SortKey | None) -> None:
        for begin, end in self.gaps:
            if (sort_key is None or begin < sort_key) and (end is None or at < end):
                raise GapError(max(begin, at))
