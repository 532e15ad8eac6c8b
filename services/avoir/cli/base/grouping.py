"""Groups of neighbouring rows in a stream, so that a stream of any length takes the memory of one group."""

from collections.abc import AsyncIterator, Callable
from typing import TypeVar

Row = TypeVar("Row")
Key = TypeVar("Key")


async def grouped(
    rows: AsyncIterator[Row], key: Callable[[Row], Key]
) -> AsyncIterator[tuple[Key, list[Row]]]:
    """Runs of rows with the same key, like `itertools.groupby`."""
    group: list[Row] = []
    for_key: Key | None = None
    async for row in rows:
        row_key = key(row)
        if group and row_key != for_key:
            yield for_key, group  # type: ignore[misc]  # a group has a key
            group = []
        for_key = row_key
        group.append(row)
    if group:
        yield for_key, group  # type: ignore[misc]
