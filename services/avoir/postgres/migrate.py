"""Brings the database schema up to date: applies the files of `migrations/` in order, one transaction each."""

import hashlib
from importlib.resources import files
from typing import NamedTuple

import asyncpg

from avoir.postgres.connect import AnyConnection, Connection

_TIMEOUT_S = 600.0
# A migration that waits for a table lock makes all later statements on the table wait behind it.
_LOCK_TIMEOUT = "60s"


class Migration(NamedTuple):
    """A file of `migrations/`."""

    version: int
    name: str
    sql: str
    sha256: str


class MigrationChangedError(Exception):
    """An applied migration has different contents now: restore it, and write a new one."""


def migrations() -> list[Migration]:
    """All migrations, oldest first."""
    result = []
    for file in files("avoir.postgres").joinpath("migrations").iterdir():
        if file.name.endswith(".sql"):
            data = file.read_bytes()
            version = int(file.name.split("_", 1)[0])
            result.append(Migration(version, file.name, data.decode(), hashlib.sha256(data).hexdigest()))
    return sorted(result)


REQUIRED_VERSION = migrations()[-1].version


async def migrate(dsn: str) -> list[str]:
    """Apply missing migrations and return their names; a second process waits, then finds nothing to do.

    Raises MigrationChangedError if an applied one differs from its file.
    """
    connection = await asyncpg.connect(dsn, timeout=10, command_timeout=_TIMEOUT_S)
    try:
        await connection.execute(f"SET lock_timeout = '{_LOCK_TIMEOUT}'")
        # Held until the connection closes, over the transactions of all migrations.
        await connection.execute("SELECT pg_advisory_lock(hashtextextended('avoir.migrate', 0))")
        await connection.execute(
            """
            CREATE SCHEMA IF NOT EXISTS avoir;
            CREATE TABLE IF NOT EXISTS avoir.migrations (
                version integer PRIMARY KEY,
                name text NOT NULL,
                applied_at timestamptz NOT NULL DEFAULT now(),
                sha256 text NOT NULL
            );
            """
        )
        rows = await connection.fetch("SELECT version, sha256 FROM avoir.migrations")
        applied = {row["version"]: row["sha256"] for row in rows}
        names = []
        for migration in migrations():
            if migration.version not in applied:
                await _apply(connection, migration)
                names.append(migration.name)
            elif applied[migration.version] != migration.sha256:
                raise MigrationChangedError(f"{migration.name} was applied with different contents")
        await connection.execute("SELECT avoir.ensure_partitions()")
        return names
    finally:
        await connection.close(timeout=10)


async def _apply(connection: Connection, migration: Migration) -> None:
    async with connection.transaction():
        await connection.execute(migration.sql)
        await connection.execute(
            "INSERT INTO avoir.migrations (version, name, sha256) VALUES ($1, $2, $3)",
            migration.version,
            migration.name,
            migration.sha256,
        )


async def schema_version(connection: AnyConnection) -> int:
    """The version of the newest migration in the database; 0 if there is none."""
    if await connection.fetchval("SELECT to_regclass('avoir.migrations') IS NULL"):
        return 0
    version: int = await connection.fetchval("SELECT coalesce(max(version), 0) FROM avoir.migrations")
    return version
