"""One moment of the database, so that everything in an answer belongs together."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from avoir.postgres import queries
from avoir.postgres.connect import Connection

BEGINNING = datetime(1, 1, 1, tzinfo=UTC)
END = datetime(9999, 12, 31, tzinfo=UTC)


@asynccontextmanager
async def snapshot(connection: Connection) -> AsyncIterator[datetime]:
    """A read-only transaction that sees one moment; gives the database clock at it."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        yield await connection.fetchval(queries.read_clock)
