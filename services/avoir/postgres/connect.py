"""Connections to Postgres: role, schema and time limits."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Literal, TypeAlias

import asyncpg
from asyncpg.pool import PoolConnectionProxy
from pydantic import SecretStr

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
AnyConnection: TypeAlias = "Connection | PoolConnectionProxy[asyncpg.Record]"
Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"

PLANS = {
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "jit": "off",
    "plan_cache_mode": "force_generic_plan",
}
"""Planner settings of the service. It finds rows by keys, so nested loops over indexes are right at any size. A plan is
kept for long: made while a table is empty, as on the first day, it would read the whole table when it is large, foreign
keys included. No plan is better for the values of one batch, so none is made for them (custom plans), not even for the
first five executions. ADR 0038 has the figures."""


@dataclass(frozen=True, slots=True)
class Database:
    """Address, role and time limits of every connection; TLS and credentials are in the DSN.

    The limits rise in the order in which they should apply: a stopped process loses its transaction first, then a lock
    wait ends, then the statement, then the client stops waiting for an answer.
    """

    dsn: SecretStr
    role: Literal["avoir_service", "avoir_readonly"] = "avoir_service"
    application_name: str = "avoir"
    connect_timeout_s: float = 5.0
    idle_in_transaction_timeout_s: float = 10.0
    lock_timeout_s: float = 15.0
    statement_timeout_s: float = 20.0
    command_timeout_s: float = 25.0

    async def connect(self) -> Connection:
        """Open one connection, for a task that keeps it."""
        return await asyncpg.connect(
            self.dsn.get_secret_value(),
            timeout=self.connect_timeout_s,
            command_timeout=self.command_timeout_s,
            server_settings=self._server_settings(),
        )

    async def pool(self, max_size: int) -> Pool:
        """Create a pool that opens connections on demand."""
        return await asyncpg.create_pool(
            self.dsn.get_secret_value(),
            min_size=0,
            max_size=max_size,
            timeout=self.connect_timeout_s,
            command_timeout=self.command_timeout_s,
            server_settings=self._server_settings(),
        )

    def _server_settings(self) -> dict[str, str]:
        # Sent in the startup message: so they are the session's defaults, to which RESET ALL returns.
        return {
            "application_name": self.application_name,
            "search_path": "avoir",
            "role": self.role,
            "timezone": "UTC",
            "idle_in_transaction_session_timeout": _milliseconds(self.idle_in_transaction_timeout_s),
            "lock_timeout": _milliseconds(self.lock_timeout_s),
            "statement_timeout": _milliseconds(self.statement_timeout_s),
            **(PLANS if self.role == "avoir_service" else {}),
        }


class KeptConnection:
    """A connection that is kept between uses and discarded after any error.

    After an error its protocol state is unknown, and a COMMIT with a lost answer may have taken effect: the next use
    opens a new connection and reads what is there.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._connection: Connection | None = None

    @asynccontextmanager
    async def use(self) -> AsyncIterator[Connection]:
        """The connection, opened if necessary; not for two tasks at once."""
        if self._connection is None or self._connection.is_closed():
            self._connection = await self._database.connect()
        try:
            yield self._connection
        except BaseException:
            # Also when cancelled: a statement may still be running.
            self.drop()
            raise

    def another(self) -> "KeptConnection":
        """Another kept connection to the same database."""
        return KeptConnection(self._database)

    @property
    def application_name(self) -> str:
        """Application name of the sessions."""
        return self._database.application_name

    def drop(self) -> None:
        """Abort the connection without notifying the server."""
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    async def close(self) -> None:
        """Close the connection: cleanly if that takes less than a second, otherwise abort it."""
        if self._connection is not None:
            with suppress(Exception):
                await self._connection.close(timeout=1)
            self.drop()


def _milliseconds(seconds: float) -> str:
    return str(round(seconds * 1000))
