"""The running service: waits for what it needs, runs its parts side by side, and ends them in order."""

import asyncio
import time
from collections.abc import Collection, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

import asyncpg
import structlog
from aiokafka import AIOKafkaConsumer
from faststream.kafka import KafkaBroker
from faststream.kafka.subscriber.usecase import BatchSubscriber

from avoir.kafka.client import Client
from avoir.kafka.consuming import abort_consumer
from avoir.kafka.loop import Loop
from avoir.kafka.relay import Relay
from avoir.kafka.topics import missing_topics
from avoir.postgres.connect import KeptConnection
from avoir.postgres.migrate import REQUIRED_VERSION, schema_version
from avoir.process.health import Health
from avoir.process.housekeeping import Housekeeping
from avoir.process.metrics import Metrics
from avoir.process.presence import Presence
from avoir.process.watch import Watch
from avoir.retry import Backoff, StopServiceError, pause
from avoir.settings import Settings

_JOIN_TIMEOUT_S = 60.0
_LEAVE_TIMEOUT_S = 4.0
_CREDENTIALS_AFTER_S = 60.0
_ABORT_TIMEOUTS_S = (0.75, 0.25, 0.25)

log = structlog.get_logger("avoir.service")


class Droppable(Protocol):
    """A part with database connections that can be aborted."""

    def drop(self) -> None:
        """Abort them without notifying the server."""
        ...


class Closable(Protocol):
    """A part with connections to close at the end."""

    async def close(self) -> None:
        """Close them without waiting long."""
        ...


@dataclass(slots=True)
class Service:
    """All parts, as `wiring` builds them."""

    settings: Settings
    client: Client
    input_topics: list[str]
    output_topics: list[str]
    broker: KafkaBroker
    subscriber: BatchSubscriber
    loop: Loop
    relay: Relay
    housekeeping: Housekeeping
    watch: Watch
    presence: Presence
    health: Health
    metrics: Metrics
    connection: KeptConnection
    droppable: Sequence[Droppable]
    closable: Sequence[Closable]
    fault: str = ""
    _wind_down: asyncio.Event = field(default_factory=asyncio.Event)

    def consumer(self) -> AIOKafkaConsumer | None:
        """The consumer, while there is one."""
        return self.subscriber.consumer

    async def run(self, stopping: asyncio.Event) -> None:
        """Run until stopped, or until a part fails: then `fault` says why."""
        try:
            if await self._wait_until_usable(stopping):
                await self._run_parts(stopping)
        finally:
            for part in self.closable:
                await part.close()

    async def _run_parts(self, stopping: asyncio.Event) -> None:
        consuming = self._part(self._consume(stopping), stopping)
        others = [
            self._part(self.relay.run(self._wind_down), stopping),
            self._part(self.housekeeping.run(stopping), stopping),
            self._part(self.watch.run(stopping), stopping),
            self._part(self.presence.run(stopping), stopping),
        ]
        try:
            await stopping.wait()
            # `asyncio.wait` leaves the tasks alone at its timeout: `asyncio.timeout` would cancel one, and wait for it.
            end_at = time.monotonic() + self.settings.shutdown_s
            await asyncio.wait({consuming}, timeout=self.settings.shutdown_s)
            # The relay goes last: it may still publish what the last batch has written.
            self._wind_down.set()
            _, pending = await asyncio.wait({consuming, *others}, timeout=max(0.0, end_at - time.monotonic()))
            if pending:
                log.error("did not end in time", after_s=self.settings.shutdown_s)
        finally:
            await self._abort({consuming, *others})

    async def _abort(self, tasks: Collection[asyncio.Task[Any]]) -> None:
        """Cancel what has not ended in time, and return soon.

        Connections are aborted first: a task cancelled in a transaction would wait for the answer to its ROLLBACK. A
        part that treats the cancellation as one more error to retry is cancelled again.
        """
        pending = {task for task in tasks if not task.done()}
        for timeout_s in _ABORT_TIMEOUTS_S:
            if not pending:
                return
            for part in self.droppable:
                part.drop()
            for task in pending:
                task.cancel()
            _, pending = await asyncio.wait(pending, timeout=timeout_s)

    def _part(self, work: Coroutine[Any, Any, None], stopping: asyncio.Event) -> asyncio.Task[None]:
        """Run one part; if it fails, the whole service stops."""

        async def guarded() -> None:
            try:
                await work
            except StopServiceError as error:
                self.fault = str(error)
                log.critical("the service stops", why=self.fault)
                stopping.set()
            except Exception as error:
                self.fault = f"{type(error).__name__}: {error}"
                log.critical("a part of the service failed", exc_info=error)
                stopping.set()

        return asyncio.create_task(guarded())

    async def _wait_until_usable(self, stopping: asyncio.Event) -> bool:
        """Wait for the schema, but not for an answer once the service should stop: nothing is in progress yet."""
        waiting = asyncio.create_task(self._wait_for_schema(stopping))
        stop = asyncio.create_task(stopping.wait())
        try:
            await asyncio.wait({waiting, stop}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stop.cancel()
            await self._abort({waiting})
        return not waiting.cancelled() and waiting.result()

    async def _wait_for_schema(self, stopping: asyncio.Event) -> bool:
        backoff, started_at = Backoff(), time.monotonic()
        while not stopping.is_set():
            try:
                async with self.connection.use() as connection:
                    version = await schema_version(connection)
                if version >= REQUIRED_VERSION:
                    await self.connection.close()
                    return True
                log.warning("the database waits for `avoir migrate`", has=version, needs=REQUIRED_VERSION)
            except Exception as error:
                hint = (
                    {}
                    if time.monotonic() < started_at + _CREDENTIALS_AFTER_S
                    else {"hint": _database_hint(error)}
                )
                log.warning("database not usable yet", error=f"{type(error).__name__}: {error}", **hint)
            await pause(backoff.next_s(), stopping)
        return False

    async def _consume(self, stopping: asyncio.Event) -> None:
        while not stopping.is_set() and not self.loop.breaker.open:
            # Without the database, a member of the group would only withhold its partitions from others.
            await _either(self.presence.back, stopping)
            try:
                consumer = await self._join(stopping)
                if consumer is not None:
                    await self._run_loop(consumer, stopping)
            finally:
                await self._leave()

    async def _run_loop(self, consumer: AIOKafkaConsumer, stopping: asyncio.Event) -> None:
        """Run the loop while the database answers."""
        looping = asyncio.create_task(self.loop.run(consumer, stopping))
        gone = asyncio.create_task(self.presence.gone.wait())
        try:
            await asyncio.wait({looping, gone}, return_when=asyncio.FIRST_COMPLETED)
            if looping.done():
                looping.result()
        finally:
            gone.cancel()
            await self._abort({looping})

    async def _join(self, stopping: asyncio.Event) -> AIOKafkaConsumer | None:
        """Start the consumer once the input topics exist: without one of them it would wait for ever.

        If an output topic is missing, messages are handled and their events wait.
        """
        backoff, started_at = Backoff(), time.monotonic()
        while not stopping.is_set():
            try:
                async with asyncio.timeout(_JOIN_TIMEOUT_S):
                    missing = await missing_topics(self.client, [*self.input_topics, *self.output_topics])
                    self.watch.missing = frozenset(missing)
                    if missing:
                        log.warning("topics are missing: `avoir topics create` makes them", topics=missing)
                    if self.watch.missing.isdisjoint(self.input_topics):
                        await self.broker.start()
                        return self.subscriber.consumer
            except Exception as error:
                await self._leave()
                patient = time.monotonic() < started_at + _CREDENTIALS_AFTER_S
                hint = (
                    {}
                    if patient
                    else {"hint": "a wrong password or CA looks the same as an unreachable broker"}
                )
                log.warning("broker not usable yet", error=f"{type(error).__name__}: {error}", **hint)
            await pause(backoff.next_s(), stopping)
        return None

    async def _leave(self) -> None:
        # Positions in memory end with the membership: the next member may move those in Postgres.
        self.loop.assignment.on_partitions_revoked(set())
        with suppress(Exception):
            async with asyncio.timeout(_LEAVE_TIMEOUT_S):
                await self.broker.stop()
        if self.subscriber.consumer is not None:
            log.warning("the consumer did not leave its group in time: it is broken off")
            await abort_consumer(self.subscriber.consumer)
            self.subscriber.consumer = None


async def _either(*events: asyncio.Event) -> None:
    """Wait for one of several events."""
    waiting = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in waiting:
            each.cancel()


def _database_hint(error: Exception) -> str:
    """Advice on what to check when the database has been unreachable for long."""
    if isinstance(error, asyncpg.InvalidAuthorizationSpecificationError):
        return "check the user and password in AVOIR_POSTGRES_DSN"
    return "check host, port and TLS in AVOIR_POSTGRES_DSN"
