"""A consistent view of the database at one moment."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from avoir.postgres import queries
from avoir.postgres.connect import Connection

BEGINNING = datetime(1, 1, 1, tzinfo=UTC)
END = datetime(9999, 12, 31, tzinfo=UTC)


class NotYetError(ValueError):
    """The requested moment is in the future by the database clock."""


@asynccontextmanager
async def snapshot(connection: Connection, as_of: datetime | None = None) -> AsyncIterator[datetime]:
    """Open a read-only transaction that sees one moment; yields the database clock.

    Raises NotYetError for a future `as_of`.
    """
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        now: datetime = await connection.fetchval(*queries.read_clock())
        if as_of is not None and as_of > now:
            raise NotYetError(
                f"{as_of.isoformat()} is in the future: the database clock says {now.isoformat()}"
            )
        yield now
