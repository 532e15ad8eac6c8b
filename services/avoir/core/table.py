"""Rows by key, as layers: a fork sees what lies below it and keeps its own changes until they are taken over."""

from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Table(Generic[K, V]):
    """A copy-on-write layer of rows; rows themselves are frozen."""

    __slots__ = ("_known", "get", "rows")

    get: Callable[[K], V | None]
    """The row of a key as this layer sees it, or None."""

    rows: dict[K, V]
    """The rows that were put in this layer, each as it stands."""

    def __init__(self, below: Callable[[K], V | None] | None = None) -> None:
        self.rows = {}
        self._known: Callable[[K], V | None] = _nothing if below is None else below
        self.get = self.rows.get if below is None else _over(self.rows.get, below)

    def __getitem__(self, key: K) -> V:
        row = self.get(key)
        if row is None:
            raise KeyError(key)
        return row

    def fork(self) -> "Table[K, V]":
        """A layer above this one, to which all that this one has is known."""
        return Table(self.get)

    def mark_known(self) -> None:
        """Let the rows that this layer has now be those that are known: what is put from now on changes them."""
        self._known = self.rows.copy().get

    def added(self) -> Iterator[V]:
        """The rows that were put under keys that were not known."""
        known = self._known
        return (row for key, row in self.rows.items() if known(key) is None)

    def updated(self) -> Iterator[V]:
        """The rows that were put in the place of known ones."""
        known = self._known
        return (
            row for key, row in self.rows.items() if (before := known(key)) is not None and row is not before
        )


def _nothing(_: Any) -> None:
    return None


def _over(own: Callable[[Any], Any], below: Callable[[Any], Any]) -> Callable[[Any], Any]:
    # A closure: most of what deciding does is looking rows up, and this is Python's fastest way.
    def get(key: Any) -> Any:
        row = own(key)
        return below(key) if row is None else row

    return get
