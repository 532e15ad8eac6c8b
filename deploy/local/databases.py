"""Databases of their own for the demo, the tests and the benchmark, beside others on one server."""

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
