"""Writes the changes of a batch, with one UPDATE and one COPY per table."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain
from typing import Any, NamedTuple
from uuid import UUID

from avoir.core.model.ledger import Entry
from avoir.core.state.state import State
from avoir.postgres.bodies import CommandRow
from avoir.postgres.mapping import Table
from avoir.postgres.rows import ACCOUNTS, ENTRIES, STATE_TABLES
from avoir.postgres.session import Session


class DecisionRow(NamedTuple):
    """A row of `decisions`; `position` is the message's in its batch, `facts` and `policy` are JSON."""

    tenant_id: str
    topic: str
    partition: int
    kafka_offset: int
    event_id: str
    occurred_at: datetime | None
    recorded_at: datetime
    outcome: str
    reason: str
    facts: str
    policy: str
    would_change_it: str | None
    subject_kind: str
    subject_id: str
    position: int


class OutboxRow(NamedTuple):
    """A row of `outbox`: a record to publish; `headers` are packed."""

    tenant_id: str
    topic: str
    key: bytes | None
    value: bytes | None
    headers: bytes
    recorded_at: datetime


class DeadLetterRow(NamedTuple):
    """A row of `dead_letters`: a message that was not handled; the last two are set if its value was cut."""

    tenant_id: str
    dead_letter_id: UUID
    outcome: str
    reason: str
    event_id: str
    topic: str
    partition: int
    kafka_offset: int
    kafka_timestamp: datetime
    key: bytes | None
    value: bytes | None
    header_names: list[bytes]
    header_values: list[bytes | None]
    recorded_at: datetime
    first_offset: int | None
    messages: int
    value_length: int | None
    sha256: bytes | None


@dataclass(slots=True)
class Written:
    """Rows that a batch writes besides those of its state."""

    decisions: list[DecisionRow] = field(default_factory=list)
    commands: list[CommandRow] = field(default_factory=list)
    outbox: list[OutboxRow] = field(default_factory=list)
    dead_letters: list[DeadLetterRow] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)

    def extend(self, more: "Written") -> None:
        """Append the rows of the next part of the batch."""
        self.decisions += more.decisions
        self.commands += more.commands
        self.outbox += more.outbox
        self.dead_letters += more.dead_letters
        self.entries += more.entries


async def write_state(session: Session, state: State, recorded_at: datetime) -> None:
    """Write the changed rows of a batch's state."""
    # New accounts were inserted when they were locked: here they are only updated.
    accounts = chain(state.added("accounts"), state.updated("accounts"))
    await _update(session, ACCOUNTS, accounts, recorded_at)
    for name, table in STATE_TABLES.items():
        await _update(session, table, state.updated(name), recorded_at)
        await _copy(session, table, state.added(name), recorded_at)


async def write_rest(session: Session, written: Written) -> None:
    """Write a batch's ledger entries, decisions, commands, dead letters and outbox."""
    await _copy(session, ENTRIES, written.entries, None)
    await session.copy("decisions", DecisionRow._fields, written.decisions)
    await session.copy("commands", CommandRow._fields, written.commands)
    await session.copy("dead_letters", DeadLetterRow._fields, written.dead_letters)
    await write_outbox(session, written.outbox)


async def write_outbox(session: Session, rows: Sequence[OutboxRow]) -> None:
    """Write records to the outbox, in the order in which the relay publishes them."""
    await session.copy("outbox", OutboxRow._fields, rows)


async def _update(session: Session, table: Table[Any], rows: Iterable[Any], at: datetime) -> None:
    if table.update is not None:
        await session.update(table.update, [table.changed(row, at) for row in rows])


async def _copy(session: Session, table: Table[Any], rows: Iterable[Any], at: datetime | None) -> None:
    await session.copy(table.name, table.columns, [table.added(row, at) for row in rows])


def headers_columns(headers: Iterable[tuple[str, bytes | None]]) -> tuple[list[bytes], list[bytes | None]]:
    """Record headers as two arrays, names (UTF-8) and values; a name may contain what a text column can't."""
    pairs = list(headers)
    return [name.encode() for name, _ in pairs], [value for _, value in pairs]
