"""Processes, broker and database killed, stopped and started again: nothing lost, doubled or out of order."""

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from avoir.kafka.topics import TopicNames
from avoir.postgres.migrate import migrate
from avoir.settings import Settings
from deploy.local.harness.databases import connection_to
from deploy.local.harness.records import consume, produce
from deploy.local.harness.service import ServiceProcess, settings_for
from deploy.local.harness.topics import make_all_topics
from deploy.local.harness.waiting import until
from deploy.local.kafka import Kafka
from deploy.local.postgres import Postgres
from tests.integration.counting_handler import counting_process
from tests.integration.running import handled

KEYS = 20
LEASE_S = Settings.model_fields["relay_lease_s"].default
MOST_S_TO_TAKE_OVER = 3.0


async def prepared(kafka: str, dsn: str, prefix: str) -> Settings:
    """Topics, and settings with small batches, so that a fault meets work under way."""
    settings = settings_for(kafka, dsn, prefix, kafka_max_records=100, relay_rows=100, relay_lease_s=LEASE_S)
    await make_all_topics(settings)
    return settings


async def send(settings: Settings, ids: range) -> None:
    """Facts of two topics, numbered."""
    names = TopicNames(settings.kafka_topic_prefix)
    topics = [names.actual("booking-cancelled"), names.actual("invoice-finalized")]
    await produce(
        settings.kafka_bootstrap_servers, [(topics[n % 2], b"key-%d" % (n % KEYS), b"%d" % n) for n in ids]
    )


@asynccontextmanager
async def steady_load(settings: Settings, first: int) -> AsyncIterator[list[int]]:
    """About 200 messages a second in the background; yields a list whose only item is the next number."""
    following, stopping = [first], asyncio.Event()

    async def load() -> None:
        while not stopping.is_set():
            await send(settings, range(following[0], following[0] + 20))
            following[0] += 20
            await asyncio.sleep(0.1)

    task = asyncio.create_task(load())
    try:
        yield following
    finally:
        stopping.set()
        await task


async def finished(settings: Settings, count: int, within_s: float = 40) -> None:
    """Wait until all are handled and published."""

    async def all_out() -> bool:
        async with connection_to(settings.postgres_dsn.get_secret_value()) as connection:
            return bool(
                await connection.fetchval(
                    "SELECT (SELECT count(*) FROM inbox) = $1 AND NOT EXISTS (SELECT FROM outbox)", count
                )
            )

    await until(all_out, within_s, f"{count} messages handled and published")


async def check_output(settings: Settings, count: int) -> int:
    """Every message once and the numbers of each key in order, for a reader that drops what it has seen.

    Returns how many records came twice. The messages of a key keep their order within each topic.
    """
    topic = TopicNames(settings.kafka_topic_prefix).actual("credit-issued")
    seen: dict[bytes, int] = {}
    ids: dict[bytes, list[int]] = {}
    found = await consume(settings.kafka_bootstrap_servers, [topic])
    for record in found:
        event = json.loads(record.value)
        if event["seq"] > seen.get(record.key, 0):
            assert event["seq"] == seen.get(record.key, 0) + 1
            seen[record.key] = event["seq"]
            ids.setdefault(record.key, []).append(int(event["id"]))
    assert sorted(number for numbers in ids.values() for number in numbers) == list(range(count))
    assert all(part == sorted(part) for numbers in ids.values() for part in _by_topic(numbers))
    return len(found) - count


def _by_topic(numbers: list[int]) -> list[list[int]]:
    return [[number for number in numbers if number % 2 == rest] for rest in (0, 1)]


async def lease_holder(settings: Settings, services: list[ServiceProcess]) -> ServiceProcess:
    """The process that publishes."""
    async with connection_to(settings.postgres_dsn.get_secret_value()) as connection:
        holder: str = await connection.fetchval("SELECT holder FROM leases WHERE name = 'relay'")
    return next(service for service in services if f"-{service.process.pid}-" in holder)


async def took_over(service: ServiceProcess, silent_at: float) -> None:
    """Wait until a process publishes, and hold it to its promise, by the moment that its own log names."""

    def leads() -> list[float]:
        lines = [line for line in service.lines() if line["event"] == "relay leads"]
        times = [datetime.fromisoformat(line["timestamp"]).timestamp() for line in lines]
        return [at for at in times if at > silent_at]

    await until(lambda: bool(leads()), 15, "another process publishes")
    assert leads()[0] - silent_at <= MOST_S_TO_TAKE_OVER


async def published(settings: Settings, more_than: int) -> bool:
    """Whether the outbox is drained up to a moment after so many were handled."""
    async with connection_to(settings.postgres_dsn.get_secret_value()) as connection:
        return bool(
            await connection.fetchval(
                "SELECT (SELECT count(*) FROM inbox) > $1 AND (SELECT count(*) FROM outbox) < 100", more_than
            )
        )


@pytest.mark.faults
async def test_the_publishing_process_is_killed_and_the_next_one_stopped(
    kafka: str, database: str, topic_prefix: str, tmp_path: Path
) -> None:
    settings = await prepared(kafka, database, topic_prefix)
    with (
        counting_process(settings, tmp_path / "one") as one,
        counting_process(settings, tmp_path / "two") as two,
    ):
        await asyncio.gather(one.ready(), two.ready())
        async with steady_load(settings, 0) as following:
            await until(lambda: following[0] > 200)
            first = await lease_holder(settings, [one, two])
            second = two if first is one else one
            silent_at = time.time()
            first.kill()
            await took_over(second, silent_at)
            first.restart()
            await first.ready()

            silent_at = time.time()
            second.signal(signal.SIGSTOP)
            await took_over(first, silent_at)
            so_far = await handled(settings)
            # Longer than the session: what the stopped process had taken is handled by the other one.
            await until(lambda: published(settings, so_far + 300), 30, "the other process took over")
            second.signal(signal.SIGCONT)
            await asyncio.gather(first.ready(), second.ready())
        await finished(settings, following[0])
        doubled = await check_output(settings, following[0])
        assert doubled < 500


async def test_the_broker_is_restarted_and_killed(
    own_kafka: Kafka, database: str, topic_prefix: str, tmp_path: Path
) -> None:
    settings = await prepared(own_kafka.bootstrap_servers, database, topic_prefix)
    with counting_process(settings, tmp_path / "log") as service:
        await service.ready()
        await send(settings, range(3000))
        await until(lambda: _handled(settings, 300), 20)
        own_kafka.server.restart()
        await until(lambda: _handled(settings, 2500), 30)
        await send(settings, range(3000, 6000))
        await until(lambda: _handled(settings, 3300), 30)
        own_kafka.server.kill()
        own_kafka.server.start()
        await finished(settings, 6000, 60)
        await check_output(settings, 6000)
        assert service.process.poll() is None
        service.signal(signal.SIGTERM)
        assert await service.ended(10) == 0


async def _handled(settings: Settings, count: int) -> bool:
    return await handled(settings) >= count


async def test_the_database_is_restarted_and_killed(
    kafka: str, own_postgres: Postgres, topic_prefix: str, tmp_path: Path
) -> None:
    dsn = urlsplit(own_postgres.dsn).geturl()
    await migrate(dsn)
    settings = await prepared(kafka, dsn, topic_prefix)
    with counting_process(settings, tmp_path / "log") as service:
        await service.ready()
        await send(settings, range(2000))
        await until(lambda: _handled(settings, 300), 20)
        own_postgres.server.restart()
        await until(lambda: _handled(settings, 600), 20)
        own_postgres.server.kill()
        own_postgres.server.start()
        await until(lambda: _handled(settings, 1000), 20)
        own_postgres.server.pause()
        await asyncio.sleep(1)
        own_postgres.server.resume()
        await finished(settings, 2000)
        await check_output(settings, 2000)
        await service.ready()
        service.signal(signal.SIGTERM)
        assert await service.ended(10) == 0
