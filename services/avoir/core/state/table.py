"""Rows by key, as layers: a fork sees what lies below it and keeps its own changes until they are taken over."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Table(Generic[K, V]):
    """A copy-on-write layer of rows; rows themselves are frozen. What lies below a layer is known to it."""

    __slots__ = ("_known", "_known_below", "below", "get", "rows")

    get: Callable[[K], V | None]
    """The row of a key as this layer sees it, or None."""

    rows: dict[K, V]
    """The rows that were put in this layer, each as it stands."""

    def __init__(self, below: "Table[K, V] | None" = None) -> None:
        self.rows = {}
        self.below = below
        self._known: dict[K, V] = {}
        self._known_below = _nothing if below is None else below.get
        self.get = self.rows.get if below is None else _over(self.rows.get, below.get)

    def __getitem__(self, key: K) -> V:
        row = self.get(key)
        if row is None:
            raise KeyError(key)
        return row

    def fork(self) -> "Table[K, V]":
        """A layer above this one."""
        return Table(self)

    def take_over(self, fork: "Table[K, V]") -> None:
        """Make what was put in a fork this layer's own, and known what was known to it alone."""
        self.rows.update(fork.rows)
        self._known.update(fork._known)

    def mark_known(self) -> None:
        """Let the rows that this layer has now be those that are known: what is put from now on changes them."""
        self._known = self.rows.copy()

    def know(self, key: K) -> None:
        """Let the row of one key be known as it stands."""
        self._known[key] = self.rows[key]

    def added(self) -> Iterator[V]:
        """The rows that were put under keys that were not known."""
        return (row for key, row in self.rows.items() if self._before(key) is None)

    def updated(self) -> Iterator[V]:
        """The rows that were put in the place of known ones."""
        return (
            row
            for key, row in self.rows.items()
            if (before := self._before(key)) is not None and row is not before
        )

    def _before(self, key: K) -> V | None:
        row = self._known.get(key)
        return self._known_below(key) if row is None else row


class Index(Table[K, Sequence[V]]):
    """Values by key, in layers: a fork keeps what was appended to it, so appending costs the same at any length."""

    __slots__ = ()

    def __init__(self, below: "Table[K, Sequence[V]] | None" = None) -> None:
        super().__init__(below)
        if below is not None:
            self.get = _after(self.rows.get, below.get)

    def fork(self) -> "Index[K, V]":
        """A layer above this one."""
        return Index(self)

    def append(self, key: K, value: V) -> None:
        """Put a value behind those of a key."""
        own = self.rows.get(key)
        if own is None:
            self.rows[key] = [value]
        else:
            own.append(value)  # type: ignore[attr-defined]

    def take_over(self, fork: "Table[K, Sequence[V]]") -> None:
        """Put what was appended to a fork behind what is here."""
        for key, values in fork.rows.items():
            own = self.rows.get(key)
            if own is None:
                self.rows[key] = list(values)
            else:
                own.extend(values)  # type: ignore[attr-defined]


def _nothing(_: Any) -> None:
    return None


def _over(own: Callable[[Any], Any], below: Callable[[Any], Any]) -> Callable[[Any], Any]:
    # A closure: most of what deciding does is looking rows up, and this is Python's fastest way.
    def get(key: Any) -> Any:
        row = own(key)
        return below(key) if row is None else row

    return get


def _after(own: Callable[[Any], Any], below: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def get(key: Any) -> Any:
        here, there = own(key), below(key)
        if here is None or there is None:
            return here or there
        return (*there, *here)

    return get
