"""Writes what a batch changed, a statement or a COPY per table."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain
from typing import Any

from avoir.core.ledger import Entry
from avoir.core.state import State
from avoir.postgres import queries, rows
from avoir.postgres.bodies import COMMAND_COLUMNS
from avoir.postgres.session import Session

ENTRY_COLUMNS = (
    *(
        "tenant_id",
        "owner_type",
        "owner_id",
        "currency",
        "seq",
        "n",
        "ledger_account",
        "counter_account",
        "grant_id",
    ),
    *(
        "amount",
        "balance",
        "event",
        "reason",
        "invoice_id",
        "application_id",
        "topic",
        "event_id",
        "occurred_at",
    ),
    *("recorded_at", "hash"),
)
DECISION_COLUMNS = (
    *(
        "tenant_id",
        "decision_id",
        "topic",
        "partition",
        "kafka_offset",
        "event_id",
        "occurred_at",
        "recorded_at",
    ),
    *("outcome", "reason", "facts", "policy", "would_change_it", "subject_kind", "subject_id", "position"),
)
OUTBOX_COLUMNS = ("tenant_id", "topic", "key", "value", "header_names", "header_values", "recorded_at")
DEAD_LETTER_COLUMNS = (
    *("tenant_id", "dead_letter_id", "outcome", "reason", "event_id", "topic", "partition", "kafka_offset"),
    *("kafka_timestamp", "key", "value", "header_names", "header_values", "recorded_at"),
)


@dataclass(slots=True)
class Written:
    """What a batch writes besides the rows of its state, as columns of the tables they go to."""

    decisions: list[tuple[Any, ...]] = field(default_factory=list)
    commands: list[tuple[Any, ...]] = field(default_factory=list)
    outbox: list[tuple[Any, ...]] = field(default_factory=list)
    dead_letters: list[tuple[Any, ...]] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)


async def write(session: Session, state: State, written: Written, recorded_at: datetime) -> None:
    """Write the changed rows of a batch's state, its ledger entries, decisions, commands, outbox and dead letters."""

    async def upsert(
        statement: str, changed: Iterable[Any], to_columns: Callable[[Any], tuple[Any, ...]], *more: Any
    ) -> None:
        arrays = [list(column) for column in zip(*map(to_columns, changed), strict=True)]
        if arrays:
            await session.fetch(statement, *arrays, *more)

    await upsert(queries.write_accounts, state.changed("accounts"), rows.account_columns, recorded_at)
    await upsert(queries.write_invoices, state.changed("invoices"), rows.invoice_columns)
    await _copy(session, "invoice_lines", state.changed("lines"))
    await upsert(queries.write_changes, state.changed("changes"), rows.change_columns)
    await _copy(session, "reversals", state.changed("reversals"))
    await _copy(session, "voids", state.changed("voids"))
    await _copy(session, "policies", state.changed("policies"))
    await upsert(queries.write_payments, state.changed("payments"), rows.payment_columns)
    await upsert(queries.write_settlements, state.changed("settlements"), rows.settlement_columns)
    await upsert(queries.write_entitlements, state.changed("entitlements"), rows.entitlement_columns)
    await upsert(queries.write_grants, state.changed("grants"), rows.grant_columns, recorded_at)
    await upsert(queries.write_reservations, state.changed("reservations"), rows.reservation_columns)
    await upsert(queries.write_applications, state.changed("applications"), rows.application_columns)
    await session.copy("entries", ENTRY_COLUMNS, [entry_columns(entry) for entry in written.entries])
    await session.copy("decisions", DECISION_COLUMNS, written.decisions)
    await session.copy("commands", COMMAND_COLUMNS, written.commands)
    await session.copy("dead_letters", DEAD_LETTER_COLUMNS, written.dead_letters)
    await session.copy("outbox", OUTBOX_COLUMNS, written.outbox)


async def _copy(session: Session, table: str, changed: Iterable[Any]) -> None:
    to_columns, names = rows.COPIED[table]
    await session.copy(table, names, [to_columns(row) for row in changed])


def entry_columns(entry: Entry) -> tuple[Any, ...]:
    """An entry as `entries` holds it, in ENTRY_COLUMNS' order."""
    numbered = (entry.seq, entry.n, entry.ledger_account, entry.counter_account, entry.grant_id)
    moved = (entry.amount, entry.balance, entry.event, entry.reason, entry.invoice_id, entry.application_id)
    when = (entry.topic, entry.event_id, entry.occurred_at, entry.recorded_at)
    return tuple(chain(entry.account, numbered, moved, when, (entry.hash,)))


def headers_columns(headers: Iterable[tuple[str, bytes | None]]) -> tuple[list[bytes], list[bytes | None]]:
    """Record headers as two arrays, names (UTF-8) and values; a name may hold what a text column cannot."""
    pairs = list(headers)
    return [name.encode() for name, _ in pairs], [value for _, value in pairs]
