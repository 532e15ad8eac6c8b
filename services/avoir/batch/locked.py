"""Finds the rows that other sessions keep locked, and the holders."""

import asyncio
import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import Any, NamedTuple, TypeAlias

import msgspec

from avoir.core.model.events import AccountKey
from avoir.postgres import queries
from avoir.postgres.connect import KeptConnection
from avoir.postgres.session import Session

_HOLDER_WITHIN_S = 1.0
_POLL_S = 0.02

Row: TypeAlias = tuple[str, ...]
"""Key of a row of `subjects` or `accounts`; the first element says which."""


class SubjectRow(NamedTuple):
    """Key of a row of `subjects`, which is locked for a thing that messages name."""

    tenant_id: str
    kind: str
    id: str


async def locked_of(session: Session, rows: Collection[Row]) -> set[Row]:
    """Select the locked rows among some rows; run it outside a transaction, which would keep the others."""
    subjects = {SubjectRow(*row[1:]) for row in rows if row[0] == "subject"}
    accounts = {AccountKey(*row[1:]) for row in rows if row[0] == "account"}
    free = await session.fetch_if(*queries.lock_free_subjects(subjects=subjects))
    left_subjects = subjects.difference(map(tuple, free))
    locked = {
        ("subject", *row) for row in await session.fetch_if(*queries.known_subjects(subjects=left_subjects))
    }
    free = await session.fetch_if(*queries.lock_free_accounts(accounts=accounts))
    left_accounts = accounts.difference(map(tuple, free))
    return locked | {
        ("account", *row) for row in await session.fetch_if(*queries.known_accounts(accounts=left_accounts))
    }


async def holders_of(kept: KeptConnection, row: Row) -> list[dict[str, Any]]:
    """Find the holder of a row lock: one session waits for the row, another asks who blocks it."""
    if row[0] == "subject":
        lock = queries.lock_subjects(subjects=[SubjectRow(*row[1:])])
    else:
        lock = queries.lock_accounts(accounts=[AccountKey(*row[1:])])
    waiting, asking = kept.another(), kept.another()
    until = time.monotonic() + _HOLDER_WITHIN_S
    holders: list[Any] = []
    try:
        async with waiting.use() as blocked, asking.use() as connection:
            wait = asyncio.create_task(blocked.fetch(*lock))
            try:
                while not (holders or wait.done() or time.monotonic() > until):
                    holders = await connection.fetch(*queries.read_holders(pid=blocked.get_server_pid()))
                    await asyncio.sleep(_POLL_S)
            finally:
                waiting.drop()
                await asyncio.gather(wait, return_exceptions=True)
    finally:
        with suppress(Exception):
            await asking.close()
    return [{name: value for name, value in each.items() if value is not None} for each in holders]


def rows_waited_for(stored: Sequence[str] | None) -> tuple[str, ...]:
    """Rows that deferred messages wait for, in readable form: `account/t1/user/u1/EUR`."""
    return tuple("/".join(msgspec.json.decode(row)) for row in stored or ())
