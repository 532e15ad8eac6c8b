"""What is declared of tables is what the migrations give: the columns, and their types."""

from typing import Any

import pytest

from avoir.batch.deferral import DeferredRow
from avoir.postgres.bodies import CommandRow
from avoir.postgres.mapping import Table
from avoir.postgres.rows import ACCOUNTS, ENTRIES, STATE_TABLES
from avoir.postgres.write import DeadLetterRow, DecisionRow, OutboxRow
from deploy.local.harness.databases import connection_to

COPIED: dict[str, Any] = {
    "decisions": DecisionRow,
    "commands": CommandRow,
    "dead_letters": DeadLetterRow,
    "outbox": OutboxRow,
    "deferred": DeferredRow,
}
LATER = {
    "dead_letters": {"replayed_at"},
    "outbox": {"outbox_id", "refused"},
    "deferred": {"n", "deferred_at"},
}
"""Columns that are not set when a row is written."""


async def columns_of(database: str, table: str) -> dict[str, str]:
    async with connection_to(database) as connection:
        rows = await connection.fetch(
            "SELECT attname, atttypid::regtype::text AS type FROM pg_attribute "
            "WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped",
            f"avoir.{table}",
        )
    return {row["attname"]: row["type"].replace("timestamp with time zone", "timestamptz") for row in rows}


@pytest.mark.parametrize("table", [ACCOUNTS, ENTRIES, *STATE_TABLES.values()], ids=lambda table: table.name)
async def test_a_table_has_the_columns_that_are_declared(database: str, table: Table[Any]) -> None:
    declared = {column.name: column.type for column in table.columns.values()}
    assert await columns_of(database, table.name) == declared


@pytest.mark.parametrize("table", COPIED)
async def test_a_row_that_is_copied_has_every_column(database: str, table: str) -> None:
    columns = await columns_of(database, table)
    assert columns.keys() - LATER.get(table, set()) == set(COPIED[table]._fields)
