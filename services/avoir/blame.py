"""Finds the message of a batch whose row the database refused, from what its error says."""

import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

import asyncpg

from avoir.core.state import State
from avoir.postgres.stored import STORED
from avoir.postgres.write import Written

LISTS = ("entries", "decisions", "commands", "dead_letters", "outbox")
"""The tables of which `Written` holds the rows, in the order of the messages."""

_LINE = re.compile(r"^COPY (\w+), line (\d+)", re.MULTILINE)
_KEY = re.compile(r"Key \(([^)]*)\)=\((.*)\) (?:is not present|already exists)", re.DOTALL)
_FAILING = "Failing row contains ("
_NAMES = {"accounts": "accounts"} | {stored.table: name for name, stored in STORED.items()}


class Put(NamedTuple):
    """What a message put: its rows, none where it was not decided, and how long each of `LISTS` is since."""

    state: State | None
    heights: Mapping[str, int]


def put_by(state: State | None, written: Written) -> Put:
    """What is noted of a message once it is decided."""
    return Put(state, {name: len(getattr(written, name)) for name in LISTS})


def message_behind(error: Exception, state: State, puts: Sequence[Put]) -> int | None:
    """Which message, counted from 0, put the row that an error names last; None where it names none of theirs."""
    if not isinstance(error, asyncpg.PostgresError):
        return None
    copied = _LINE.search(error.context or "")
    table, line = (copied[1], int(copied[2])) if copied else (error.table_name or "", 0)
    if table in LISTS:
        found = bisect_right([put.heights[table] for put in puts], line - 1) if line else len(puts)
        return found if found < len(puts) else None
    name = _NAMES.get(table)
    row = None if name is None else _row(state, name, line, error.detail or "")
    if name is None or row is None:
        return None
    for n, put in enumerate(puts):
        if put.state is not None and any(each is row for each in put.state.changed(name)):
            return n
    return None


def _row(state: State, name: str, line: int, detail: str) -> Any:
    if line:
        return next(islice(state.added(name), line - 1, None), None)
    key = _KEY.search(detail)
    if key is not None and name in STORED:
        return _added(state, name, key[1].split(", "), key[2])
    for row in state.updated(name):
        # The columns of a table's key are its first ones.
        if detail.startswith(_FAILING + _text(getattr(row, "key", ())) + ", "):
            return row
    return None


def _added(state: State, name: str, columns: Sequence[str], values: str) -> Any:
    stored = STORED[name]
    if not set(columns) <= set(stored.columns):
        return None
    places = [stored.columns.index(column) for column in columns]
    for row in state.added(name):
        said = stored.added(row)
        if _text([said[place] for place in places]) == values:
            return row
    return None


def _text(values: Sequence[object]) -> str:
    return ", ".join(map(str, values))
