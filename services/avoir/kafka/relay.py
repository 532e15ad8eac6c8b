"""Publishes the outbox: in order, by one process at a time, until the broker has acknowledged."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal

import asyncpg
import structlog

from avoir.kafka.publisher import Publisher, RefusedError
from avoir.postgres import queries
from avoir.postgres.connect import Database, KeptConnection
from avoir.postgres.lease import Lease
from avoir.retry import Backoff, pause, refuse_wrong_schema

LEASE = "relay"
_ROUND_BYTES = 8 * 1024 * 1024
_IDLE_FIRST_S = 0.02
_IDLE_LONGEST_S = 0.2
_UNCERTAIN_TRIES = 3

log = structlog.get_logger("avoir.relay")


@dataclass(slots=True)
class RelayState:
    """What the relay is doing, for health and metrics."""

    doing: Literal["starting", "publishing", "standing by", "failing", "stopped"] = "starting"
    published: int = 0
    refused: int = 0
    last_error: str = ""


@dataclass(slots=True)
class _Doubts:
    """Rows of batches that the broker refused, to be sent alone: which one is it?"""

    alone: set[int] = field(default_factory=set)
    tries: Counter[int] = field(default_factory=Counter)


class Relay:
    """Takes the lease, publishes what waits and deletes what is acknowledged, round by round.

    The producer is started before the lease is renewed and the rows are read, never after: a process that
    wakes up late finds its producer fenced, or its lease gone, before it can publish what others have.
    """

    def __init__(
        self,
        database: Database,
        publisher: Callable[[], Publisher],
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
        self._lease = Lease(LEASE, holder, lease_s)
        self._renewed_at = 0.0
        self._rows = rows
        self._wake = wake
        self._doubts = _Doubts()

    async def run(self, stopping: asyncio.Event) -> None:
        """Publish until told to stop; errors are waited out. Raises StopServiceError for a wrong schema."""
        backoff = Backoff()
        while not stopping.is_set():
            try:
                await self._lead(backoff, stopping)
            except Exception as error:
                await self._recover(error, backoff, stopping)
        await self._end()

    def drop(self) -> None:
        """Break the connection off."""
        self._kept.drop()

    async def _lead(self, backoff: Backoff, stopping: asyncio.Event) -> None:
        """Stand by until the lease is free; then publish for as long as it can be renewed."""
        async with self._kept.use() as connection:
            await self._lease.add(connection)
        while not await self._hold():
            self.state.doing = "standing by"
            await pause(self._lease.seconds / 6, stopping)
            if stopping.is_set():
                return
        self._publisher = self._make_publisher()
        await self._publisher.start()
        self.state.doing = "publishing"
        log.info("relay leads", holder=self._lease.holder)
        idle_s = _IDLE_FIRST_S
        while not stopping.is_set():
            published = await self._round(self._publisher)
            if published is None:
                log.warning("relay lost its lease")
                await self._discard()
                return
            backoff.reset()
            idle_s = _IDLE_FIRST_S if published else min(idle_s * 1.5, _IDLE_LONGEST_S)
            if not published:
                await self._rest(idle_s)

    async def _round(self, publisher: Publisher) -> int | None:
        """Publish the oldest rows and return how many there were; None when the lease is gone."""
        async with self._kept.use() as connection:
            waits = await connection.fetchval(queries.outbox_waits)
            if not waits and time.monotonic() < self._renewed_at + self._lease.seconds / 3:
                return 0
            if not await self._hold():
                return None
            if not waits:
                return 0
            rows = await connection.fetch(queries.outbox_rows, self._rows, _ROUND_BYTES)
        if not await self._publish(publisher, rows):
            return None
        await self._delete(rows)
        self.state.published += len(rows)
        self._doubts = _Doubts()
        return len(rows)

    async def _publish(self, publisher: Publisher, rows: Sequence[asyncpg.Record]) -> bool:
        """Publish, keeping the lease while a slow broker takes its time; false when it is gone."""
        publishing = asyncio.create_task(publisher.publish(rows, self._doubts.alone))
        try:
            while not (await asyncio.wait({publishing}, timeout=self._lease.seconds / 3))[0]:
                if not await self._hold():
                    return False
            publishing.result()
            return True
        finally:
            publishing.cancel()
            await asyncio.gather(publishing, return_exceptions=True)

    async def _hold(self) -> bool:
        asked_at = time.monotonic()
        async with self._kept.use() as connection:
            held = await self._lease.hold(connection)
        if held:
            self._renewed_at = asked_at
        return held

    async def _delete(self, rows: Sequence[asyncpg.Record]) -> None:
        async with self._kept.use() as connection:
            await connection.execute(
                queries.delete_published,
                [row["tenant_id"] for row in rows],
                [row["outbox_id"] for row in rows],
            )

    async def _rest(self, seconds: float) -> None:
        """Wait for rows written by this process, or a moment for those of others."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), seconds)
        self._wake.clear()

    async def _recover(self, error: Exception, backoff: Backoff, stopping: asyncio.Event) -> None:
        """Throw the producer away, put refused rows aside, let another process try, and wait a moment."""
        refuse_wrong_schema(error)
        await self._discard()
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
                await connection.execute(queries.refuse_row, outbox_id, str(refused))
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
        """Stop the producer, then let go of the lease, so that another relay can begin at once."""
        self.state.doing = "stopped"
        if self._publisher is not None:
            await self._publisher.stop()
        await self._release()
        await self._kept.close()

    async def _release(self) -> None:
        with suppress(Exception):
            async with self._kept.use() as connection:
                await self._lease.release(connection)
