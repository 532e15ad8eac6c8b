"""A pool for short questions: health, lag, backlog."""

from avoir.postgres.connect import Database, Pool


class ReadingPool:
    """The pool, made when it is first asked for: the service starts while the database is still away."""

    def __init__(self, database: Database, size: int) -> None:
        self._database = database
        self._size = size
        self._pool: Pool | None = None

    async def get(self) -> Pool:
        """The pool; it opens connections as they are needed."""
        if self._pool is None:
            self._pool = await self._database.pool(self._size)
        return self._pool

    async def close(self) -> None:
        """Break off all connections: nothing is under way that counts."""
        self.drop()

    def drop(self) -> None:
        """Break off all connections without a word to the server."""
        if self._pool is not None:
            self._pool.terminate()
            self._pool = None
