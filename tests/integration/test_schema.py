"""What the migrations give: the schema on file, tenants kept apart, a ledger that only grows."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from unittest.mock import patch

import asyncpg
import pytest
from pydantic import SecretStr

from avoir.postgres.connect import Connection, Database
from avoir.postgres.headers import unpacked
from avoir.postgres.migrate import (
    REQUIRED_VERSION,
    MigrationChangedError,
    migrate,
    migrations,
    schema_version,
)
from avoir.postgres.schema import dump
from deploy.local.harness.databases import connection_to

SCHEMA = Path(__file__).resolve().parents[2] / "schemas" / "sql" / "schema.sql"
NOT_OF_TENANTS = {"consumer_offsets", "dead_letter_rates", "leases", "migrations", "epochs", "topics_out"}
APPEND_ONLY = ("entries", "decisions")
REFUSED = asyncpg.InsufficientPrivilegeError


@pytest.fixture
async def owner(database: str) -> AsyncIterator[Connection]:
    """A connection of the owner of all tables."""
    async with connection_to(database) as connection:
        yield connection


async def test_the_schema_on_file_is_what_the_migrations_give(owner: Connection) -> None:
    again = "AVOIR_POSTGRES_DSN=... python -m avoir.postgres.schema > schemas/sql/schema.sql"
    assert await dump(owner) == SCHEMA.read_text(), f"make it anew from a migrated database: {again}"


async def test_every_key_of_tenants_data_begins_with_the_tenant(owner: Connection) -> None:
    keys = await owner.fetch(
        """
        SELECT t.relname AS table_name, i.relname AS index_name, a.attname AS first_column
        FROM pg_index x
        JOIN pg_class t ON t.oid = x.indrelid
        JOIN pg_class i ON i.oid = x.indexrelid
        JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = x.indkey[0]
        WHERE t.relnamespace = 'avoir'::regnamespace AND x.indisunique
        """
    )
    tables = await owner.fetch(
        "SELECT relname FROM pg_class WHERE relnamespace = 'avoir'::regnamespace AND relkind IN ('r', 'p')"
    )
    wrong = {key["index_name"] for key in keys if key["first_column"] != "tenant_id"}
    assert wrong == {f"{name}_pkey" for name in NOT_OF_TENANTS}
    assert {key["table_name"] for key in keys} == {row["relname"] for row in tables}


async def test_the_tables_without_a_tenant_are_those_named(owner: Connection) -> None:
    rows = await owner.fetch(
        """
        SELECT c.relname FROM pg_class c
        WHERE c.relnamespace = 'avoir'::regnamespace AND c.relkind IN ('r', 'p') AND NOT EXISTS (
            SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'tenant_id' AND a.attnotnull)
        """
    )
    assert {row["relname"] for row in rows} == NOT_OF_TENANTS


@pytest.mark.parametrize("table", APPEND_ONLY)
async def test_the_ledger_is_append_only_for_its_owner_too_on_every_partition(
    owner: Connection, table: str
) -> None:
    await _write_one_of_each(owner)
    partitions = await owner.fetch(
        "SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = $1::regclass",
        f"avoir.{table}",
    )
    assert len(partitions) >= 4
    written = await owner.fetchval(f"SELECT tableoid::regclass::text FROM {table}")
    for name in (table, written):
        for statement in (f"UPDATE {name} SET reason = 'other'", f"DELETE FROM {name}"):
            with pytest.raises(REFUSED, match="append-only"):
                await owner.execute(statement)
    for name in (table, *(row["name"] for row in partitions)):
        with pytest.raises(REFUSED, match="append-only"):
            await owner.execute(f"TRUNCATE {name}")


@pytest.mark.parametrize("table", APPEND_ONLY)
async def test_the_service_may_not_change_the_ledger(database: str, owner: Connection, table: str) -> None:
    await _write_one_of_each(owner)
    written = await owner.fetchval(f"SELECT tableoid::regclass::text FROM {table}")
    service = await Database(SecretStr(database)).connect()
    try:
        assert await service.fetchval("SELECT current_user") == "avoir_service"
        for name in (table, written):
            for statement in (f"UPDATE {name} SET reason = 'x'", f"DELETE FROM {name}", f"TRUNCATE {name}"):
                with pytest.raises(REFUSED, match="permission denied"):
                    await service.execute(statement)
            with pytest.raises(REFUSED, match="must be owner"):
                await service.execute(f"ALTER TABLE {name} DISABLE TRIGGER ALL")
    finally:
        await service.close()


async def test_commands_are_kept_as_they_came(database: str, owner: Connection) -> None:
    await owner.execute("INSERT INTO commands VALUES ('t1', 'draw-credit', 'e1', now(), '{}')")
    service = await Database(SecretStr(database)).connect()
    try:
        await service.execute("INSERT INTO commands VALUES ('t1', 'draw-credit', 'e2', now(), '{}')")
        for statement in ("UPDATE commands SET body = '[]'", "DELETE FROM commands", "TRUNCATE commands"):
            with pytest.raises(REFUSED, match="append-only"):
                await owner.execute(statement)
            with pytest.raises(REFUSED, match="permission denied"):
                await service.execute(statement)
    finally:
        await service.close()


async def test_the_reader_may_write_nothing(database: str) -> None:
    reader = await Database(SecretStr(database), role="avoir_readonly").connect()
    try:
        assert await reader.fetchval("SELECT count(*) FROM accounts") == 0
        tables = await reader.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'avoir'")
        for row in tables:
            with pytest.raises(REFUSED):
                await reader.execute(f"DELETE FROM {row['tablename']}")
        with pytest.raises(REFUSED):
            await reader.execute("SELECT ensure_partitions()")
    finally:
        await reader.close()


async def test_partitions_are_made_ahead_and_only_once(database: str) -> None:
    service = await Database(SecretStr(database)).connect()
    try:
        assert await service.fetchval("SELECT ensure_partitions()") == 0
        assert await service.fetchval("SELECT ensure_partitions(4)") == 4
    finally:
        await service.close()


async def test_migrating_again_or_twice_at_once_does_nothing_more(database: str, owner: Connection) -> None:
    await owner.execute("DROP SCHEMA avoir CASCADE")
    done = await asyncio.gather(migrate(database), migrate(database))
    assert sorted(done) == [[], [migration.name for migration in migrations()]]
    assert await migrate(database) == []
    assert await schema_version(owner) == REQUIRED_VERSION


async def test_a_migration_that_was_changed_afterwards_is_refused(database: str, owner: Connection) -> None:
    await owner.execute("UPDATE migrations SET sha256 = 'other' WHERE version = 1")
    with pytest.raises(MigrationChangedError):
        await migrate(database)


async def test_a_database_without_migrations_is_at_version_0(database: str, owner: Connection) -> None:
    await owner.execute("DROP SCHEMA avoir CASCADE")
    assert await schema_version(owner) == 0


async def test_rows_that_wait_to_be_published_keep_their_headers_through_a_migration(
    database: str, owner: Connection
) -> None:
    await owner.execute("DROP SCHEMA avoir CASCADE")
    with patch("avoir.postgres.migrate.migrations", return_value=migrations()[:3]):
        await migrate(database)
    headers = [("ce_id", b"e1"), ("a\0b", b"\xff"), ("none", None), ("empty", b"")]
    for each in ([], headers):
        await owner.execute(
            "INSERT INTO outbox (tenant_id, topic, header_names, header_values, recorded_at)"
            " VALUES ('t1', 'credit-issued', $1, $2, now())",
            [name.encode() for name, _ in each],
            [value for _, value in each],
        )
    assert await migrate(database) == [migration.name for migration in migrations()[3:]]
    kept = await owner.fetch("SELECT headers FROM outbox ORDER BY outbox_id")
    assert [unpacked(row["headers"]) for row in kept] == [[], headers]


async def _write_one_of_each(owner: Connection) -> None:
    async with owner.transaction():
        await owner.execute("SET LOCAL session_replication_role = replica")
        await owner.execute(
            """
            INSERT INTO entries (tenant_id, owner_type, owner_id, currency, seq, n, ledger_account,
                counter_account, grant_id, amount, balance, event, reason, topic, event_id, occurred_at,
                recorded_at, hash)
            VALUES ('t1', 'user', 'u1', 'EUR', 1, 1, 'available', 'issued', gen_random_uuid(), 1, 1,
                'credit-issued', 'r', 't', 'e', now(), now(), '');
            INSERT INTO decisions (tenant_id, topic, partition, kafka_offset, event_id,
                recorded_at, outcome, reason, facts, policy, subject_kind, subject_id)
            VALUES ('t1', 't', 0, 0, 'e', now(), 'issued', 'r', '{}', '{}', 'k', 's');
            """
        )
