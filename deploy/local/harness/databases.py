"""Databases of a run's own, beside others on one server."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import asyncpg


def dsn_of(admin_dsn: str, database: str) -> str:
    """The same server and user, another database."""
    return urlsplit(admin_dsn)._replace(path=f"/{database}").geturl()


async def execute(dsn: str, statement: str, within_seconds: float = 60) -> None:
    """Run one statement outside any transaction."""
    connection = await asyncpg.connect(dsn, timeout=10, command_timeout=within_seconds)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


@asynccontextmanager
async def own_database(
    admin_dsn: str, name: str, template: str | None = None, within_seconds: float = 60
) -> AsyncIterator[str]:
    """Create a database, empty or a copy of the template, and drop it at the end; yields its DSN."""
    copied = f' TEMPLATE "{template}"' if template else ""
    await execute(admin_dsn, f'CREATE DATABASE "{name}"{copied}', within_seconds)
    try:
        yield dsn_of(admin_dsn, name)
    finally:
        await execute(admin_dsn, f'DROP DATABASE "{name}" WITH (FORCE)', within_seconds)


@asynccontextmanager
async def connection_to(dsn: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """A superuser's connection that looks into the schema."""
    connection = await asyncpg.connect(
        dsn, timeout=10, command_timeout=30, server_settings={"search_path": "avoir"}
    )
    try:
        yield connection
    finally:
        await connection.close(timeout=5)
