"""A connection pool for short queries: health, lag, backlog."""

from avoir.postgres.connect import Database, Pool


class ReadingPool:
    """A pool that is created on first use, so that the service starts while the database is unreachable."""

    def __init__(self, database: Database, size: int) -> None:
        self._database = database
        self._size = size
        self._pool: Pool | None = None

    async def get(self) -> Pool:
        """The pool; it opens connections on demand."""
        if self._pool is None:
            self._pool = await self._database.pool(self._size)
        return self._pool

    async def close(self) -> None:
        """Abort all connections: nothing in progress matters."""
        self.drop()

    def drop(self) -> None:
        """Abort all connections without notifying the server."""
        if self._pool is not None:
            self._pool.terminate()
            self._pool = None
