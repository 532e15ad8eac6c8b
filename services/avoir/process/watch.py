"""Measures the backlog every few seconds, and ends a process that stands still while everything else answers."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import asyncpg
import structlog
from aiokafka import AIOKafkaConsumer

from avoir.batch.locked import rows_waited_for
from avoir.kafka.loop import Loop
from avoir.kafka.position import End
from avoir.kafka.relay import LEASE
from avoir.kafka.topic_ids import look_up
from avoir.kafka.topics import TopicNames
from avoir.postgres import queries
from avoir.postgres.reading import ReadingPool
from avoir.process.flow import Flow, Limits, faults, held_for_long, sentence
from avoir.process.metrics import Metrics, age_s
from avoir.record import TopicPartition
from avoir.retry import StopServiceError, pause
from avoir.wire.topics import EVENTS, SUBSCRIBED

_EVERY_S = 5.0
_TIMEOUT_S = 5.0
_UNJOINED_FACTOR = 3
_MAX_BELIEVED_AGE_S = 30 * 86_400.0
# The database's time limits end an attempt sooner.
_MAX_TRY_S = 60.0

log = structlog.get_logger("avoir.watch")


class _Since:
    """Start time of each partition's current state, such as a position; a change of state starts again."""

    def __init__(self) -> None:
        self._states: dict[TopicPartition, tuple[int, float]] = {}

    def seconds(self, states: Mapping[TopicPartition, int]) -> dict[TopicPartition, float]:
        """Seconds that each partition has been in its state; partitions that are not listed are forgotten."""
        now, before = time.monotonic(), self._states
        self._states = {
            partition: before[partition] if before.get(partition, (None,))[0] == state else (state, now)
            for partition, state in states.items()
        }
        return {partition: now - since for partition, (_, since) in self._states.items()}


class Watch:
    """Compares the ends of partitions with the positions in Postgres, and reads the outbox.

    `missing` has the topics, by actual names, that did not exist at the last check: the service checks while it has no
    consumer.
    """

    def __init__(
        self,
        loop: Loop,
        pool: ReadingPool,
        consumer: Callable[[], AIOKafkaConsumer | None],
        metrics: Metrics,
        names: TopicNames,
        *,
        group_id: str,
        stuck_after_s: float,
        limits: Limits,
    ) -> None:
        self.missing: frozenset[str] = frozenset()
        self._loop = loop
        self._pool = pool
        self._consumer = consumer
        self._metrics = metrics
        self._input_topics = [names.actual(topic) for topic in SUBSCRIBED]
        self._output_topics = [names.actual(topic) for topic in EVENTS]
        self._group_id = group_id
        self._stuck_after_s = stuck_after_s
        self._limits = limits
        self._behind: dict[TopicPartition, tuple[int, float]] = {}
        self._caught_up: set[TopicPartition] = set()
        self._last_moved: tuple[dict[TopicPartition, int], float] = ({}, time.monotonic())
        self._searched = 0
        self._joined_at = time.monotonic()
        self._stalled, self._held = _Since(), _Since()
        self._alarmed: set[TopicPartition] = set()
        self._flow = Flow()
        self._measured_at = time.monotonic()
        self._failure = "not yet"

    def faults(self) -> dict[str, str]:
        """Problems that keep messages from being handled and events from being published, by check."""
        return faults(self._flow_now(), self._limits)

    def sentence(self, others: Sequence[str]) -> str:
        """The same in one sentence, with other problems."""
        return sentence(self._flow_now(), self._limits, others)

    def _flow_now(self) -> Flow:
        """The last measurement, with the loop's current state; nothing is valid for long without a new measurement."""
        silent_s, state = time.monotonic() - self._measured_at, self._loop.state
        return replace(
            self._flow,
            stopped=self._stop_reasons(),
            failing=None
            if state.failing_since is None
            else (time.monotonic() - state.failing_since, state.last_error),
            unknown=f"not measured for {silent_s:.0f} s ({self._failure})"
            if silent_s >= self._limits.unready_s
            else None,
        )

    async def run(self, stopping: asyncio.Event) -> None:
        """Measure until stopped. Raises StopServiceError if nothing moves that should."""
        while not stopping.is_set():
            try:
                await self._measure()
            except StopServiceError:
                raise
            except Exception as error:
                # Database or broker does not answer, so a standstill is not this process's fault.
                self._last_moved = ({}, time.monotonic())
                self._failure = f"{type(error).__name__}: {error}"
                log.debug("not measured", error=self._failure)
            await pause(min(_EVERY_S, self._stuck_after_s / 4), stopping)

    async def _measure(self) -> None:
        pool = await self._pool.get()
        backlog = await pool.fetchrow(*queries.backlog(), timeout=_TIMEOUT_S)
        assert backlog is not None
        self._metrics.backlog(dict(backlog))
        self._metrics.stopped_partitions.set(len(self._stop_reasons()))
        consumer = self._consumer()
        if consumer is None or not self._loop.assignment.joined:
            self._last_moved = ({}, time.monotonic())
            self._metrics.lags({}, 0)
            self._store(await self._outgoing(backlog, None))
            await self._check_group(consumer)
            return
        self._joined_at = time.monotonic()
        async with asyncio.timeout(_TIMEOUT_S):
            ends = await self._loop.positions.ends(consumer)
            positions = await self._positions(ends)
        readable = {
            partition: max(0, ends[partition].readable - position)
            for partition, position in positions.items()
        }
        async with asyncio.timeout(_TIMEOUT_S):
            outgoing = await self._outgoing(backlog, consumer)
        self._store(self._incoming(outgoing, ends, positions, readable))
        self._show_lag(
            {partition: max(0, ends[partition].end - at) for partition, at in positions.items()},
            ends,
            positions,
        )
        self._check_standstill(readable, positions)

    def _store(self, flow: Flow) -> None:
        """Store the measurement, and raise one alarm per partition that a transaction blocks for long."""
        self._flow, self._measured_at = flow, time.monotonic()
        held = held_for_long(flow, self._limits)
        self._metrics.held_partitions.set(len(held))
        for partition in held:
            if partition not in self._alarmed:
                log.error(
                    "a transaction that was left open holds a partition",
                    partition=f"{partition.topic}/{partition.partition}",
                    for_s=round(flow.held[partition]),
                    command="kafka-transactions.sh find-hanging, then abort",
                )
        self._alarmed = set(held)

    async def _outgoing(self, backlog: asyncpg.Record, consumer: AIOKafkaConsumer | None) -> Flow:
        """Read what waits to be published or is deferred, who may publish, and which topics are missing."""
        pool = await self._pool.get()
        leases = await pool.fetch(*queries.read_leases(), timeout=_TIMEOUT_S)
        deferred = await pool.fetchrow(*queries.count_deferred(group_id=self._group_id), timeout=_TIMEOUT_S)
        assert deferred is not None
        if consumer is not None:
            self.missing = (await look_up(consumer, [*self._input_topics, *self._output_topics])).missing
        return Flow(
            missing_in=sorted(self.missing.intersection(self._input_topics)),
            missing_out=sorted(self.missing.intersection(self._output_topics)),
            deferred=deferred["messages"],
            oldest_deferred_s=deferred["oldest_s"] or 0.0,
            waits_for=rows_waited_for(deferred["waits_for"]),
            events=backlog["outbox"],
            oldest_event_s=backlog["oldest_unpublished_s"] or 0.0,
            refused=backlog["refused"],
            publisher=next((row["holder"] for row in leases if row["name"] == LEASE and row["held"]), None),
        )

    def _incoming(
        self,
        outgoing: Flow,
        ends: Mapping[TopicPartition, End],
        positions: Mapping[TopicPartition, int],
        readable: Mapping[TopicPartition, int],
    ) -> Flow:
        stops = self._stop_reasons()
        # A transaction's age counts from when its first message was seen, wherever the position is by then.
        opened = {
            partition: at.readable
            for partition, at in ends.items()
            if at.readable < at.end and partition not in stops
        }
        open_s = self._held.seconds(opened)
        return replace(
            outgoing,
            messages=sum(
                ends[partition].end - at for partition, at in positions.items() if at < ends[partition].end
            ),
            stalled=self._stalled.seconds(
                {
                    partition: positions[partition]
                    for partition, lag in readable.items()
                    if lag and partition not in stops
                }
            ),
            held={partition: open_s[partition] for partition in opened if not readable.get(partition)},
        )

    async def _check_group(self, consumer: AIOKafkaConsumer | None) -> None:
        """Detect a consumer that has long been without a group although the broker answers: it won't rejoin."""
        if consumer is None:
            self._joined_at = time.monotonic()
        elif time.monotonic() > self._joined_at + _UNJOINED_FACTOR * self._stuck_after_s:
            async with asyncio.timeout(_TIMEOUT_S):
                await consumer.topics()
            raise StopServiceError("the broker answers, but the consumer does not join its group")

    async def _positions(self, ends: Mapping[TopicPartition, End]) -> dict[TopicPartition, int]:
        pool = await self._pool.get()
        rows = await pool.fetch(*queries.all_positions(group_id=self._group_id), timeout=_TIMEOUT_S)
        stored = {TopicPartition(row["topic"], row["partition"]): row["next_offset"] for row in rows}
        return {partition: stored[partition] for partition in ends if partition in stored}

    def _show_lag(
        self,
        lags: dict[TopicPartition, int],
        ends: Mapping[TopicPartition, End],
        positions: dict[TopicPartition, int],
    ) -> None:
        by_topic: dict[str, int] = {}
        now = time.monotonic()
        for partition, lag in lags.items():
            by_topic[partition.topic] = by_topic.get(partition.topic, 0) + lag
            end, _ = self._behind.get(partition, (0, now))
            if not lag:
                self._behind.pop(partition, None)
            elif positions[partition] >= end:
                self._behind[partition] = (ends[partition].end, now)
        self._behind = {partition: seen for partition, seen in self._behind.items() if partition in lags}
        oldest_s = max((now - since for _, since in self._behind.values()), default=0.0)
        # Producers set the times of their messages. They tell a new process from its first batch how far it is behind;
        # once it has seen a partition with nothing waiting it knows itself since when something does.
        self._caught_up = {
            partition for partition, lag in lags.items() if not lag or partition in self._caught_up
        }
        for partition, first_ms in self._loop.first_ms.items():
            age = age_s(first_ms)
            if lags.get(partition) and partition not in self._caught_up and age < _MAX_BELIEVED_AGE_S:
                oldest_s = max(oldest_s, age)
        self._metrics.lags(by_topic, oldest_s)

    def _check_standstill(
        self, lags: dict[TopicPartition, int], positions: dict[TopicPartition, int]
    ) -> None:
        stopped = self._stop_reasons()
        waiting = {partition for partition, lag in lags.items() if lag and partition not in stopped}
        # Searching for the message on which batches fail is progress, though its first steps are slow.
        searched, self._searched = self._loop.state.searched - self._searched, self._loop.state.searched
        # A restart would end no lock and free no disk space; /readyz reports it.
        waited_at = self._loop.state.waited_at
        waits_for_others = waited_at is not None and time.monotonic() < waited_at + _MAX_TRY_S
        if (
            not waiting
            or positions != self._last_moved[0]
            or searched
            or waits_for_others
            or self._loop.breaker.open
        ):
            self._last_moved = (positions, time.monotonic())
        elif time.monotonic() > self._last_moved[1] + self._stuck_after_s:
            raise StopServiceError(
                f"{len(waiting)} partitions have messages, database and broker answer, but nothing has moved for "
                f"{self._stuck_after_s:.0f} s (last error: {self._loop.state.last_error or 'none'})"
            )

    def _stop_reasons(self) -> dict[TopicPartition, str]:
        """Reasons why partitions wait for an operator."""
        unreadable = self._loop.reader.unreadable.items()
        known = self._loop.positions.known
        return {**self._loop.assignment.stopped, **{known(partition): why for partition, why in unreadable}}
