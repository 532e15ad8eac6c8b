"""Runs the statements of one transaction and counts them."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import asyncpg
from asyncpg.transaction import Transaction

from avoir.postgres import queries
from avoir.postgres.connect import Connection
from avoir.postgres.queries import Statement
from avoir.postgres.worker_thread import run_in_thread

T = TypeVar("T")


class Session:
    """Runs named statements on a connection and counts them."""

    __slots__ = ("_connection", "statements")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.statements = 0

    def savepoint(self) -> Transaction:
        """A savepoint: a failure inside it is undone, and the transaction goes on."""
        self.statements += 2  # SAVEPOINT, and RELEASE or ROLLBACK TO
        return self._connection.transaction()

    async def run_in_thread(self, work: Callable[[], T]) -> T:
        """Run work in a thread, while a statement every 2 s keeps the transaction from being ended as idle."""
        return await run_in_thread(work, lambda: self._connection.execute(*queries.keep_alive()))

    async def fetch(self, statement: str, *arguments: Any) -> list[asyncpg.Record]:
        """Rows of a statement."""
        self.statements += 1
        return await self._connection.fetch(statement, *arguments)

    async def fetch_if(self, statement: str, *arguments: list[Any]) -> list[asyncpg.Record]:
        """Rows of a statement over arrays; nothing is sent if all arrays are empty."""
        return await self.fetch(statement, *arguments) if any(arguments) else []

    async def execute_if(self, statement: str, *arguments: list[Any]) -> None:
        """Run a statement over arrays, unless all of them are empty."""
        if any(arguments):
            self.statements += 1
            await self._connection.execute(statement, *arguments)

    async def update(self, statement: Statement, rows: Sequence[tuple[Any, ...]]) -> None:
        """Run an UPDATE over rows, if there are any, each with its parameters; LookupError if a row doesn't exist."""
        if rows:
            self.statements += 1
            columns = dict(zip(statement.parameters, map(list, zip(*rows, strict=True)), strict=True))
            status = await self._connection.execute(*statement(**columns))
            if status != f"UPDATE {len(rows)}":
                raise LookupError(f"{status} instead of {len(rows)} by {statement.name}")

    async def copy(self, table: str, names: Iterable[str], records: Sequence[tuple[Any, ...]]) -> None:
        """Copy rows into a table, if there are any."""
        if records:
            self.statements += 1
            await self._connection.copy_records_to_table(table, records=records, columns=list(names))
