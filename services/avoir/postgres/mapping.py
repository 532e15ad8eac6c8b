"""From rows of a table to rows of the core and back: both are made of one declaration of the table's columns."""

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
"""Gives values of columns, of a core row and of when it is recorded."""


class Column(NamedTuple):
    """A column, with its type, and the Python expression that gives its value of a `row` of the core."""

    name: str
    type: str
    value: str
    changes: bool = False


class Field(NamedTuple):
    """A field of a core row, with the columns that hold it, and the expression that gives it of a table's `row`."""

    name: str
    columns: tuple[Column, ...]
    value: str
    kind: type = object


RECORDED_AT = Column("recorded_at", "timestamptz", "recorded_at")
"""When a row was recorded: no field of it."""


def fields(columns: str, *, absent: str = "") -> tuple[Field, ...]:
    """Fields that are a column each and never change: `fields("number text, total bigint")`.

    `absent` is the expression that gives the value for rows of a kind that has no such field.
    """

    def value(name: str) -> str:
        return f"getattr(row, {name!r}, {absent})" if absent else f"row.{name}"

    return tuple(
        Field(name, (Column(name, type_, value(name)),), f"row[{name!r}]") for name, type_ in _named(columns)
    )


def changing(columns: str, *, absent: str = "") -> tuple[Field, ...]:
    """Fields that are a column each and change."""
    return tuple(
        field._replace(columns=tuple(column._replace(changes=True) for column in field.columns))
        for field in fields(columns, absent=absent)
    )


def nested(name: str, kind: type, columns: str, null: str = "") -> tuple[Field, ...]:
    """A field that is a named tuple, a column for each of its fields; None where the column `null` is null.

    Rows of a kind that has no such field have null in these columns.
    """
    named = _named(columns)
    held_in = f"getattr(row, {name!r}, None) and row.{name}" if null else f"row.{name}"
    parts = (f"{held_in}[{n}]" for n in range(len(named)))
    value = f"{kind.__name__}({', '.join(f'row[{column!r}]' for column, _ in named)})"
    held = tuple(Column(column, type_, part) for (column, type_), part in zip(named, parts, strict=True))
    return (Field(name, held, f"None if row[{null!r}] is None else {value}" if null else value, kind),)


def converted(name: str, value: str, *columns: Column) -> tuple[Field, ...]:
    """A field that is held in another way than it is."""
    return (Field(name, columns, value),)


class Table(Generic[R]):
    """A table whose rows are read as core rows, copied in when they are new, and updated where they change.

    Rows may be of several kinds, which then are told apart by the value of the column `kind_in`.

    `read` makes a core row of a table's row, `added` the values of all `columns`, and `changed` those that `update`
    takes, key first. Where nothing changes there is no `update`.
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
    """A function of its source: as fast as one that is written by hand, for each row of every batch."""
    return eval(source, {"json": json} | {kind.__name__: kind for kind in kinds})


def _update(table: str, keys: Sequence[Column], changes: Sequence[Column]) -> Statement:
    columns = [*keys, *changes]
    arrays = ", ".join(f":{each.name}::{each.type}[]" for each in columns)
    return Statement.of(
        f"update_{table}",
        f"What changed of known rows of {table}.",
        f"UPDATE {table} t SET {', '.join(f'{each.name} = v.{each.name}' for each in changes)}\n"
        f"FROM unnest({arrays}) AS v ({', '.join(each.name for each in columns)})\n"
        f"WHERE {' AND '.join(f't.{each.name} = v.{each.name}' for each in keys)}",
    )


def _named(columns: str) -> list[tuple[str, str]]:
    return [(name, type_) for name, type_ in (each.split() for each in columns.split(", "))]
