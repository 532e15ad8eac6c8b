"""Publishes again what the output topics should hold: decides the history again and checks it by the ledger's heads."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from typing import NamedTuple

import asyncpg
from msgspec.structs import replace

from avoir.batch.outbox import outbox_row
from avoir.cli.base.epochs import RelayBlock, Seen, begin_epoch, publish_current_balances
from avoir.cli.base.grouping import grouped
from avoir.cli.base.history import Group, read_groups
from avoir.cli.base.history_rows import RecordedMessage, recorded_change, recorded_command, with_reasons
from avoir.core.model.events import AccountKey, Event
from avoir.core.model.policy import Policy
from avoir.core.model.rows import Account
from avoir.core.replay import Replay
from avoir.postgres import queries, rows
from avoir.postgres.connect import Connection
from avoir.postgres.session import Session
from avoir.postgres.write import OutboxRow, write_outbox
from avoir.record import Cut, Record
from avoir.wire.dead_letters import DeadLetter, dead_letter_record
from avoir.wire.outgoing import Outgoing, event_record
from avoir.wire.topics import DEAD_LETTER, DECIDED_EVENTS

_ROWS = 500
_BYTES = 4 * 1024 * 1024
_DEAD_LETTERS = 10

Progress = Callable[[int], None]
"""Callback: gets the number of further messages decided."""


class HistoryDiffersError(Exception):
    """The history does not lead to the ledger's contents, so nothing is published."""


class RebuildScope(NamedTuple):
    """Scope of a rebuild (one topic or all), and the means to decide and write it."""

    topic: str | None
    policy: Policy
    ce_source: str
    max_message_bytes: int

    def has(self, topic: str) -> bool:
        """Check whether a topic is published again."""
        return self.topic in (None, topic)

    @property
    def topics(self) -> list[str]:
        """Topics whose waiting records are published again; balances always are."""
        return [*DECIDED_EVENTS, DEAD_LETTER] if self.topic is None else [self.topic]


class Rebuilt(NamedTuple):
    """The new epoch, and the number of records of each kind put into the outbox."""

    epoch: int
    events: int
    dead_letters: int
    balances: int


async def rebuild(
    connection: Connection,
    reason: str,
    seen: Seen,
    scope: RebuildScope,
    progress: Progress,
    block: RelayBlock | None,
) -> Rebuilt:
    """Put everything into the outbox again, under a new epoch, in one transaction.

    The relay must be blocked. Raises StillPublishingError if it was not, and HistoryDiffersError.
    """
    async with connection.transaction():
        # Whole tables are read: without sequential scans and hash joins it would be slow on a large ledger.
        await connection.fetch(*queries.allow_all_plans())
        epoch = await begin_epoch(connection, reason, seen)
        await connection.execute(*queries.delete_outbox_of_topics(topics=scope.topics))
        if scope.topic is None:
            await connection.execute(*queries.set_all_epochs(epoch=epoch))
        now = await connection.fetchval(*queries.read_clock())
        out = _OutboxWriter(connection, now)
        if DECIDED_EVENTS & set(scope.topics):
            for row in await connection.fetch(*queries.history_tenants()):
                await _publish_tenant(connection, row["tenant_id"], epoch, scope, out, progress)
        events = await out.flush()
        if scope.has(DEAD_LETTER):
            async for tenant_id, record in _dead_letters(connection, scope.max_message_bytes):
                await out.add(tenant_id, record)
        dead_letters = await out.flush() - events
        balances = await publish_current_balances(connection, epoch, scope.ce_source, seen.lost)
        if block is not None:
            await block.check(connection)
    return Rebuilt(epoch, events, dead_letters, balances)


class _OutboxWriter:
    """Writes records to the outbox, in portions."""

    def __init__(self, connection: Connection, now: datetime) -> None:
        self._session = Session(connection)
        self._now = now
        self._waiting: list[OutboxRow] = []
        self._bytes = self._written = 0

    async def add(self, tenant_id: str, out: Outgoing | DeadLetter) -> None:
        """Add a record."""
        self._waiting.append(outbox_row(tenant_id, out, self._now))
        self._bytes += len(out.value or b"")
        if len(self._waiting) >= _ROWS or self._bytes >= _BYTES:
            await self.flush()

    async def flush(self) -> int:
        """Write the remaining records; returns the total number."""
        await write_outbox(self._session, self._waiting)
        self._written += len(self._waiting)
        self._waiting, self._bytes = [], 0
        return self._written


async def _publish_tenant(
    connection: Connection,
    tenant_id: str,
    epoch: int,
    scope: RebuildScope,
    out: _OutboxWriter,
    progress: Progress,
) -> None:
    async for group in read_groups(connection, tenant_id, None):
        accounts = await _accounts(connection, group)
        for event in await _events_of(connection, group, accounts, epoch, scope.policy):
            await _publish(event, accounts, scope, out)
        progress(group.own)
    async for history in _without_account(connection, tenant_id):
        for event in await _decided_again(Replay(epoch, scope.policy), history, {}):
            await _publish(event, {}, scope, out)
        progress(len(history))


async def _publish(
    event: Event, accounts: Mapping[AccountKey, Account], scope: RebuildScope, out: _OutboxWriter
) -> None:
    if event.account is not None:
        # If only one topic is published again, the account's events on the other topics stay valid.
        event = replace(event, voids_from=accounts[event.account].voids_from(event.epoch))
    record = event_record(event, scope.ce_source)
    if scope.has(record.topic):
        await out.add(event.tenant_id, record)


async def _accounts(connection: Connection, group: Group) -> dict[AccountKey, Account]:
    fetched = await connection.fetch(*queries.lock_accounts(accounts=group.accounts))
    return {account.key: account for account in map(rows.account, fetched)}


async def _events_of(
    connection: Connection, group: Group, accounts: Mapping[AccountKey, Account], epoch: int, policy: Policy
) -> list[Event]:
    """All events of a group's accounts, decided again. Raises NotTheSameError unless every account ends at its head."""
    if group.unknown:
        raise HistoryDiffersError(
            f"{group.unknown} command(s) on {_names(accounts)} were decided by a version that did not keep them"
        )
    entries = await connection.fetch(*queries.history_moments(accounts=accounts))
    reasons = {
        (row["recorded_at"], row["event_id"]): row["reason"] for row in entries if row["event_id"] is not None
    }
    moments: dict[datetime, dict[AccountKey, None]] = {}
    for row in entries:
        moments.setdefault(row["recorded_at"], {})[rows.account_key(row)] = None
    replay = Replay(epoch, policy)
    events = await _decided_again(replay, with_reasons(group.history, reasons), moments)
    for key, account in accounts.items():
        again = replay.state.accounts.get(key)
        end_of_replay = (0, None) if again is None else (again.seq, again.head)
        if account.seq and end_of_replay != (account.seq, account.head):
            raise HistoryDiffersError(
                f"account {'/'.join(key)} ends at seq {end_of_replay[0]}, but the ledger has {account.seq}"
                + ("" if end_of_replay[0] != account.seq else ", with different entries")
            )
    return events


def _names(accounts: Iterable[AccountKey]) -> str:
    return ", ".join("/".join(key) for key in accounts)


async def _decided_again(
    replay: Replay, history: Sequence[RecordedMessage], moments: Mapping[datetime, Iterable[AccountKey]]
) -> list[Event]:
    """Events of a history; time passes for an account at the moments at which it has entries."""
    events: list[Event] = []
    messages_at = {at: list(messages) for at, messages in groupby(history, key=lambda each: each.recorded_at)}
    for at in sorted({*messages_at, *moments}):
        # Lets the task run that renews the relay's lease.
        await asyncio.sleep(0)
        for account in moments.get(at, ()):
            events += replay.pass_time(account, at)
        for recorded in messages_at.get(at, ()):
            decided = replay.decide(recorded.message, at, recorded.policy)
            if (decided.decision.outcome, decided.decision.reason) != (recorded.outcome, recorded.reason):
                message = recorded.message
                raise HistoryDiffersError(
                    f"{message.topic} {message.event_id} of tenant {message.tenant_id} is decided "
                    f"{decided.decision.outcome} ({decided.decision.reason}), "
                    f"but was {recorded.outcome} ({recorded.reason})"
                )
            events += decided.events
    return events


async def _without_account(connection: Connection, tenant_id: str) -> AsyncIterator[list[RecordedMessage]]:
    """Messages that concerned no account: changes to what was never billed, and commands on unknown things."""
    changes = aiter(connection.cursor(*queries.history_unbilled_changes(tenant_id=tenant_id), prefetch=_ROWS))
    async for _, rows_of_subject in grouped(changes, lambda row: (row["subject_kind"], row["subject_id"])):
        yield list(map(recorded_change, rows_of_subject))
    async for row in connection.cursor(
        *queries.history_unknown_commands(tenant_id=tenant_id), prefetch=_ROWS
    ):
        recorded = recorded_command(row)
        if recorded is None:
            raise HistoryDiffersError(
                f"{row['topic']} {row['event_id']} was decided by a version that did not keep it"
            )
        yield [recorded]


async def _dead_letters(connection: Connection, max_bytes: int) -> AsyncIterator[tuple[str, DeadLetter]]:
    async for row in connection.cursor(*queries.history_dead_letters(), prefetch=_DEAD_LETTERS):
        yield (
            row["tenant_id"],
            dead_letter_record(_record(row), row["reason"], row["dead_letter_id"], max_bytes),
        )


def _record(row: asyncpg.Record) -> Record:
    names = (name.decode() for name in row["header_names"])
    headers = tuple(zip(names, row["header_values"], strict=True))
    place = (row["topic"], row["partition"], row["kafka_offset"])
    cut = None
    if row["value_length"] is not None:
        cut = Cut(row["reason"], row["value_length"], row["sha256"], row["first_offset"], row["messages"])
    return Record(*place, 0, row["key"], row["value"], headers, cut)
