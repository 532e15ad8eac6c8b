"""Measures lag and backlog every few seconds, and ends a process that stands still while all else answers."""

import asyncio
import time
from collections.abc import Callable

import structlog
from aiokafka import AIOKafkaConsumer

from avoir.kafka.loop import Loop
from avoir.metrics import Metrics, age_s
from avoir.postgres import queries
from avoir.postgres.reading import ReadingPool
from avoir.record import TopicPartition
from avoir.retry import StopServiceError, pause

_EVERY_S = 5.0
_TIMEOUT_S = 5.0
_UNJOINED = 3
_BELIEVED_S = 30 * 86_400.0

log = structlog.get_logger("avoir.watch")


class Watch:
    """Compares the ends of the partitions with the positions in Postgres."""

    def __init__(
        self,
        loop: Loop,
        pool: ReadingPool,
        consumer: Callable[[], AIOKafkaConsumer | None],
        metrics: Metrics,
        *,
        group_id: str,
        stuck_after_s: float,
    ) -> None:
        self._loop = loop
        self._pool = pool
        self._consumer = consumer
        self._metrics = metrics
        self._group_id = group_id
        self._stuck_after_s = stuck_after_s
        self._behind: dict[TopicPartition, tuple[int, float]] = {}
        self._caught_up: set[TopicPartition] = set()
        self._stands: tuple[dict[TopicPartition, int], float] = ({}, time.monotonic())
        self._joined_at = time.monotonic()

    async def run(self, stopping: asyncio.Event) -> None:
        """Measure until told to stop. Raises StopServiceError when nothing moves that should."""
        while not stopping.is_set():
            try:
                await self._measure()
            except StopServiceError:
                raise
            except Exception as error:
                # Somebody does not answer, so that standing still is no fault of this process.
                self._stands = ({}, time.monotonic())
                log.debug("not measured", error=f"{type(error).__name__}: {error}")
            await pause(min(_EVERY_S, self._stuck_after_s / 4), stopping)

    async def _measure(self) -> None:
        pool = await self._pool.get()
        self._metrics.backlog(dict(await pool.fetchrow(queries.backlog, timeout=_TIMEOUT_S) or {}))
        self._metrics.stopped_partitions.set(len(self._stopped()))
        consumer = self._consumer()
        if consumer is None or not self._loop.assignment.joined:
            self._stands = ({}, time.monotonic())
            self._metrics.lags({}, 0)
            await self._look_for_group(consumer)
            return
        self._joined_at = time.monotonic()
        async with asyncio.timeout(_TIMEOUT_S):
            ends = await self._loop.positions.ends(consumer)
            stands = await self._positions(consumer, ends)
        lags = {place: max(0, ends[place] - position) for place, position in stands.items()}
        self._show(lags, ends, stands)
        self._look_for_standstill(lags, stands)

    async def _look_for_group(self, consumer: AIOKafkaConsumer | None) -> None:
        """A consumer that is in no group for long, while the broker answers, will not find it any more."""
        if consumer is None:
            self._joined_at = time.monotonic()
        elif time.monotonic() > self._joined_at + _UNJOINED * self._stuck_after_s:
            async with asyncio.timeout(_TIMEOUT_S):
                await consumer.topics()
            raise StopServiceError("the broker answers, but the consumer does not get into its group")

    async def _positions(
        self, consumer: AIOKafkaConsumer, ends: dict[TopicPartition, int]
    ) -> dict[TopicPartition, int]:
        """The stored positions, or the consumer's where nothing is under way: it passes markers by."""
        pool = await self._pool.get()
        rows = await pool.fetch(queries.all_positions, self._group_id, timeout=_TIMEOUT_S)
        stored = {TopicPartition(row["topic"], row["partition"]): row["next_offset"] for row in rows}
        stands = {place: stored[place] for place in ends if place in stored}
        if self._loop.assignment.positions is not None and not self._loop.in_flight:
            for place, position in stands.items():
                at = await consumer.position(self._loop.positions.on_broker(place))
                stands[place] = max(position, at)
        return stands

    def _show(
        self,
        lags: dict[TopicPartition, int],
        ends: dict[TopicPartition, int],
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
                self._behind[place] = (ends[place], now)
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
        stopped = self._stopped()
        waiting = {place for place, lag in lags.items() if lag and place not in stopped}
        if not waiting or stands != self._stands[0] or self._loop.breaker.open:
            self._stands = (stands, time.monotonic())
        elif time.monotonic() > self._stands[1] + self._stuck_after_s:
            raise StopServiceError(
                f"{len(waiting)} partitions have messages, database and broker answer, and nothing moved for "
                f"{self._stuck_after_s:.0f} s (last error: {self._loop.state.last_error or 'none'})"
            )

    def _stopped(self) -> set[TopicPartition]:
        unreadable = {self._loop.positions.known(partition) for partition in self._loop.reader.unreadable}
        return unreadable | set(self._loop.assignment.out_of_range)
