"""Rows by key, as layers: a fork sees what lies below it and keeps its own changes until they are taken over."""

from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Table(Generic[K, V]):
    """A copy-on-write layer of rows; rows themselves are frozen."""

    __slots__ = ("_rows", "get")

    get: Callable[[K], V | None]
    """The row of a key as this layer sees it, or None."""

    def __init__(self, below: Callable[[K], V | None] | None = None) -> None:
        self._rows: dict[K, V] = {}
        self.get = self._rows.get if below is None else _over(self._rows.get, below)

    def __getitem__(self, key: K) -> V:
        row = self.get(key)
        if row is None:
            raise KeyError(key)
        return row

    def put(self, key: K, row: V) -> None:
        """Set the row of a key in this layer only."""
        self._rows[key] = row

    def fork(self) -> "Table[K, V]":
        """A layer above this one."""
        return Table(self.get)

    def take_over(self, fork: "Table[K, V]") -> None:
        """Make the changes of a fork this layer's own."""
        self._rows.update(fork._rows)

    def changed(self) -> Iterator[V]:
        """The rows that were put in this layer, each as it stands."""
        return iter(self._rows.values())

    def __len__(self) -> int:
        return len(self._rows)


def _over(own: Callable[[Any], Any], below: Callable[[Any], Any]) -> Callable[[Any], Any]:
    # A closure: most of what deciding does is looking rows up, and this is Python's fastest way.
    def get(key: Any) -> Any:
        row = own(key)
        return below(key) if row is None else row

    return get
