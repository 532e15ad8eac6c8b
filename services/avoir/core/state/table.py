"""Rows by key, in layers: a fork sees its base and keeps its own changes until they are merged."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Table(Generic[K, V]):
    """A copy-on-write layer of frozen rows. It knows what lies below it."""

    __slots__ = ("_known", "_known_below", "below", "get", "rows")

    get: Callable[[K], V | None]
    """The row of a key as this layer sees it, or None."""

    rows: dict[K, V]
    """Rows put in this layer, in their current form."""

    def __init__(self, below: "Table[K, V] | None" = None) -> None:
        self.rows = {}
        self.below = below
        self._known: dict[K, V] = {}
        self._known_below = _nothing if below is None else below.get
        self.get = self.rows.get if below is None else _layered_get(self.rows.get, below.get)

    def __getitem__(self, key: K) -> V:
        row = self.get(key)
        if row is None:
            raise KeyError(key)
        return row

    def mark(self, key: K) -> Any:
        """What `restore` needs to undo the next put under a key."""
        return self.rows.get(key)

    def restore(self, key: K, mark: Any) -> None:
        """Undo what was put under a key since its mark."""
        if mark is None:
            self.rows.pop(key, None)
        else:
            self.rows[key] = mark

    def fork(self) -> "Table[K, V]":
        """A layer above this one."""
        return Table(self)

    def merge(self, fork: "Table[K, V]") -> None:
        """Merge a fork's rows into this layer, including what only the fork knew."""
        self.rows.update(fork.rows)
        self._known.update(fork._known)

    def mark_known(self) -> None:
        """Mark this layer's rows as known: later puts are changes."""
        self._known = self.rows.copy()

    def know(self, key: K) -> None:
        """Mark the row of one key as known in its current form."""
        self._known[key] = self.rows[key]

    def added(self) -> Iterator[V]:
        """Rows put under unknown keys."""
        return (row for key, row in self.rows.items() if self._before(key) is None)

    def updated(self) -> Iterator[V]:
        """Rows put in place of known ones."""
        return (
            row
            for key, row in self.rows.items()
            if (before := self._before(key)) is not None and row is not before
        )

    def _before(self, key: K) -> V | None:
        row = self._known.get(key)
        return self._known_below(key) if row is None else row


class Index(Table[K, Sequence[V]]):
    """Values by key, in layers: a fork keeps only what was appended to it, so appending takes constant time.

    What `get` returns stays as it is when more is appended.
    """

    __slots__ = ()

    def __init__(self, below: "Table[K, Sequence[V]] | None" = None) -> None:
        super().__init__(below)
        self.get = _copied_get(self.rows.get) if below is None else _joined_get(self.rows.get, below.get)

    def mark(self, key: K) -> Any:
        """Number of values that this layer has under a key."""
        return len(self.rows.get(key) or ())

    def restore(self, key: K, mark: Any) -> None:
        """Drop the values appended since a mark."""
        if mark:
            del self.rows[key][mark:]  # type: ignore[attr-defined]
        else:
            self.rows.pop(key, None)

    def fork(self) -> "Index[K, V]":
        """A layer above this one."""
        return Index(self)

    def append(self, key: K, value: V) -> None:
        """Append a value to a key."""
        # Only what this layer appended: copying the entry below would make appending quadratic.
        own = self.rows.get(key)
        if own is None:
            self.rows[key] = [value]
        else:
            own.append(value)  # type: ignore[attr-defined]

    def merge(self, fork: "Table[K, Sequence[V]]") -> None:
        """Append a fork's values."""
        for key, values in fork.rows.items():
            own = self.rows.get(key)
            if own is None:
                self.rows[key] = list(values)
            else:
                own.extend(values)  # type: ignore[attr-defined]


def _nothing(_: Any) -> None:
    return None


def _layered_get(own: Callable[[Any], Any], below: Callable[[Any], Any]) -> Callable[[Any], Any]:
    # A closure, since deciding mostly looks rows up, and this is the fastest way in Python.
    def get(key: Any) -> Any:
        row = own(key)
        return below(key) if row is None else row

    return get


def _copied_get(own: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def get(key: Any) -> Any:
        here = own(key)
        return None if here is None else tuple(here)

    return get


def _joined_get(own: Callable[[Any], Any], below: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def get(key: Any) -> Any:
        here, there = own(key), below(key)
        return there if here is None else (*(there or ()), *here)

    return get
