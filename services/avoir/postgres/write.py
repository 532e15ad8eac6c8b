"""Writes what a batch changed, a statement or a COPY per table."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain
from typing import Any

from avoir.core.model.ledger import Entry
from avoir.core.state.state import State
from avoir.postgres import queries
from avoir.postgres.bodies import COMMAND_COLUMNS
from avoir.postgres.session import Session
from avoir.postgres.stored import STORED, account_changes

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
        "topic",
        "partition",
        "kafka_offset",
        "event_id",
        "occurred_at",
        "recorded_at",
    ),
    *("outcome", "reason", "facts", "policy", "would_change_it", "subject_kind", "subject_id", "position"),
)
OUTBOX_COLUMNS = ("tenant_id", "topic", "key", "value", "headers", "recorded_at")
DEAD_LETTER_COLUMNS = (
    *("tenant_id", "dead_letter_id", "outcome", "reason", "event_id", "topic", "partition", "kafka_offset"),
    *("kafka_timestamp", "key", "value", "header_names", "header_values", "recorded_at"),
    *("first_offset", "messages", "value_length", "sha256"),
)


@dataclass(slots=True)
class Written:
    """What a batch writes besides the rows of its state, as columns of the tables they go to."""

    decisions: list[tuple[Any, ...]] = field(default_factory=list)
    commands: list[tuple[Any, ...]] = field(default_factory=list)
    outbox: list[tuple[Any, ...]] = field(default_factory=list)
    dead_letters: list[tuple[Any, ...]] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)

    def extend(self, more: "Written") -> None:
        """Take in what comes behind."""
        self.decisions += more.decisions
        self.commands += more.commands
        self.outbox += more.outbox
        self.dead_letters += more.dead_letters
        self.entries += more.entries


async def write_state(session: Session, state: State, recorded_at: datetime) -> None:
    """Write the changed rows of a batch's state."""
    # New accounts were opened when they were locked.
    accounts = chain(state.added("accounts"), state.updated("accounts"))
    await session.update(
        queries.update_accounts, list(map(account_changes, accounts)), recorded_at=recorded_at
    )
    for name, stored in STORED.items():
        date = (recorded_at,) if stored.dated else ()
        if stored.update is not None and stored.updated is not None:
            await session.update(stored.update, [stored.updated(row) for row in state.updated(name)])
        added = [stored.added(row) + date for row in state.added(name)]
        await session.copy(stored.table, stored.columns, added)


async def write_rest(session: Session, written: Written) -> None:
    """Write a batch's ledger entries, decisions, commands, dead letters and outbox."""
    await session.copy("entries", ENTRY_COLUMNS, [entry_columns(entry) for entry in written.entries])
    await session.copy("decisions", DECISION_COLUMNS, written.decisions)
    await session.copy("commands", COMMAND_COLUMNS, written.commands)
    await session.copy("dead_letters", DEAD_LETTER_COLUMNS, written.dead_letters)
    await session.copy("outbox", OUTBOX_COLUMNS, written.outbox)


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
