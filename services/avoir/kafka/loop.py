"""The consumer loop: seek to the positions in Postgres, take a batch, hand it over, and never skip anything."""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from typing import Literal, Protocol

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord
from aiokafka.errors import KafkaError, NoOffsetForPartitionError, OffsetOutOfRangeError

from avoir.kafka.assignment import Assignment, Positions
from avoir.kafka.breaker import Breaker
from avoir.kafka.merge import merged
from avoir.kafka.reader import Found, Reader, UnreadableError
from avoir.record import BatchReport, Cut, Fenced, Record, TopicPartition
from avoir.record import Positions as PositionsInMemory
from avoir.retry import Backoff, is_transient, pause, refuse_wrong_schema

_RECHECK_S = 10.0
_HINT_TIMEOUT_S = 5.0
_LAST_HINT_TIMEOUT_S = 3.0
_FENCED_PAUSE_S = 0.05
_MOST_CONSUMER_ERRORS = 5

log = structlog.get_logger("avoir.loop")


class BatchHandler(Protocol):
    """Handles a batch in one transaction, its positions included."""

    async def handle(self, records: Sequence[Record], positions: PositionsInMemory) -> BatchReport:
        """Raises Fenced when the positions moved on meanwhile."""
        ...


@dataclass(frozen=True, slots=True)
class BatchDone:
    """A handled batch, for logs and metrics."""

    report: BatchReport
    records: int
    seconds: float


@dataclass(slots=True)
class LoopState:
    """What the loop is doing, for health and the watchdog."""

    doing: Literal["joining", "reading", "handling", "failing", "stopped"] = "joining"
    moved_at: float = 0.0
    last_error: str = ""


class Loop:
    """Hands batches of all topics to the handler, one at a time.

    There is one way out of every error: forget the positions, wait a moment, read them from Postgres, seek.
    Whether a COMMIT counted whose answer was lost, whether another process has the partition now, whether
    the database was restored to an earlier moment: the rows tell.
    """

    def __init__(
        self,
        assignment: Assignment,
        positions: Positions,
        handler: BatchHandler,
        default_name: Callable[[str], str],
        *,
        max_records: int,
        done: Callable[[BatchDone], None],
        span: Callable[[str], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        self.state = LoopState()
        self.breaker = Breaker()
        self.reader = Reader(max_records)
        self.assignment = assignment
        self.positions = positions
        self.in_flight: frozenset[TopicPartition] = frozenset()
        self.first_ms: dict[TopicPartition, int] = {}
        self._handler = handler
        self._default_name = default_name
        self._done = done
        self._span = span
        self._backoff = Backoff()
        self._hint: asyncio.Task[None] | None = None
        self._checked_at = 0.0
        self._consumer_errors = 0

    async def run(self, consumer: AIOKafkaConsumer, stopping: asyncio.Event) -> None:
        """Handle batches until told to stop, the breaker opens or the consumer is of no more use.

        Raises StopServiceError.
        """
        self.state.moved_at = time.monotonic()
        self._consumer_errors = 0
        try:
            while not stopping.is_set() and not self.breaker.open:
                if self._consumer_errors >= _MOST_CONSUMER_ERRORS:
                    log.error("the consumer does not recover: another one is made")
                    break
                try:
                    await self._round(consumer)
                except Exception as error:
                    await self._recover(error, stopping)
            if self.breaker.open:
                log.critical(
                    "more than 10 of the last 100 messages were parked: consuming stops",
                    command="avoir dead-letters list --outcome parked; mend the cause, replay them, restart",
                )
        finally:
            self.state.doing = "stopped"
            await self._last_hint(consumer)

    async def _round(self, consumer: AIOKafkaConsumer) -> None:
        await self._recheck()
        if self.assignment.positions is None:
            self.state.doing = "joining"
            self.reader.forget()
            await self.positions.seek(consumer, self.assignment)
        seen = self.assignment.positions
        found = await self.reader.read(consumer)
        self._consumer_errors = 0
        if seen is None or self.assignment.positions is not seen:
            return
        self.state.doing = "reading"
        if not found:
            return
        batch = self._converted(found)
        if any(place not in seen or records[0].offset < seen[place] for place, records in batch.items()):
            self.assignment.forget()
            return
        await self._handle(batch, seen)
        self._send_hint(consumer)

    async def _handle(
        self, batch: dict[TopicPartition, list[Record]], seen: dict[TopicPartition, int]
    ) -> None:
        records = list(merged(batch.values()))
        self.state.doing, self.in_flight = "handling", frozenset(batch)
        self.first_ms = {place: part[0].timestamp_ms for place, part in batch.items()}
        begun = time.monotonic()
        try:
            with self._span("batch"):
                report = await self._handler.handle(records, {place: seen[place] for place in batch})
        finally:
            self.in_flight = frozenset()
        if report.halted or not report.complete:
            self.assignment.forget()
        seen.update({place: part[-1].offset + 1 for place, part in batch.items()})
        self.state.moved_at = time.monotonic()
        self.state.last_error = ""
        self._backoff.reset()
        self.breaker.count(report)
        self._done(BatchDone(report, report.messages, self.state.moved_at - begun))

    async def _recover(self, error: Exception, stopping: asyncio.Event) -> None:
        refuse_wrong_schema(error)
        had_positions = self.assignment.positions is not None
        self.assignment.forget()
        if isinstance(error, Fenced):
            log.warning("another process handled this batch: reading the positions again")
            await pause(_FENCED_PAUSE_S, stopping)
            return
        if isinstance(error, UnreadableError):
            log.warning("a record cannot be read: looking for it", error=str(error))
            return
        if isinstance(error, NoOffsetForPartitionError | OffsetOutOfRangeError) and not had_positions:
            # Before the first seek the consumer has no position at all.
            await pause(0.02, stopping)
            return
        if isinstance(error, KafkaError):
            self._consumer_errors += 1
        self.state.doing = "failing"
        self.state.last_error = f"{type(error).__name__}: {error}"
        seconds = self._backoff.next_s()
        if is_transient(error):
            log.warning("database or broker away", error=self.state.last_error, again_in_s=round(seconds, 2))
        else:
            log.error("unexpected error", exc_info=error, again_in_s=round(seconds, 2))
        await pause(seconds, stopping)

    async def _recheck(self) -> None:
        """From time to time look whether an operator has passed by a record, or set another position."""
        if time.monotonic() <= self._checked_at + _RECHECK_S:
            return
        self._checked_at = time.monotonic()
        stopped = bool(self.reader.unreadable or self.assignment.out_of_range)
        if self.reader.unreadable:
            self.reader.look_closely()
        if stopped or await self.positions.differ(self.assignment.positions):
            self.assignment.forget()

    def _converted(self, found: Found) -> dict[TopicPartition, list[Record]]:
        return {
            self.positions.known(partition): [self._record(record) for record in records]
            for partition, records in found.items()
            if records
        }

    def _record(self, record: ConsumerRecord) -> Record:
        return Record(
            topic=self._default_name(record.topic),
            partition=record.partition,
            offset=record.offset,
            timestamp_ms=record.timestamp,
            key=record.key,
            value=record.value,
            headers=tuple(record.headers),
            cut=record.checksum if isinstance(record.checksum, Cut) else None,
        )

    def _send_hint(self, consumer: AIOKafkaConsumer) -> None:
        """Tell Kafka the positions, for monitors of lag that ask Kafka: one commit at a time, errors ignored."""
        if self._hint is None or self._hint.done():
            self._hint = asyncio.create_task(self._commit(consumer, _HINT_TIMEOUT_S))

    async def _commit(self, consumer: AIOKafkaConsumer, timeout_s: float) -> None:
        positions = self.assignment.positions
        if positions:
            with suppress(Exception):
                async with asyncio.timeout(timeout_s):
                    await consumer.commit(
                        {self.positions.on_broker(place): offset for place, offset in positions.items()}
                    )

    async def _last_hint(self, consumer: AIOKafkaConsumer) -> None:
        if self._hint is not None:
            self._hint.cancel()
            await asyncio.gather(self._hint, return_exceptions=True)
        await self._commit(consumer, _LAST_HINT_TIMEOUT_S)
