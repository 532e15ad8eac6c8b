"""One moment of the database, so that everything in an answer belongs together."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from avoir.postgres import queries
from avoir.postgres.connect import Connection

BEGINNING = datetime(1, 1, 1, tzinfo=UTC)
END = datetime(9999, 12, 31, tzinfo=UTC)


class NotYetError(ValueError):
    """A moment that was asked for is still to come by the database clock."""


@asynccontextmanager
async def snapshot(connection: Connection, as_of: datetime | None = None) -> AsyncIterator[datetime]:
    """A read-only transaction that sees one moment; gives the database clock at it. NotYetError if `as_of` is later."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        now: datetime = await connection.fetchval(*queries.read_clock())
        if as_of is not None and as_of > now:
            raise NotYetError(
                f"{as_of.isoformat()} is still to come: the database clock says {now.isoformat()}"
            )
        yield now
