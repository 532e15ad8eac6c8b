"""Reads a tenant's history from Postgres at one moment, in groups of owners that share nothing with others."""

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Any, NamedTuple

import asyncpg
from msgspec.structs import replace

from avoir.cli.base.grouping import grouped
from avoir.cli.base.history_rows import (
    RecordedMessage,
    recorded_change,
    recorded_command,
    recorded_invoice,
    recorded_payment,
    recorded_reversal,
    recorded_void,
)
from avoir.core.model.events import AccountKey
from avoir.core.model.facts import Owner
from avoir.core.model.rows import Invoice
from avoir.core.simulate import Figures, with_flow
from avoir.postgres import queries, rows
from avoir.postgres.connect import Connection
from avoir_events import COMMANDS

PREFETCH = 1_000
DECIDED_BY_COMMAND = [*COMMANDS, "credit-application-rejected"]

SIMPLE: tuple[tuple[queries.Statement, Callable[[asyncpg.Record], RecordedMessage]], ...] = (
    (queries.history_voids, recorded_void),
    (queries.history_changes, recorded_change),
    (queries.history_payments, recorded_payment),
    (queries.history_reversals, recorded_reversal),
)
"""Streams in which each row is a separate message."""


class Group(NamedTuple):
    """Final state of some owners' accounts, and every message decided on them, in order.

    `own` counts messages that concern no other group; `unknown` counts commands whose contents were not kept.
    """

    accounts: dict[AccountKey, Figures]
    history: list[RecordedMessage]
    own: int
    unknown: int


class _Stream:
    """Rows of a statement, read group by group; ordered by code point, as collation C and Python compare strings."""

    def __init__(self, rows: AsyncIterator[asyncpg.Record]) -> None:
        self._groups = grouped(rows, lambda row: row["in_group"])
        self._next: tuple[str, list[asyncpg.Record]] | None = None
        self._begun = False

    async def of(self, group: str) -> list[asyncpg.Record]:
        """Rows of a group; skips rows of earlier groups, which have no account."""
        while not self._begun or (self._next is not None and self._next[0] < group):
            self._begun = True
            self._next = await anext(self._groups, None)
        if self._next is None or self._next[0] != group:
            return []
        group_rows = self._next[1]
        self._next = await anext(self._groups, None)
        return group_rows


async def read_groups(connection: Connection, tenant_id: str, owner: Owner | None) -> AsyncIterator[Group]:
    """Every group of a tenant, or the group of one owner; runs in a snapshot."""
    names = group_names(
        row["owners"] for row in await connection.fetch(*queries.history_ties(tenant_id=tenant_id))
    )
    only = None if owner is None else _members(names, f"{owner.type}/{owner.id}")
    tenant_policies = await _tenant_policies(connection, tenant_id)

    def rows_of(statement: queries.Statement, **more: Any) -> AsyncIterator[asyncpg.Record]:
        owners, groups = list(names), list(names.values())
        bound = statement(tenant_id=tenant_id, owners=owners, groups=groups, only=only, **more)
        return aiter(connection.cursor(*bound, prefetch=PREFETCH))

    simple = [(_Stream(rows_of(statement)), to_message) for statement, to_message in SIMPLE]
    invoices = _Stream(rows_of(queries.history_invoices))
    lines = _Stream(rows_of(queries.history_lines))
    flows = _Stream(rows_of(queries.history_flows))
    commands = _Stream(rows_of(queries.history_commands, topics=DECIDED_BY_COMMAND))
    accounts = rows_of(queries.history_accounts)
    async for group, account_rows in grouped(accounts, lambda row: row["in_group"]):
        billed = await invoices.of(group)
        history = [*tenant_policies, *_invoices(billed, await lines.of(group))]
        for stream, to_message in simple:
            history += map(to_message, await stream.of(group))
        kept = [recorded_command(row) for row in await commands.of(group)]
        history += [each for each in kept if each is not None]
        history.sort(key=lambda each: (each.recorded_at, each.place))
        figures = _figures(account_rows, await flows.of(group), map(rows.invoice, billed))
        yield Group(figures, history, len(history) - len(tenant_policies), kept.count(None))


def group_names(ties: Iterable[Sequence[str]]) -> dict[str, str]:
    """Map each owner that shares something, directly or not, to the owner that names its group."""
    name_of: dict[str, str] = {}
    members: dict[str, list[str]] = {}
    for tied in ties:
        names = {name_of.get(owner, owner) for owner in tied}
        name = min(names)
        together = [owner for each in sorted(names) for owner in members.pop(each, [each])]
        members[name] = together
        name_of |= dict.fromkeys(together, name)
    return name_of


def _members(names: dict[str, str], owner: str) -> list[str]:
    return [each for each, name in names.items() if name == names.get(owner)] or [owner]


async def _tenant_policies(connection: Connection, tenant_id: str) -> list[RecordedMessage]:
    fetched = await connection.fetch(*queries.history_tenant_policies(tenant_id=tenant_id))
    return [each for each in map(recorded_command, fetched) if each is not None]


def _invoices(invoices: Iterable[asyncpg.Record], lines: Iterable[asyncpg.Record]) -> list[RecordedMessage]:
    of_invoice: dict[str, list[Any]] = {}
    for row in lines:
        of_invoice.setdefault(row["invoice_id"], []).append(rows.line(row))
    return [recorded_invoice(row, of_invoice.get(row["invoice_id"], ())) for row in invoices]


def _figures(
    accounts: Iterable[asyncpg.Record], flows: Iterable[asyncpg.Record], invoices: Iterable[Invoice]
) -> dict[AccountKey, Figures]:
    by_account = {
        rows.account_key(row): Figures(
            available=row["available"],
            reserved=row["reserved"],
            given={"granted": row["granted"]} if row["granted"] else {},
            expired=row["expired"],
            shortfall=row["shortfall"],
        )
        for row in accounts
    }
    for row in flows:
        key = rows.account_key(row)
        by_account[key] = with_flow(by_account[key], row["counter_account"], row["source"], row["amount"])
    for invoice in invoices:
        # An account without a single event has no row, and no figures.
        if (figures := by_account.get(invoice.account)) is not None:
            by_account[invoice.account] = replace(figures, due=figures.due + invoice.due)
    return by_account
