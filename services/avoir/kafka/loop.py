"""The consumer loop: seek to the positions in Postgres, take a batch, hand it over, and never skip anything."""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from typing import Literal, Protocol

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord
from aiokafka.errors import IllegalStateError, KafkaError, NoOffsetForPartitionError, OffsetOutOfRangeError

from avoir.kafka.assignment import Assignment, StoredPositions
from avoir.kafka.breaker import Breaker
from avoir.kafka.merge import merged
from avoir.kafka.reader import Found, Reader, UnreadableError
from avoir.record import BatchReport, Cut, Doubted, Fenced, Positions, Record, TopicPartition
from avoir.retry import Backoff, Cause, cause_of, only_others_can_end, pause, refuse_wrong_schema
from avoir.wire.topics import FACTS, RANKS

_RECHECK_S = 10.0
_PASS_BY_S = 1.0
_HINT_TIMEOUT_S = 5.0
_HINT_PAUSE_S = 0.5
_LAST_HINT_TIMEOUT_S = 3.0
_FENCED_PAUSE_S = 0.05
_MOST_CONSUMER_ERRORS = 5

log = structlog.get_logger("avoir.loop")


class BatchHandler(Protocol):
    """Handles a batch in one transaction, its positions included."""

    async def handle(self, records: Sequence[Record], positions: Positions) -> BatchReport:
        """Raises Fenced when the positions moved on meanwhile, Doubted where it is looking for what fails."""
        ...

    def has_deferred(self, positions: Positions) -> bool:
        """Check whether messages of the partitions are deferred; then even an empty batch is handed over."""
        ...

    def forget(self) -> None:
        """Read again what was set aside: another process may have had the partitions meanwhile."""
        ...


@dataclass(frozen=True, slots=True)
class BatchDone:
    """A handled batch, for logs and metrics."""

    report: BatchReport
    records: int
    seconds: float


@dataclass(slots=True)
class LoopState:
    """State of the loop, for health checks and the watchdog."""

    doing: Literal["joining", "reading", "handling", "failing", "stopped"] = "joining"
    moved_at: float = 0.0
    last_error: str = ""
    searched: int = 0
    """How many steps were made to find the messages on which batches failed."""
    failing_since: float | None = None
    waited_at: float | None = None
    """When a round last failed, if it was for what only others can end: a lock, a full disk."""

    def succeeded(self) -> None:
        """The last round met no error."""
        self.last_error, self.failing_since = "", None


class Loop:
    """Hands batches of all topics to the handler, one at a time.

    There is one way out of every error: forget the positions, wait a moment, read them from Postgres, seek.
    Whether a COMMIT counted whose answer was lost, whether another process has the partition now, whether
    the database was restored to an earlier moment: the rows tell.
    """

    def __init__(
        self,
        assignment: Assignment,
        positions: StoredPositions,
        handler: BatchHandler,
        default_name: Callable[[str], str],
        *,
        max_records: int,
        done: Callable[[BatchDone], None],
        span: Callable[[str], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        self.state = LoopState()
        self.breaker = Breaker()
        self.reader = Reader(
            max_records,
            is_fact=lambda topic: default_name(topic) in FACTS,
            rank=lambda topic: RANKS[default_name(topic)],
        )
        self.assignment = assignment
        self.positions = positions
        self.first_ms: dict[TopicPartition, int] = {}
        self._handler = handler
        self._default_name = default_name
        self._done = done
        self._span = span
        self._backoff = Backoff()
        self._hint: asyncio.Task[None] | None = None
        self._checked_at = 0.0
        self._passed_at = 0.0
        self._consumer_errors = 0

    async def run(self, consumer: AIOKafkaConsumer, stopping: asyncio.Event) -> None:
        """Handle batches until asked to stop, the breaker opens or the consumer is useless.

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
        await self._recheck(consumer)
        if self.assignment.positions is None:
            await self._seek(consumer)
        await self._pass_by(consumer)
        seen = self.assignment.positions
        found = await self.reader.read(consumer)
        self._consumer_errors = 0
        if seen is None or self.assignment.positions is not seen:
            return
        self.state.doing = "reading"
        if not found and not self._handler.has_deferred(seen):
            self.state.succeeded()
            return
        batch = self._converted(found)
        if any(place not in seen or records[0].offset < seen[place] for place, records in batch.items()):
            self.assignment.forget()
            return
        await self._handle(batch, seen)
        if batch:
            self._send_hint(consumer)

    async def _seek(self, consumer: AIOKafkaConsumer) -> None:
        self.state.doing = "joining"
        self.reader.forget()
        self._handler.forget()
        await self.positions.seek(consumer, self.assignment)
        if self.assignment.positions is not None:
            places = self.assignment.positions.items()
            read = {place: at for place, at in places if place not in self.assignment.stopped}
            self.reader.forget_passed({self.positions.on_broker(place): at for place, at in read.items()})
            self._send_hint(consumer)

    async def _pass_by(self, consumer: AIOKafkaConsumer) -> None:
        """From time to time move on over the markers of transactions, which the consumer passes by without a word."""
        seen = self.assignment.positions
        if seen is None or time.monotonic() <= self._passed_at + _PASS_BY_S:
            return
        self._passed_at = time.monotonic()
        at = {place: self.positions.on_broker(place) for place in seen}
        held = self.reader.holds  # passed by the consumer too, and still to be handled
        try:
            found = {place: await consumer.position(on) for place, on in at.items() if on not in held}
        except IllegalStateError:
            return
        moved = {place: offset for place, offset in found.items() if offset > seen[place]}
        if moved and self.assignment.positions is seen:
            await self.positions.skip(moved, seen)
            seen.update(moved)
            self._send_hint(consumer)

    async def _handle(
        self, batch: dict[TopicPartition, list[Record]], seen: dict[TopicPartition, int]
    ) -> None:
        records = list(merged(batch.values()))
        self.state.doing = "handling"
        self.first_ms = {place: part[0].timestamp_ms for place, part in batch.items()}
        begun = time.monotonic()
        with self._span("batch"):
            report = await self._handler.handle(records, seen)
        if report.halted or not report.complete:
            self.assignment.forget()
        seen.update({place: part[-1].offset + 1 for place, part in batch.items()})
        self.state.succeeded()
        if not (report.messages or report.amounts):
            return
        if not report.messages:
            self.state.searched += 1  # so much is overdue that no message was handled yet: a way on too
        self.state.moved_at = time.monotonic()
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
        self.state.failing_since = self.state.failing_since or time.monotonic()
        self.state.last_error = f"{type(error).__name__}: {error}"
        self.state.waited_at = time.monotonic() if only_others_can_end(error) else None
        seconds = self._backoff.next_s()
        if isinstance(error, Doubted):
            self.state.searched += 1
            log.warning(
                "a batch keeps failing: smaller parts are tried",
                error=str(error),
                again_in_s=round(seconds, 2),
            )
        elif isinstance(error, KafkaError) or cause_of(error) is not Cause.DATA:
            log.warning("database or broker away", error=self.state.last_error, again_in_s=round(seconds, 2))
        else:
            log.error("unexpected error", exc_info=error, again_in_s=round(seconds, 2))
        await pause(seconds, stopping)

    async def _recheck(self, consumer: AIOKafkaConsumer) -> None:
        """From time to time look for what an operator has passed by or set, and for topics that were made anew."""
        if time.monotonic() <= self._checked_at + _RECHECK_S:
            return
        self._checked_at = time.monotonic()
        self.reader.look_again(consumer)
        if await self.positions.changed(consumer, self.assignment):
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
        """Make sure that the latest positions are committed to Kafka, for monitors of lag that read them there."""
        if self._hint is None or self._hint.done():
            self._hint = asyncio.create_task(self._tell(consumer))

    async def _tell(self, consumer: AIOKafkaConsumer) -> None:
        """Commit until nothing moved on meanwhile: one commit at a time, one that fails is tried again."""
        committed: dict[TopicPartition, int] | None = None
        while (positions := self.assignment.positions) and positions != committed:
            latest = dict(positions)
            if await self._commit(consumer, latest, _HINT_TIMEOUT_S):
                committed = latest
            else:
                await asyncio.sleep(_HINT_PAUSE_S)

    async def _commit(
        self, consumer: AIOKafkaConsumer, positions: dict[TopicPartition, int], timeout_s: float
    ) -> bool:
        with suppress(Exception):
            async with asyncio.timeout(timeout_s):
                await consumer.commit(
                    {self.positions.on_broker(place): offset for place, offset in positions.items()}
                )
                return True
        return False

    async def _last_hint(self, consumer: AIOKafkaConsumer) -> None:
        if self._hint is not None:
            self._hint.cancel()
            await asyncio.gather(self._hint, return_exceptions=True)
        if self.assignment.positions:
            await self._commit(consumer, self.assignment.positions, _LAST_HINT_TIMEOUT_S)
