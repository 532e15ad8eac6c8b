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
_UNJOINED = 3
_BELIEVED_S = 30 * 86_400.0
# The database's time limits end a try before.
_ONE_TRY_S = 60.0

log = structlog.get_logger("avoir.watch")


class _Since:
    """Start time of each partition's current state, such as a position; a change of state starts again."""

    def __init__(self) -> None:
        self._states: dict[TopicPartition, tuple[int, float]] = {}

    def seconds(self, states: Mapping[TopicPartition, int]) -> dict[TopicPartition, float]:
        """Seconds that each partition has been in its state; partitions that are not listed are forgotten."""
        now, before = time.monotonic(), self._states
        self._states = {
            place: before[place] if before.get(place, (None,))[0] == state else (state, now)
            for place, state in states.items()
        }
        return {place: now - since for place, (_, since) in self._states.items()}


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
        self._topics_in = [names.actual(topic) for topic in SUBSCRIBED]
        self._topics_out = [names.actual(topic) for topic in EVENTS]
        self._group_id = group_id
        self._stuck_after_s = stuck_after_s
        self._limits = limits
        self._behind: dict[TopicPartition, tuple[int, float]] = {}
        self._caught_up: set[TopicPartition] = set()
        self._stands: tuple[dict[TopicPartition, int], float] = ({}, time.monotonic())
        self._searched = 0
        self._joined_at = time.monotonic()
        self._still, self._held = _Since(), _Since()
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
            stopped=self._stops(),
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
                # Somebody does not answer, so that standing still is no fault of this process.
                self._stands = ({}, time.monotonic())
                self._failure = f"{type(error).__name__}: {error}"
                log.debug("not measured", error=self._failure)
            await pause(min(_EVERY_S, self._stuck_after_s / 4), stopping)

    async def _measure(self) -> None:
        pool = await self._pool.get()
        backlog = await pool.fetchrow(*queries.backlog(), timeout=_TIMEOUT_S)
        assert backlog is not None
        self._metrics.backlog(dict(backlog))
        self._metrics.stopped_partitions.set(len(self._stops()))
        consumer = self._consumer()
        if consumer is None or not self._loop.assignment.joined:
            self._stands = ({}, time.monotonic())
            self._metrics.lags({}, 0)
            self._keep(await self._outgoing(backlog, None))
            await self._look_for_group(consumer)
            return
        self._joined_at = time.monotonic()
        async with asyncio.timeout(_TIMEOUT_S):
            ends = await self._loop.positions.ends(consumer)
            stands = await self._positions(ends)
        readable = {place: max(0, ends[place].readable - position) for place, position in stands.items()}
        async with asyncio.timeout(_TIMEOUT_S):
            outgoing = await self._outgoing(backlog, consumer)
        self._keep(self._incoming(outgoing, ends, stands, readable))
        self._show({place: max(0, ends[place].end - at) for place, at in stands.items()}, ends, stands)
        self._look_for_standstill(readable, stands)

    def _keep(self, flow: Flow) -> None:
        """Store the measurement, and raise one alarm per partition that a transaction blocks for long."""
        self._flow, self._measured_at = flow, time.monotonic()
        held = held_for_long(flow, self._limits)
        self._metrics.held_partitions.set(len(held))
        for place in held:
            if place not in self._alarmed:
                log.error(
                    "a transaction that was left open holds a partition",
                    partition=f"{place.topic}/{place.partition}",
                    for_s=round(flow.held[place]),
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
            self.missing = (await look_up(consumer, [*self._topics_in, *self._topics_out])).missing
        return Flow(
            missing_in=sorted(self.missing.intersection(self._topics_in)),
            missing_out=sorted(self.missing.intersection(self._topics_out)),
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
        stands: Mapping[TopicPartition, int],
        readable: Mapping[TopicPartition, int],
    ) -> Flow:
        stops = self._stops()
        # Since when a transaction has been open counts from its first message, wherever the position is by then.
        opened = {
            place: at.readable for place, at in ends.items() if at.readable < at.end and place not in stops
        }
        open_s = self._held.seconds(opened)
        return replace(
            outgoing,
            messages=sum(ends[place].end - at for place, at in stands.items() if at < ends[place].end),
            still=self._still.seconds(
                {place: stands[place] for place, lag in readable.items() if lag and place not in stops}
            ),
            held={place: open_s[place] for place in opened if not readable.get(place)},
        )

    async def _look_for_group(self, consumer: AIOKafkaConsumer | None) -> None:
        """Detect a consumer that has long been without a group although the broker answers: it won't rejoin."""
        if consumer is None:
            self._joined_at = time.monotonic()
        elif time.monotonic() > self._joined_at + _UNJOINED * self._stuck_after_s:
            async with asyncio.timeout(_TIMEOUT_S):
                await consumer.topics()
            raise StopServiceError("the broker answers, but the consumer does not join its group")

    async def _positions(self, ends: Mapping[TopicPartition, End]) -> dict[TopicPartition, int]:
        pool = await self._pool.get()
        rows = await pool.fetch(*queries.all_positions(group_id=self._group_id), timeout=_TIMEOUT_S)
        stored = {TopicPartition(row["topic"], row["partition"]): row["next_offset"] for row in rows}
        return {place: stored[place] for place in ends if place in stored}

    def _show(
        self,
        lags: dict[TopicPartition, int],
        ends: Mapping[TopicPartition, End],
        stands: dict[TopicPartition, int],
    ) -> None:
        by_topic: dict[str, int] = {}
        now = time.monotonic()
        for place, lag in lags.items():
            by_topic[place.topic] = by_topic.get(place.topic, 0) + lag
            end, _ = self._behind.get(place, (0, now))
            if not lag:
                self._behind.pop(place, None)
            elif stands[place] >= end:
                self._behind[place] = (ends[place].end, now)
        self._behind = {place: seen for place, seen in self._behind.items() if place in lags}
        oldest_s = max((now - since for _, since in self._behind.values()), default=0.0)
        # Producers set the times of their messages. They tell a new process from its first batch how far it is behind;
        # once it has seen a partition with nothing waiting it knows itself since when something does.
        self._caught_up = {place for place, lag in lags.items() if not lag or place in self._caught_up}
        for place, first_ms in self._loop.first_ms.items():
            age = age_s(first_ms)
            if lags.get(place) and place not in self._caught_up and age < _BELIEVED_S:
                oldest_s = max(oldest_s, age)
        self._metrics.lags(by_topic, oldest_s)

    def _look_for_standstill(
        self, lags: dict[TopicPartition, int], stands: dict[TopicPartition, int]
    ) -> None:
        stopped = self._stops()
        waiting = {place for place, lag in lags.items() if lag and place not in stopped}
        # Looking for the message on which batches fail is a way on, though the first ones take their time.
        searched, self._searched = self._loop.state.searched - self._searched, self._loop.state.searched
        # A restart would end no lock and free no disk; that the process is not ready tells of it.
        waited_at = self._loop.state.waited_at
        waits_for_others = waited_at is not None and time.monotonic() < waited_at + _ONE_TRY_S
        if (
            not waiting
            or stands != self._stands[0]
            or searched
            or waits_for_others
            or self._loop.breaker.open
        ):
            self._stands = (stands, time.monotonic())
        elif time.monotonic() > self._stands[1] + self._stuck_after_s:
            raise StopServiceError(
                f"{len(waiting)} partitions have messages, database and broker answer, but nothing has moved for "
                f"{self._stuck_after_s:.0f} s (last error: {self._loop.state.last_error or 'none'})"
            )

    def _stops(self) -> dict[TopicPartition, str]:
        """Reasons why partitions wait for an operator."""
        unreadable = self._loop.reader.unreadable.items()
        known = self._loop.positions.known
        return {**self._loop.assignment.stopped, **{known(place): why for place, why in unreadable}}
