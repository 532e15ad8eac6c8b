"""The service in the test's own process, with a handler that counts, and what it has done so far."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from avoir.core.model.message import Message
from avoir.postgres.connect import KeptConnection
from avoir.process.service import Service
from avoir.process.wiring import build, names_of
from avoir.settings import Settings
from deploy.local.harness.databases import connection_to
from deploy.local.harness.records import consume, produce
from deploy.local.harness.waiting import until
from tests.integration.counting_handler import OUT, CountingHandler
from tests.integration.records import value

FACT, OTHER = "booking-cancelled", "invoice-finalized"


@dataclass
class Run:
    """A service that runs in this process, and its counting handler."""

    service: Service
    handler: CountingHandler
    stopping: asyncio.Event

    async def joined(self) -> None:
        await until(lambda: self.service.loop.state.doing == "reading", 30, "joined the group")


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Run]:
    handlers: list[CountingHandler] = []

    def make(settings: Settings, connection: KeptConnection) -> CountingHandler:
        handlers.append(CountingHandler(settings, connection))
        return handlers[-1]

    service, stopping = build(settings, make), asyncio.Event()
    task = asyncio.create_task(service.run(stopping))
    try:
        yield Run(service, handlers[0], stopping)
    finally:
        stopping.set()
        await asyncio.wait_for(task, 15)


async def handled(settings: Settings) -> int:
    """How many messages were handled."""
    async with connection_to(settings.postgres_dsn.get_secret_value()) as connection:
        count: int = await connection.fetchval("SELECT count(*) FROM inbox")
        return count


async def positions(settings: Settings) -> dict[tuple[str, int], int]:
    async with connection_to(settings.postgres_dsn.get_secret_value()) as connection:
        rows = await connection.fetch(
            "SELECT * FROM consumer_offsets WHERE group_id = $1", settings.kafka_group_id
        )
        return {(row["topic"], row["partition"]): row["next_offset"] for row in rows}


async def send(settings: Settings, ids: range, topics: tuple[str, ...] = (FACT, OTHER)) -> None:
    names = names_of(settings)
    await produce(
        settings.kafka_bootstrap_servers,
        [(names.actual(topics[n % len(topics)]), b"key-%d" % (n % 7), b"%d" % n) for n in ids],
    )


async def check_output(settings: Settings, count: int) -> None:
    """Every message once, and the numbers of each key without gap and in order."""
    async with connection_to(settings.postgres_dsn.get_secret_value()) as connection:

        async def empty() -> bool:
            return not await connection.fetchval("SELECT EXISTS (SELECT FROM outbox)")

        await until(empty, 15, "the outbox is empty")
    found = await consume(settings.kafka_bootstrap_servers, [names_of(settings).actual(OUT)])
    seen: dict[bytes, int] = {}
    ids: set[str] = set()
    for record in found:
        event = json.loads(record.value)
        if event["seq"] <= seen.get(record.key, 0):
            continue  # published twice
        assert event["seq"] == seen.get(record.key, 0) + 1
        seen[record.key] = event["seq"]
        ids.add(event["id"])
    assert ids == {str(n) for n in range(count)}
    assert sum(seen.values()) == count


async def until_handled(settings: Settings, count: int, within_s: float = 20) -> float:
    async def there() -> bool:
        return await handled(settings) >= count

    return await until(there, within_s, f"{count} messages handled")


async def check_output_after_restart(settings: Settings, count: int) -> None:
    async with running(settings):
        await check_output(settings, count)


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[Service]:
    """The service as it is, in the test's own process."""
    service, stopping = build(settings), asyncio.Event()
    task = asyncio.create_task(service.run(stopping))
    try:
        yield service
    finally:
        stopping.set()
        await asyncio.wait_for(task, 15)


async def publish(settings: Settings, messages: Iterable[Message]) -> None:
    """Put messages of the core on their topics, those of an owner under one key."""
    names = names_of(settings)
    await produce(
        settings.kafka_bootstrap_servers,
        [(names.actual(each.topic), each.tenant_id.encode(), value(each)) for each in messages],
    )


async def decided(settings: Settings) -> dict[str, str]:
    """The outcome of each message that was decided, by event id; the last one where there are several."""
    async with connection_to(settings.postgres_dsn.get_secret_value()) as connection:
        rows = await connection.fetch("SELECT event_id, outcome FROM decisions ORDER BY recorded_at")
        return {row["event_id"]: row["outcome"] for row in rows}


async def until_decided(settings: Settings, count: int, within_s: float = 60) -> dict[str, str]:
    """Wait until so many messages were decided; their outcomes."""

    async def there() -> bool:
        return len(await decided(settings)) >= count

    await until(there, within_s, f"{count} messages decided")
    return await decided(settings)
