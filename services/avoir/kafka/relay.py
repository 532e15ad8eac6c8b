"""Publishes the outbox: in order, by one process at a time, until the broker has acknowledged."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

import asyncpg
import structlog

from avoir.kafka.heads import Head, unknown_to_the_ledger
from avoir.kafka.output_topics import OutputTopics
from avoir.kafka.publisher import TIMEOUT_S, Publisher, RefusedError
from avoir.kafka.topics import TopicNames
from avoir.postgres import queries
from avoir.postgres.connect import Connection, Database, KeptConnection
from avoir.postgres.lease import Lease
from avoir.retry import Backoff, pause, refuse_wrong_schema

LEASE = "relay"
_ROUND_BYTES = 8 * 1024 * 1024
_IDLE_FIRST_S = 0.02
_IDLE_LONGEST_S = 0.2
_UNCERTAIN_TRIES = 3
_PARTITIONS_EVERY_S = 30.0
_MAX_SHOWN = 3
# A process that finds the ledger behind releases the lease sooner than this.
_PUBLISHES_AFTER_S = 3 * TIMEOUT_S

T = TypeVar("T")

log = structlog.get_logger("avoir.relay")


class LedgerIsBehindError(Exception):
    """`credit-balance` has later heads than the ledger: the database was restored, or a failover lost transactions."""


class LeaseLostError(Exception):
    """Another process has taken the lease."""


@dataclass(slots=True)
class RelayState:
    """State of the relay, for health and metrics; `behind` says why nothing may be published."""

    doing: Literal["starting", "publishing", "standing by", "failing", "stopped"] = "starting"
    published: int = 0
    refused: int = 0
    last_error: str = ""
    behind: str = ""


@dataclass(slots=True)
class _Doubts:
    """Rows of batches that the broker refused, to be sent alone to find the refused one."""

    alone: set[int] = field(default_factory=set)
    tries: Counter[int] = field(default_factory=Counter)


class Relay:
    """Takes the lease, publishes what waits and deletes what is acknowledged, round by round.

    The producer is started before the lease is renewed and the rows are read, never after: a process that wakes up late
    finds its producer fenced, or its lease gone, before it can publish what others already have. A lost lease is never
    renewed, and rows are deleted only under the lease under which they were read: another holder may have stored other
    contents under the same ids.
    """

    def __init__(
        self,
        database: Database,
        publisher: Callable[[], Publisher],
        heads: Callable[[], Coroutine[Any, Any, list[Head]]],
        names: TopicNames,
        holder: str,
        *,
        rows: int,
        lease_s: float,
        wake: asyncio.Event,
    ) -> None:
        self.state = RelayState()
        self._kept = KeptConnection(database)
        self._make_publisher = publisher
        self._publisher: Publisher | None = None
        self._read_heads = heads
        self.output_topics = OutputTopics(names)
        self._read_partitions_at = 0.0
        self._lease = Lease(LEASE, holder, lease_s)
        self._renewed_at = 0.0
        self._rows = rows
        self._wake = wake
        self._doubts = _Doubts()

    async def run(self, stopping: asyncio.Event) -> None:
        """Publish until stopped; retries errors. Raises StopServiceError for a wrong schema."""
        backoff = Backoff()
        while not stopping.is_set():
            try:
                await self._lead(backoff, stopping)
            except Exception as error:
                await self._recover(error, backoff, stopping)
        await self._end()

    def drop(self) -> None:
        """Abort the connections."""
        self._kept.drop()
        if self._publisher is not None:
            self._publisher.drop()

    async def _lead(self, backoff: Backoff, stopping: asyncio.Event) -> None:
        """Stand by until the lease is free; then publish for as long as it can be renewed."""
        async with self._kept.use() as connection:
            await self._lease.add(connection)
        started_at = time.monotonic()
        while not await self._held(self._lease.hold):
            self.state.doing = "standing by"
            if time.monotonic() > started_at + _PUBLISHES_AFTER_S:
                self.state.behind = ""
            await pause(self._lease.seconds / 6, stopping)
            if stopping.is_set():
                return
        self._publisher = self._make_publisher()
        await self._while_held(self._publisher.start())
        await self._refuse_if_behind()
        await self._read_partitions(self._publisher)
        self.state.doing = "publishing"
        log.info("relay leads", holder=self._lease.holder)
        idle_s = _IDLE_FIRST_S
        while not stopping.is_set():
            published = await self._round(self._publisher)
            backoff.reset()
            self.state.last_error = ""
            idle_s = _IDLE_FIRST_S if published else min(idle_s * 1.5, _IDLE_LONGEST_S)
            if not published:
                await self._idle(idle_s)

    async def _refuse_if_behind(self) -> None:
        """Refuse to publish numbers that readers have already seen.

        Runs once the producer is started: from then on no other process can publish. Raises LedgerIsBehindError.
        """
        heads = await self._while_held(self._read_heads())
        async with self._kept.use() as connection:
            unknown = await unknown_to_the_ledger(connection, heads)
        behind = "; ".join(unknown[:_MAX_SHOWN])
        if behind and behind != self.state.behind:
            log.critical(
                "credit-balance is ahead of the ledger, so nothing is published: the database was restored, or a "
                "failover lost transactions",
                found=behind,
                command="avoir epoch raise --reason ...",
            )
        self.state.behind = behind
        if behind:
            raise LedgerIsBehindError(
                f"credit-balance is ahead of the ledger, nothing is published until `avoir epoch raise`: {behind}"
            )

    async def _read_partitions(self, publisher: Publisher) -> None:
        """Read how many partitions the topics have and how many of them are used."""
        partitions = await self._while_held(publisher.partitions())
        async with self._kept.use() as connection:
            await self.output_topics.update(connection, partitions)
        self._read_partitions_at = time.monotonic() + _PARTITIONS_EVERY_S

    async def _round(self, publisher: Publisher) -> int:
        """Publish the oldest rows and return how many there were. Raises LeaseLostError when the lease is gone."""
        if time.monotonic() > self._read_partitions_at:
            await self._read_partitions(publisher)
        async with self._kept.use() as connection:
            waits = await connection.fetchval(*queries.outbox_waits())
            if not waits and time.monotonic() < self._renewed_at + self._lease.seconds / 3:
                return 0
            await self._renew()
            if not waits:
                return 0
            rows = await connection.fetch(*queries.outbox_rows(limit=self._rows, most_bytes=_ROUND_BYTES))
        # Published first, deleted then: after a crash in between, readers get the events twice, by the same ids.
        await self._while_held(publisher.publish(rows, self.output_topics, self._doubts.alone))
        await self._delete(rows)
        self.state.published += len(rows)
        self._doubts = _Doubts()
        return len(rows)

    async def _while_held(self, work: Coroutine[Any, Any, T]) -> T:
        """Await something that a slow broker may delay, and renew the lease meanwhile."""
        working = asyncio.create_task(work)
        try:
            while not (await asyncio.wait({working}, timeout=self._lease.seconds / 3))[0]:
                await self._renew()
            return working.result()
        finally:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)

    async def _renew(self) -> None:
        if not await self._held(self._lease.renew):
            raise LeaseLostError("another process publishes")

    async def _held(self, ask: Callable[[Connection], Awaitable[bool]]) -> bool:
        """Take or renew the lease; returns whether that worked."""
        # From before the query: the lease then ends here no later than in the database.
        asked_at = time.monotonic()
        async with self._kept.use() as connection:
            held = await ask(connection)
        if held:
            self._renewed_at = asked_at
        return held

    async def _delete(self, rows: Sequence[asyncpg.Record]) -> None:
        async with self._kept.use() as connection, connection.transaction():
            if not await self._lease.renew(connection):
                raise LeaseLostError("another process publishes")
            await connection.execute(
                *queries.delete_published(
                    tenant_ids=[row["tenant_id"] for row in rows],
                    outbox_ids=[row["outbox_id"] for row in rows],
                ),
            )

    async def _idle(self, seconds: float) -> None:
        """Wait for rows written by this process, or a moment for those of others."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), seconds)
        self._wake.clear()

    async def _recover(self, error: Exception, backoff: Backoff, stopping: asyncio.Event) -> None:
        """Discard the producer, mark refused rows, let another process try, and pause."""
        refuse_wrong_schema(error)
        await self._discard()
        if isinstance(error, LeaseLostError):
            log.warning("relay lost its lease")
            return
        if isinstance(error, RefusedError):
            refused = self.state.refused
            with suppress(Exception):
                await self._doubt(error)
            if self.state.refused > refused:
                backoff.reset()
        self.state.doing = "failing"
        self.state.last_error = f"{type(error).__name__}: {error}"
        await self._release()
        seconds = backoff.next_s()
        log.warning("relay starts anew", error=self.state.last_error, after_s=round(seconds, 2))
        await pause(seconds, stopping)

    async def _doubt(self, refused: RefusedError) -> None:
        """Send the rows of a refused batch alone next time; refuse one that was alone already."""
        self._doubts.alone.update(refused.outbox_ids)
        if len(refused.outbox_ids) > 1:
            return
        outbox_id = refused.outbox_ids[0]
        self._doubts.tries[outbox_id] += 1
        if refused.certain or self._doubts.tries[outbox_id] >= _UNCERTAIN_TRIES:
            async with self._kept.use() as connection:
                await connection.execute(*queries.refuse_row(outbox_id=outbox_id, reason=str(refused)))
            self.state.refused += 1
            del self._doubts.tries[outbox_id]
            log.error(
                "the broker refuses a row of the outbox for good", outbox_id=outbox_id, why=str(refused)
            )

    async def _discard(self) -> None:
        if self._publisher is not None:
            await self._publisher.discard()
            self._publisher = None

    async def _end(self) -> None:
        """Stop the producer, then release the lease, so that another relay can begin at once."""
        self.state.doing = "stopped"
        if self._publisher is not None:
            await self._publisher.stop()
        await self._release()
        await self._kept.close()

    async def _release(self) -> None:
        with suppress(Exception):
            async with self._kept.use() as connection:
                await self._lease.release(connection)
