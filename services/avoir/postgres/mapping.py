"""Converts table rows to core rows and back, from one declaration of the table's columns."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from itertools import chain
from typing import Any, Generic, NamedTuple, TypeVar

from asyncpg import Record
from msgspec import Struct

from avoir.postgres.queries import Statement

Row = Mapping[str, Any] | Record
"""A row of a table, as a statement returns it."""

R = TypeVar("R", bound=Struct)
Writer = Callable[[R, datetime | None], tuple[Any, ...]]
"""Returns column values of a core row and of the time when it is recorded."""


class Column(NamedTuple):
    """A column with its type, and the Python expression for its value, in which `row` is the core row."""

    name: str
    type: str
    value: str
    changes: bool = False


class Field(NamedTuple):
    """A field of a core row, its columns, and the Python expression for its value, in which `row` is a table row."""

    name: str
    columns: tuple[Column, ...]
    value: str
    kind: type = object


RECORDED_AT = Column("recorded_at", "timestamptz", "recorded_at")
"""The time when a row was recorded: no field of the core row."""


def fields(columns: str, *, absent: str = "") -> tuple[Field, ...]:
    """Fields with one column each that never change: `fields("number text, total bigint")`.

    `absent` is the Python expression for the column's value in rows of a kind without the field.
    """

    def value(name: str) -> str:
        return f"getattr(row, {name!r}, {absent})" if absent else f"row.{name}"

    return tuple(
        Field(name, (Column(name, type_, value(name)),), f"row[{name!r}]") for name, type_ in _typed(columns)
    )


def changing(columns: str, *, absent: str = "") -> tuple[Field, ...]:
    """Fields with one column each that change."""
    return tuple(
        field._replace(columns=tuple(column._replace(changes=True) for column in field.columns))
        for field in fields(columns, absent=absent)
    )


def nested(name: str, kind: type, columns: str, null: str = "") -> tuple[Field, ...]:
    """A field that is a named tuple, with a column for each of its fields; None if the column `null` is null.

    Rows of a kind without the field have null in these columns.
    """
    typed = _typed(columns)
    source = f"getattr(row, {name!r}, None) and row.{name}" if null else f"row.{name}"
    items = (f"{source}[{n}]" for n in range(len(typed)))
    value = f"{kind.__name__}({', '.join(f'row[{column!r}]' for column, _ in typed)})"
    parts = tuple(Column(column, type_, item) for (column, type_), item in zip(typed, items, strict=True))
    return (Field(name, parts, f"None if row[{null!r}] is None else {value}" if null else value, kind),)


def converted(name: str, value: str, *columns: Column) -> tuple[Field, ...]:
    """A field whose stored form differs from its value: `value` is the Python expression that converts it back."""
    return (Field(name, columns, value),)


class Table(Generic[R]):
    """A table whose rows are read as core rows, copied in if new, and updated if changed.

    Rows can be of several kinds: then the value of the column `kind_in` says of which.

    `read` converts a table row to a core row. `added` returns the values of all `columns`, and `changed` those that
    `update` takes, key first. If no column ever changes, `update` is None.
    """

    def __init__(
        self,
        name: str,
        kinds: type[R] | Mapping[str, type[R]],
        *parts: tuple[Field, ...],
        key: str,
        kind_in: str = "",
        recorded_at: Column | None = None,
    ) -> None:
        self.name = name
        self.kinds: Mapping[str, type[R]] = kinds if isinstance(kinds, Mapping) else {"": kinds}
        self.kind_in = kind_in
        self.fields = tuple(chain.from_iterable(parts))
        self.columns: dict[str, Column] = {}
        for column in (*chain.from_iterable(field.columns for field in self.fields), recorded_at):
            if column is not None:
                self.columns.setdefault(column.name, column)
        keys = [self.columns[each] for each in key.split()]
        changes = [column for column in self.columns.values() if column.changes]
        readers = {value: _reader(kind, self.fields) for value, kind in self.kinds.items()}
        self.read: Callable[[Row], R] = _one_of(readers, kind_in) if kind_in else readers[""]
        self.added: Writer[R] = _writer(self.columns.values())
        self.changed: Writer[R] = _writer([*keys, *changes])
        self.update = _update(name, keys, changes) if changes else None


def _reader(kind: type[Struct], parts: Iterable[Field]) -> Any:
    values = {field.name: field.value for field in parts}
    arguments = ", ".join(values[name] for name in kind.__struct_fields__)
    return _compiled(f"lambda row: {kind.__name__}({arguments})", kind, *(field.kind for field in parts))


def _one_of(readers: Mapping[str, Callable[[Row], R]], column: str) -> Callable[[Row], R]:
    return lambda row: readers[row[column]](row)


def _writer(columns: Iterable[Column]) -> Any:
    return _compiled(f"lambda row, recorded_at: ({''.join(f'{each.value}, ' for each in columns)})")


def _compiled(source: str, *kinds: type) -> Any:
    """A function compiled from its source: it runs for each row of every batch, as fast as one written by hand."""
    # The source is made from the declarations in rows.py alone, never from data.
    return eval(source, {"json": json} | {kind.__name__: kind for kind in kinds})


def _update(table: str, keys: Sequence[Column], changes: Sequence[Column]) -> Statement:
    # One statement with one plan for any number of rows: an array for each column.
    columns = [*keys, *changes]
    arrays = ", ".join(f":{each.name}::{each.type}[]" for each in columns)
    return Statement.of(
        f"update_{table}",
        f"Updates changed rows of {table}.",
        f"UPDATE {table} t SET {', '.join(f'{each.name} = v.{each.name}' for each in changes)}\n"
        f"FROM unnest({arrays}) AS v ({', '.join(each.name for each in columns)})\n"
        f"WHERE {' AND '.join(f't.{each.name} = v.{each.name}' for each in keys)}",
    )


def _typed(columns: str) -> list[tuple[str, str]]:
    return [(name, type_) for name, type_ in (each.split() for each in columns.split(", "))]
