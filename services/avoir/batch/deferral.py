"""Defers messages that concern a row which another session keeps locked, so that the messages behind them go on."""

import time
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple, TypeAlias

import asyncpg
import msgspec
import structlog

from avoir.batch.claims import accounts_concerned, add_billed
from avoir.batch.locked import Row, holders_of, locked_of
from avoir.core.state.references import References
from avoir.postgres import queries
from avoir.postgres.connect import KeptConnection
from avoir.postgres.headers import packed, unpacked
from avoir.postgres.session import Session
from avoir.record import Record, TopicPartition
from avoir.wire.incoming import ParsedRecord, UnreadableRecord

MAX_MESSAGES, MAX_BYTES = 10_000, 64 * 1024 * 1024
"""Limits of deferred messages: beyond them, messages for a locked row wait in Kafka and block what is behind them."""

AT_A_TIME, AT_A_TIME_BYTES = 500, 1024 * 1024
_CHECK_EVERY_S, _MAX_PAUSE_S = 1.0, 60.0
_MAX_ASKED = 3

Deferred: TypeAlias = dict[int, tuple[Row, set[Row]]]
"""Messages to defer, by index: the locked row, and the accounts they concern."""

log = structlog.get_logger("avoir.handle")


class DeferredRow(NamedTuple):
    """A row of `deferred`: a message that waits for a locked row; `waits_for` and `concerns` are rows as JSON."""

    tenant_id: str
    group_id: str
    topic: str
    partition: int
    kafka_offset: int
    waits_for: str
    concerns: str
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: bytes


class Deferral:
    """Deferred messages of this process's partitions: `behind` maps rows to the locked row that blocks them."""

    def __init__(self, group_id: str) -> None:
        self.behind: dict[Row, Row] = {}
        self.messages = 0
        self._bytes = 0
        self._group_id = group_id
        self._known: frozenset[TopicPartition] | None = None
        self._numbers: dict[Record, int] = {}
        self._check_at = 0.0
        self._pause_s = _CHECK_EVERY_S

    def forget(self) -> None:
        """Reload the deferred messages before the next batch."""
        self._known = None

    def handled(self) -> None:
        """Register that deferred messages were handled; there may be more."""
        self._known, self._check_at, self._pause_s = None, 0.0, _CHECK_EVERY_S

    def postpone(self) -> None:
        """Check again later, with growing pauses: something they need is still locked."""
        self._known, self._pause_s = None, min(2 * self._pause_s, _MAX_PAUSE_S)
        self._check_at = time.monotonic() + self._pause_s

    def may_have(self, partitions: Collection[TopicPartition]) -> bool:
        """Check whether messages of the partitions may be deferred: also true if that is not known yet."""
        return self.messages > 0 or self._known != frozenset(partitions)

    @property
    def is_full(self) -> bool:
        """Check whether no more messages may be deferred."""
        return self.messages >= MAX_MESSAGES or self._bytes >= MAX_BYTES

    async def freed(self, kept: KeptConnection, partitions: Collection[TopicPartition]) -> frozenset[Row]:
        """Rows that deferred messages wait for and that are free now; checks once a second."""
        if self._known != frozenset(partitions):
            await self._read(kept, partitions)
        if not self.behind or time.monotonic() < self._check_at:
            return frozenset()
        self._check_at = time.monotonic() + _CHECK_EVERY_S
        waited_for = frozenset(self.behind.values())
        async with kept.use() as connection:
            freed = waited_for - await locked_of(Session(connection), waited_for)
        if not self.messages:
            self.behind = {row: locked for row, locked in self.behind.items() if locked not in freed}
            return frozenset()
        return freed

    async def oldest(
        self, kept: KeptConnection, partitions: Collection[TopicPartition], freed: Collection[Row]
    ) -> list[Record]:
        """Read the oldest deferred messages whose rows are free: one batch, as large as those from Kafka."""
        async with kept.use() as connection:
            rows = await connection.fetch(
                *queries.oldest_deferred(
                    group_id=self._group_id,
                    partitions=partitions,
                    waits_for=[_json(row) for row in freed],
                    limit=AT_A_TIME,
                    limit_bytes=AT_A_TIME_BYTES,
                ),
            )
        self._numbers = {_record(row): row["n"] for row in rows}
        return list(self._numbers)

    async def find_locked(
        self, kept: KeptConnection, messages: Iterable[ParsedRecord | UnreadableRecord]
    ) -> bool | None:
        """Check which rows needed by messages are locked by other sessions; returns whether there are new ones.

        None if none of them is locked: then the lock is on a row of another table.
        """
        references = _references_of(messages)
        async with kept.use() as connection:
            session = Session(connection)
            locked = await locked_of(session, await _needed(session, references)) - self.behind.keys()
        is_new = False if locked else None
        for row in sorted(locked)[:_MAX_ASKED]:
            holders = await holders_of(kept, row)
            if any(holder.get("application") != kept.application_name for holder in holders):
                others = len(locked) - 1
                log.warning(
                    "a row is kept locked: what concerns it waits",
                    row="/".join(row),
                    holders=holders,
                    others=others,
                )
                is_new = True
        if is_new:
            self.behind |= {row: row for row in locked}
        return is_new

    async def defer_one(
        self, kept: KeptConnection, message: ParsedRecord | UnreadableRecord, why: str
    ) -> bool:
        """Defer one message that met an unidentified lock, and others of its account behind it."""
        async with kept.use() as connection:
            needed = sorted(await _needed(Session(connection), _references_of([message])))
        if needed:
            # Accounts come before subjects.
            log.warning("a row is kept locked: what concerns it waits", row="/".join(needed[0]), why=why)
            self.behind[needed[0]] = needed[0]
        return bool(needed)

    async def select(
        self,
        session: Session,
        messages: Sequence[ParsedRecord | UnreadableRecord],
        freed: Collection[Row] = (),
    ) -> Deferred:
        """Select the messages that must wait, including those behind others of their accounts; not for freed rows."""
        behind = {row: locked for row, locked in self.behind.items() if locked not in freed}
        deferred: Deferred = {}
        tenants = {row[1] for row in behind}
        numbers = [
            n
            for n, each in enumerate(messages)
            if isinstance(each, ParsedRecord) and each.message.tenant_id in tenants
        ]
        grown = bool(numbers)
        while grown:
            before = len(deferred)
            for n in numbers:
                _defer(deferred, behind, n, _rows(_references_of([messages[n]])))
            left = [n for n in numbers if n not in deferred]
            await _select_indirect(session, messages, left, deferred, behind)
            grown = len(deferred) > before
        return deferred

    async def store(
        self, session: Session, messages: Sequence[ParsedRecord | UnreadableRecord], deferred: Deferred
    ) -> None:
        """Store deferred messages."""
        rows = []
        for n, (locked, concerned) in sorted(deferred.items()):
            each = messages[n]
            assert isinstance(each, ParsedRecord)
            record = each.record
            rows.append(
                DeferredRow(
                    tenant_id=each.message.tenant_id,
                    group_id=self._group_id,
                    topic=record.topic,
                    partition=record.partition,
                    kafka_offset=record.offset,
                    waits_for=_json(locked),
                    concerns=_json(sorted(concerned)),
                    timestamp_ms=record.timestamp_ms,
                    key=record.key,
                    value=record.value,
                    headers=packed(record.headers),
                )
            )
        await session.copy("deferred", DeferredRow._fields, rows)

    async def store_again(self, session: Session, records: Sequence[Record], deferred: Deferred) -> None:
        """Keep deferred messages that must still wait, and remove the others."""
        done = [self._numbers[record] for n, record in enumerate(records) if n not in deferred]
        await session.fetch(*queries.delete_deferred(group_id=self._group_id, numbers=done))
        again = [self._numbers[records[n]] for n in deferred]
        waits_for = [_json(locked) for locked, _ in deferred.values()]
        concerns = [_json(sorted(concerned)) for _, concerned in deferred.values()]
        await session.fetch(
            *queries.defer_again(
                group_id=self._group_id, numbers=again, waits_for=waits_for, concerns=concerns
            )
        )

    def stored(self, messages: Sequence[ParsedRecord | UnreadableRecord], deferred: Deferred) -> None:
        """Register that messages were stored."""
        for n, (locked, concerned) in deferred.items():
            self.messages += 1
            self._bytes += _size(messages[n].record)
            for row in concerned:
                self.behind.setdefault(row, locked)

    async def _read(self, kept: KeptConnection, partitions: Collection[TopicPartition]) -> None:
        async with kept.use() as connection:
            rows = await connection.fetch(
                *queries.read_deferred(group_id=self._group_id, partitions=partitions)
            )
        self.behind = {}
        self.messages = self._bytes = 0
        for each in rows:
            locked = tuple(msgspec.json.decode(each["waits_for"]))
            self.behind[locked] = locked
            for row in msgspec.json.decode(each["concerns"]):
                self.behind.setdefault(tuple(row), locked)
            self.messages += each["messages"]
            self._bytes += each["bytes"]
        self._known = frozenset(partitions)


def _size(record: Record) -> int:
    """Size of a deferred message in bytes, as the table counts it."""
    return len(record.key or b"") + len(record.value or b"") + len(packed(record.headers))


def _record(row: asyncpg.Record) -> Record:
    return Record(
        topic=row["topic"],
        partition=row["partition"],
        offset=row["kafka_offset"],
        timestamp_ms=row["timestamp_ms"],
        key=row["key"],
        value=row["value"],
        headers=tuple(unpacked(row["headers"])),
    )


async def _select_indirect(
    session: Session,
    messages: Sequence[ParsedRecord | UnreadableRecord],
    numbers: Sequence[int],
    deferred: Deferred,
    behind: dict[Row, Row],
) -> None:
    """Defer messages that lead to a locked row without naming it."""
    rows = await _needed(session, _references_of(messages[n] for n in numbers)) if numbers else set()
    if rows.isdisjoint(behind):
        return
    if len(numbers) == 1:
        _defer(deferred, behind, numbers[0], rows)
        return
    half = len(numbers) // 2
    await _select_indirect(session, messages, numbers[:half], deferred, behind)
    await _select_indirect(session, messages, numbers[half:], deferred, behind)


def _defer(deferred: Deferred, behind: dict[Row, Row], number: int, rows: set[Row]) -> None:
    locked = next((behind[row] for row in sorted(rows) if row in behind), None)
    if locked is not None and number not in deferred:
        concerned = {row for row in rows if row[0] == "account"}
        deferred[number] = locked, concerned
        for row in concerned:
            behind.setdefault(row, locked)


def _references_of(messages: Iterable[ParsedRecord | UnreadableRecord]) -> References:
    return References.of(each.message for each in messages if isinstance(each, ParsedRecord))


def _rows(references: References) -> set[Row]:
    subjects = {("subject", *key) for key in (*references.locked_first, *references.subjects)}
    return subjects | {("account", *key) for key in references.accounts}


async def _needed(session: Session, references: References) -> set[Row]:
    """Rows that handling locks for the named things."""
    await add_billed(session, references)
    return _rows(references) | {("account", *key) for key in await accounts_concerned(session, references)}


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
