"""Publishes again what the topics out should hold: the history decided once more, and proved by the ledger's heads."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from typing import NamedTuple

import asyncpg
from msgspec.structs import replace

from avoir.batch.outbox import outbox_row
from avoir.cli.base.epochs import Quiet, Seen, begin_epoch, publish_standing
from avoir.cli.base.grouping import grouped
from avoir.cli.base.history import Group, read_groups
from avoir.cli.base.history_rows import Told, told_change, told_command, with_reasons
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
_LETTERS = 10

Progress = Callable[[int], None]
"""Told how many messages more were decided."""


class NotTheSameError(Exception):
    """The history does not come to what the ledger has, so that nothing is published."""


class Wanted(NamedTuple):
    """What to publish again, one topic or all, and by what it is decided and written."""

    topic: str | None
    policy: Policy
    ce_source: str
    max_message_bytes: int

    def has(self, topic: str) -> bool:
        """Whether a topic is to be published again."""
        return self.topic in (None, topic)

    @property
    def topics(self) -> list[str]:
        """The topics whose waiting records come again; balances always do."""
        return [*DECIDED_EVENTS, DEAD_LETTER] if self.topic is None else [self.topic]


class Rebuilt(NamedTuple):
    """The new epoch, and how many records of which kind were put into the outbox."""

    epoch: int
    events: int
    dead_letters: int
    balances: int


async def rebuild(
    connection: Connection,
    reason: str,
    seen: Seen,
    wanted: Wanted,
    progress: Progress,
    pause: Quiet | None,
) -> Rebuilt:
    """Put everything into the outbox again, under a new epoch, in one transaction.

    The relay must be quiet; StillPublishingError where it was not. Raises NotTheSameError.
    """
    async with connection.transaction():
        await connection.fetch(*queries.allow_all_plans())
        epoch = await begin_epoch(connection, reason, seen)
        await connection.execute(*queries.delete_outbox_of_topics(topics=wanted.topics))
        if wanted.topic is None:
            await connection.execute(*queries.set_all_epochs(epoch=epoch))
        now = await connection.fetchval(*queries.read_clock())
        out = _Out(connection, now)
        if DECIDED_EVENTS & set(wanted.topics):
            for row in await connection.fetch(*queries.history_tenants()):
                await _publish_tenant(connection, row["tenant_id"], epoch, wanted, out, progress)
        events = await out.flush()
        if wanted.has(DEAD_LETTER):
            async for tenant_id, letter in _dead_letters(connection, wanted.max_message_bytes):
                await out.add(tenant_id, letter)
        dead_letters = await out.flush() - events
        balances = await publish_standing(connection, epoch, wanted.ce_source, seen.lost)
        if pause is not None:
            await pause.check(connection)
    return Rebuilt(epoch, events, dead_letters, balances)


class _Out:
    """Writes records to the outbox, in portions."""

    def __init__(self, connection: Connection, now: datetime) -> None:
        self._session = Session(connection)
        self._now = now
        self._waiting: list[OutboxRow] = []
        self._bytes = self._written = 0

    async def add(self, tenant_id: str, out: Outgoing | DeadLetter) -> None:
        """One more record."""
        self._waiting.append(outbox_row(tenant_id, out, self._now))
        self._bytes += len(out.value or b"")
        if len(self._waiting) >= _ROWS or self._bytes >= _BYTES:
            await self.flush()

    async def flush(self) -> int:
        """Write what is left, and return how many records there were in all."""
        await write_outbox(self._session, self._waiting)
        self._written += len(self._waiting)
        self._waiting, self._bytes = [], 0
        return self._written


async def _publish_tenant(
    connection: Connection, tenant_id: str, epoch: int, wanted: Wanted, out: _Out, progress: Progress
) -> None:
    async for group in read_groups(connection, tenant_id, None):
        accounts = await _accounts(connection, group)
        for event in await _events_of(connection, group, accounts, epoch, wanted.policy):
            await _publish(event, accounts, wanted, out)
        progress(group.own)
    async for history in _apart(connection, tenant_id):
        for event in await _decided_again(Replay(epoch, wanted.policy), history, {}):
            await _publish(event, {}, wanted, out)
        progress(len(history))


async def _publish(event: Event, accounts: Mapping[AccountKey, Account], wanted: Wanted, out: _Out) -> None:
    if event.account is not None:
        # Where only one topic comes again, the account's events on others stay as they are.
        event = replace(event, voids_from=accounts[event.account].voids_from(event.epoch))
    record = event_record(event, wanted.ce_source)
    if wanted.has(record.topic):
        await out.add(event.tenant_id, record)


async def _accounts(connection: Connection, group: Group) -> dict[AccountKey, Account]:
    found = await connection.fetch(*queries.lock_accounts(accounts=group.accounts))
    return {account.key: account for account in map(rows.account, found)}


async def _events_of(
    connection: Connection, group: Group, accounts: Mapping[AccountKey, Account], epoch: int, policy: Policy
) -> list[Event]:
    """All events of a group's accounts, decided again; NotTheSameError unless every account comes to its head."""
    if group.unknown:
        raise NotTheSameError(
            f"{group.unknown} command(s) on {_names(accounts)} were decided before their contents were kept"
        )
    found = await connection.fetch(*queries.history_moments(accounts=accounts))
    reasons = {
        (row["recorded_at"], row["event_id"]): row["reason"] for row in found if row["event_id"] is not None
    }
    moments: dict[datetime, dict[AccountKey, None]] = {}
    for row in found:
        moments.setdefault(row["recorded_at"], {})[rows.account_key(row)] = None
    replay = Replay(epoch, policy)
    events = await _decided_again(replay, with_reasons(group.history, reasons), moments)
    for key, account in accounts.items():
        again = replay.state.accounts.get(key)
        came_to = (0, None) if again is None else (again.seq, again.head)
        if account.seq and came_to != (account.seq, account.head):
            raise NotTheSameError(
                f"account {'/'.join(key)} comes to seq {came_to[0]} where the ledger has {account.seq}"
                + ("" if came_to[0] != account.seq else ", by other entries")
            )
    return events


def _names(accounts: Iterable[AccountKey]) -> str:
    return ", ".join("/".join(key) for key in accounts)


async def _decided_again(
    replay: Replay, history: Sequence[Told], moments: Mapping[datetime, Iterable[AccountKey]]
) -> list[Event]:
    """The events of a history, with those of time where accounts have entries of that moment."""
    events: list[Event] = []
    told_at = {at: list(told) for at, told in groupby(history, key=lambda told: told.recorded_at)}
    for at in sorted({*told_at, *moments}):
        # The lease is renewed meanwhile.
        await asyncio.sleep(0)
        for account in moments.get(at, ()):
            events += replay.pass_time(account, at)
        for told in told_at.get(at, ()):
            decided = replay.decide(told.message, at, told.policy)
            if (decided.decision.outcome, decided.decision.reason) != (told.outcome, told.reason):
                raise NotTheSameError(
                    f"{told.message.topic} {told.message.event_id} of tenant {told.message.tenant_id} is decided "
                    f"{decided.decision.outcome} ({decided.decision.reason}), and was {told.outcome} ({told.reason})"
                )
            events += decided.events
    return events


async def _apart(connection: Connection, tenant_id: str) -> AsyncIterator[list[Told]]:
    """What concerned no account: changes to what was never billed, by what they change; commands on unknown things."""
    changes = aiter(connection.cursor(*queries.history_unbilled_changes(tenant_id=tenant_id), prefetch=_ROWS))
    async for _, found in grouped(changes, lambda row: (row["subject_kind"], row["subject_id"])):
        yield list(map(told_change, found))
    async for row in connection.cursor(
        *queries.history_unknown_commands(tenant_id=tenant_id), prefetch=_ROWS
    ):
        told = told_command(row)
        if told is None:
            raise NotTheSameError(
                f"{row['topic']} {row['event_id']} was decided before its contents were kept"
            )
        yield [told]


async def _dead_letters(connection: Connection, max_bytes: int) -> AsyncIterator[tuple[str, DeadLetter]]:
    async for row in connection.cursor(*queries.history_dead_letters(), prefetch=_LETTERS):
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
