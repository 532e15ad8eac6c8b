"""The declarations of tables fit the core rows, and a row that is read is written again as it was."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from avoir.core.model.facts import Period
from avoir.postgres.mapping import Table
from avoir.postgres.rows import ACCOUNTS, CHANGES, ENTRIES, GRANTS, INVOICES, LINES, STATE_TABLES

AT = datetime(2026, 6, 1, tzinfo=UTC)
TABLES: tuple[Table[Any], ...] = (ACCOUNTS, ENTRIES, *STATE_TABLES.values())
KINDS = [(table, kind) for table in TABLES for kind in table.kinds]
VALUES: dict[str, Any] = {
    "timestamptz": lambda n: AT.replace(microsecond=n),
    "bigint": lambda n: n,
    "integer": lambda n: n,
    "boolean": lambda n: n % 2 == 0,
    "bytea": lambda n: bytes([n]),
    "uuid": lambda n: UUID(int=n),
    "text": str,
    "jsonb": lambda n: f'{{"n": {n}}}',
    "text[]": lambda n: [str(n), "x"],
    "uuid[]": lambda n: [UUID(int=n), UUID(int=0)],
    "bigint[]": lambda n: [n, 0],
}
"""A value of each type that is another for each column."""


ABSENT = {"fee": 0}
"""Columns that hold something else than null where the kind of row has no such field."""


def a_row(table: Table[Any], kind: str = "") -> dict[str, Any]:
    row = {name: VALUES[column.type](n) for n, (name, column) in enumerate(table.columns.items())}
    own = table.kinds[kind].__struct_fields__
    absent = [column.name for field in table.fields if field.name not in own for column in field.columns]
    told = {table.kind_in: kind} if table.kind_in else {}
    return row | {name: ABSENT.get(name) for name in absent} | told


def written(table: Table[Any], values: tuple[Any, ...]) -> dict[str, Any]:
    plain = (list(value) if isinstance(value, tuple) else value for value in values)
    return dict(zip(table.columns, plain, strict=True))


@pytest.mark.parametrize(
    ("table", "kind"), KINDS, ids=[f"{table.name} {kind}".rstrip() for table, kind in KINDS]
)
class TestEveryTable:
    def test_it_has_the_fields_of_its_core_row(self, table: Table[Any], kind: str) -> None:
        of_kinds = {name for each in table.kinds.values() for name in each.__struct_fields__}
        told = [table.kind_in] if table.kind_in else []
        assert sorted(field.name for field in table.fields) == sorted([*of_kinds, *told])

    def test_what_is_read_is_written_as_it_was(self, table: Table[Any], kind: str) -> None:
        row = a_row(table, kind)
        assert type(table.read(row)) is table.kinds[kind]
        assert written(table, table.added(table.read(row), row.get("recorded_at"))) == row

    def test_an_update_takes_its_values_in_their_order(self, table: Table[Any], kind: str) -> None:
        if table.update is None:
            return
        row = a_row(table, kind)
        values = table.changed(table.read(row), row.get("recorded_at"))
        assert dict(zip(table.update.parameters, values, strict=True)) == {
            name: row[name] for name in table.update.parameters
        }


@pytest.mark.parametrize(
    ("table", "kind", "field"),
    [
        (LINES, "", "period"),
        (CHANGES, "booking-shortened", "billed_period"),
        (CHANGES, "booking-shortened", "remaining_period"),
        (GRANTS, "", "entitlement"),
    ],
)
def test_what_is_not_there_is_null_in_all_its_columns(table: Table[Any], kind: str, field: str) -> None:
    own = [
        column
        for each in table.fields
        if each.name == field
        for column in each.columns
        if column.name != "tenant_id"
    ]
    row = a_row(table, kind) | {column.name: None for column in own}
    assert getattr(table.read(row), field) is None
    assert written(table, table.added(table.read(row), row.get("recorded_at"))) == row


def test_a_line_has_its_period() -> None:
    row = a_row(LINES)
    assert LINES.read(row).period == Period(row["period_start"], row["period_end"])


def test_an_update_names_its_columns() -> None:
    assert INVOICES.update is not None
    assert INVOICES.update.text == (
        "UPDATE invoices t SET barred = v.barred, voided = v.voided, settled = v.settled, applied = v.applied, "
        "settled_at = v.settled_at, restored = v.restored\n"
        "FROM unnest($1::text[], $2::text[], $3::boolean[], $4::boolean[], $5::bigint[], $6::bigint[], "
        "$7::timestamptz[], $8::bigint[]) AS v (tenant_id, invoice_id, barred, voided, settled, applied, settled_at, "
        "restored)\n"
        "WHERE t.tenant_id = v.tenant_id AND t.invoice_id = v.invoice_id"
    )
