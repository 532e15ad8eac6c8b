"""Rows by key, as layers: a fork sees what lies below it and keeps its own changes until they are taken over."""

from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar

K = TypeVar("K")
V = TypeVar("V")
K_contra = TypeVar("K_contra", contravariant=True)
V_co = TypeVar("V_co", covariant=True)


class Below(Protocol[K_contra, V_co]):
    """What a layer lies on: a dict of loaded rows, or another layer."""

    def get(self, key: K_contra, /) -> V_co | None:
        """The row of a key, or None."""


class Table(Generic[K, V]):
    """A copy-on-write layer of rows; rows themselves are frozen."""

    __slots__ = ("_below", "_rows")

    def __init__(self, below: Below[K, V]) -> None:
        self._below = below
        self._rows: dict[K, V] = {}

    def get(self, key: K, /) -> V | None:
        """The row of a key as this layer sees it, or None."""
        row = self._rows.get(key)
        return self._below.get(key) if row is None else row

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
        return Table(self)

    def take_over(self, fork: "Table[K, V]") -> None:
        """Make the changes of a fork this layer's own."""
        self._rows.update(fork._rows)

    def changed(self) -> Iterator[V]:
        """The rows that were put in this layer, each as it stands."""
        return iter(self._rows.values())

    def __len__(self) -> int:
        return len(self._rows)
