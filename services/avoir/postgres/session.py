"""One transaction's conversation with the database, and how many statements it took."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import asyncpg
from asyncpg.transaction import Transaction

from avoir.postgres import queries
from avoir.postgres.beside import beside
from avoir.postgres.connect import Connection
from avoir.postgres.queries import Statement

T = TypeVar("T")


class Session:
    """Runs named statements on a connection and counts them."""

    __slots__ = ("_connection", "statements")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.statements = 0

    def savepoint(self) -> Transaction:
        """What fails within it is undone, and the transaction goes on."""
        self.statements += 2
        return self._connection.transaction()

    async def beside(self, work: Callable[[], T]) -> T:
        """Run work in a thread, while the database is told that the transaction goes on."""
        return await beside(work, lambda: self._connection.execute(*queries.keep_awake()))

    async def fetch(self, statement: str, *arguments: Any) -> list[asyncpg.Record]:
        """The rows of a statement."""
        self.statements += 1
        return await self._connection.fetch(statement, *arguments)

    async def fetch_if(self, statement: str, *arguments: list[Any]) -> list[asyncpg.Record]:
        """The rows of a statement over arrays; none, unasked, where all arrays are empty."""
        return await self.fetch(statement, *arguments) if any(arguments) else []

    async def execute_if(self, statement: str, *arguments: list[Any]) -> None:
        """Run a statement over arrays, unless all of them are empty."""
        if any(arguments):
            self.statements += 1
            await self._connection.execute(statement, *arguments)

    async def update(self, statement: Statement, rows: Sequence[tuple[Any, ...]]) -> None:
        """Run an UPDATE over rows, if there are any, each as its parameters; LookupError where one is not there."""
        if rows:
            self.statements += 1
            columns = dict(zip(statement.parameters, map(list, zip(*rows, strict=True)), strict=True))
            done = await self._connection.execute(*statement(**columns))
            if done != f"UPDATE {len(rows)}":
                raise LookupError(f"{done} instead of {len(rows)} by {statement.name}")

    async def copy(self, table: str, names: Iterable[str], records: Sequence[tuple[Any, ...]]) -> None:
        """Copy rows into a table, if there are any."""
        if records:
            self.statements += 1
            await self._connection.copy_records_to_table(table, records=records, columns=list(names))
