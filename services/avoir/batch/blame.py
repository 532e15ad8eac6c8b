"""Finds the message behind a row that the database refused, from the error text."""

import re
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, Protocol

import asyncpg

from avoir.core.state.state import State
from avoir.postgres.rows import STATE_TABLES
from avoir.postgres.write import Written

_LISTS = ("entries", "decisions", "commands", "dead_letters", "outbox")
_LINE = re.compile(r"^COPY (\w+), line (\d+)", re.MULTILINE)
_KEY = re.compile(r"Key \(([^)]*)\)=\((.*)\) (?:is not present|already exists)", re.DOTALL)
_FAILING = "Failing row contains ("
_NAMES = {"accounts": "accounts"} | {table.name: name for name, table in STATE_TABLES.items()}


class RowSource(Protocol):
    """A source of rows: its own layer of a state, and lists."""

    @property
    def state(self) -> State:
        """Rows that it put or changed."""
        ...

    @property
    def written(self) -> Written:
        """Other rows that it wrote."""
        ...


def message_behind(error: Exception, part: RowSource, messages: Sequence[RowSource]) -> int | None:
    """Index (from 0) of the message that put the row named by an error; None if there is none."""
    if not isinstance(error, asyncpg.PostgresError):
        return None
    copied = _LINE.search(error.context or "")
    table, line = (copied[1], int(copied[2])) if copied else (error.table_name or "", 0)
    row = _row(part, table, line, error.detail or "")
    return next((n for n, each in enumerate(messages) if _has_row(each, table, row)), None)


def _has_row(message: RowSource, table: str, row: Any) -> bool:
    rows = (
        getattr(message.written, table) if table in _LISTS else message.state.changed(_NAMES.get(table, ""))
    )
    return row is not None and any(each is row for each in rows)


def _row(part: RowSource, table: str, line: int, detail: str) -> Any:
    name = _NAMES.get(table, "")
    if line:
        rows: Iterator[Any] = (
            iter(getattr(part.written, table)) if table in _LISTS else part.state.added(name)
        )
        return next(islice(rows, line - 1, None), None)
    key = _KEY.search(detail)
    if key is not None and name in STATE_TABLES:
        return _added(part.state, name, key[1].split(", "), key[2])
    for row in part.state.updated(name):
        # The columns of a table's key are its first ones.
        if detail.startswith(_FAILING + _text(getattr(row, "key", ())) + ", "):
            return row
    return None


def _added(state: State, name: str, columns: Sequence[str], values: str) -> Any:
    table = STATE_TABLES[name]
    if not set(columns) <= table.columns.keys():
        return None
    for row in state.added(name):
        inserted = dict(zip(table.columns, table.added(row, None), strict=True))
        if _text([inserted[column] for column in columns]) == values:
            return row
    return None


def _text(values: Sequence[object]) -> str:
    return ", ".join(map(str, values))
