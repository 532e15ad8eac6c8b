"""Keys as the arrays that statements take: one array a column."""

from collections.abc import Iterable
from typing import Any

Arrays = list[list[Any]]


def arrays(keys: Iterable[tuple[Any, ...]], width: int) -> Arrays:
    """Keys of `width` columns as one array per column, in sorted order; empty arrays where there are no keys."""
    made = [list(column) for column in zip(*sorted(keys), strict=True)]
    return made or [[] for _ in range(width)]
