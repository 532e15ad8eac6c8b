"""The consumer loop against a real broker and database, with a handler that counts."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

import asyncpg
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy as BuilderInPython
from confluent_kafka import Producer

from avoir.kafka.topics import EVENTS, FACTS, TopicNames
from avoir.postgres.connect import KeptConnection
from avoir.record import Record
from avoir.retry import StopServiceError
from avoir.service import Service
from avoir.settings import Settings
from avoir.wiring import build, names_of
from tests.integration.stage import connection_to, consume, make_topics, produce, settings_for, until
from tests.integration.tally import OUT, Tally

FACT, OTHER = "booking-cancelled", "invoice-finalized"


@dataclass
class Run:
    """A service that runs in this process, and its counting handler."""

    service: Service
    tally: Tally
    stopping: asyncio.Event

    async def joined(self) -> None:
        await until(lambda: self.service.loop.state.doing == "reading", what="joined the group")


@pytest.fixture
async def settings(kafka: str, database: str, topic_prefix: str) -> Settings:
    names = TopicNames(topic_prefix)
    await make_topics(kafka, [names.actual(topic) for topic in (*FACTS, *EVENTS)], partitions=2)
    return settings_for(kafka, database, topic_prefix)


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Run]:
    tallies: list[Tally] = []

    def make(settings: Settings, connection: KeptConnection) -> Tally:
        tallies.append(Tally(settings, connection))
        return tallies[-1]

    service, stopping = build(settings, make), asyncio.Event()
    task = asyncio.create_task(service.run(stopping))
    try:
        yield Run(service, tallies[0], stopping)
    finally:
        stopping.set()
        await asyncio.wait_for(task, 15)


async def handled(settings: Settings) -> int:
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


async def test_every_message_is_handled_once_and_positions_are_in_postgres(settings: Settings) -> None:
    await send(settings, range(500))
    async with running(settings) as run:
        await until_handled(settings, 500)
        await send(settings, range(500, 600))
        await until_handled(settings, 600)
        assert {record.topic for batch in run.tally.batches for record in batch} == {FACT, OTHER}
    assert sum((await positions(settings)).values()) == 600
    await check_output_after_restart(settings, 600)


async def until_handled(settings: Settings, count: int, within_s: float = 20) -> float:
    async def there() -> bool:
        return await handled(settings) >= count

    return await until(there, within_s, f"{count} messages handled")


async def check_output_after_restart(settings: Settings, count: int) -> None:
    async with running(settings):
        await check_output(settings, count)


async def test_a_renamed_topic_keeps_its_default_name(
    settings: Settings, kafka: str, topic_prefix: str
) -> None:
    other = topic_prefix + "elsewhere.cancellations"
    await make_topics(kafka, [other], partitions=1)
    renamed = settings.model_copy(update={"kafka_topics": {FACT: other}})
    await produce(kafka, [(other, b"k", b"1")])
    async with running(renamed) as run:
        await until_handled(renamed, 1)
        assert run.tally.batches[0][0].topic == FACT
    assert (await positions(renamed))[(FACT, 0)] == 1


async def test_a_database_restored_to_an_earlier_moment_catches_up_by_itself(settings: Settings) -> None:
    await send(settings, range(50))
    async with running(settings):
        await until_handled(settings, 50)
    async with connection_to(settings.postgres_dsn.get_secret_value()) as connection:
        await connection.execute(
            "UPDATE consumer_offsets SET next_offset = 0; DELETE FROM inbox WHERE event_id < '3'"
        )
    async with running(settings):
        await until_handled(settings, 50)
    assert sum((await positions(settings)).values()) == 50


async def test_positions_moved_by_somebody_else_fence_the_batch(settings: Settings) -> None:
    async with running(settings) as run:
        await run.joined()
        await send(settings, range(10))
        await until_handled(settings, 10)
        async with connection_to(settings.postgres_dsn.get_secret_value()) as connection:
            await connection.execute("UPDATE consumer_offsets SET next_offset = 0")
        await send(settings, range(10, 20))
        await until_handled(settings, 20)
    assert sum((await positions(settings)).values()) == 20
    await check_output_after_restart(settings, 20)


async def test_errors_of_the_handler_are_waited_out(settings: Settings) -> None:
    async with running(settings) as run:
        await run.joined()
        for fault in (asyncpg.DeadlockDetectedError("x"), asyncpg.InternalClientError("x"), KeyError("x")):
            before = len(run.tally.batches)
            run.tally.fault = fault
            if before == 0:
                await send(settings, range(10))
            await until(partial(_grew, run.tally.batches, before))
        assert await handled(settings) == 0
        run.tally.fault = None
        await until_handled(settings, 10)


def _grew(batches: list[list[Record]], before: int) -> bool:
    return len(batches) > before


async def test_a_wrong_schema_stops_the_service(settings: Settings) -> None:
    async with running(settings) as run:
        await run.joined()
        run.tally.fault = asyncpg.UndefinedColumnError("no such column")
        await send(settings, range(3))
        await asyncio.wait_for(run.stopping.wait(), 10)
        assert "avoir migrate" in run.service.fault
    with pytest.raises(StopServiceError):
        raise StopServiceError(run.service.fault)


async def test_too_many_parked_messages_stop_consuming(settings: Settings) -> None:
    names = names_of(settings)
    async with running(settings) as run:
        await run.joined()
        parked = [(names.actual(FACT), b"k", b"park%d" % n) for n in range(11)]
        await produce(settings.kafka_bootstrap_servers, parked)
        await until(lambda: run.service.loop.breaker.open)
        await until(lambda: run.service.consumer() is None)
        await send(settings, range(5))
        assert (await run.service.health.checks())["breaker"].startswith("open")
        assert await handled(settings) == 11


async def test_a_record_that_cannot_be_read_stops_its_partition_until_it_is_passed_by(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("avoir.kafka.loop._RECHECK_S", 0.5)
    topic = names_of(settings).actual(FACT)
    producer = Producer({"bootstrap.servers": settings.kafka_bootstrap_servers})
    for n in range(5):
        producer.produce(topic, b"%d" % n, b"k", partition=0)
    assert producer.flush(10) == 0
    for module in ("producer", "message_accumulator"):
        monkeypatch.setattr(f"aiokafka.producer.{module}.DefaultRecordBatchBuilder", BuilderInPython)
    async with AIOKafkaProducer(bootstrap_servers=settings.kafka_bootstrap_servers) as raw:
        await raw.send_and_wait(topic, b"bad", b"k", partition=0, headers=[(_NotText("name"), b"")])
        for n in range(5, 10):
            await raw.send_and_wait(topic, b"%d" % n, b"k", partition=0)
            await raw.send_and_wait(topic, b"%d" % (n + 5), b"k", partition=1)
    async with running(settings) as run:
        await until_handled(settings, 10)
        await until(lambda: bool(run.service.loop.reader.unreadable))
        checks = await run.service.health.checks()
        assert f"{topic} 0 5" in checks["offsets"]
        assert (await positions(settings))[(FACT, 0)] == 5
        async with connection_to(settings.postgres_dsn.get_secret_value()) as connection:
            await connection.execute(
                "UPDATE consumer_offsets SET next_offset = 6 WHERE topic = $1 AND partition = 0", FACT
            )
        await until_handled(settings, 15)
        assert (await positions(settings))[(FACT, 0)] == 11


class _NotText(str):
    """A header name that the client writes as bytes which are no UTF-8."""

    def encode(self, *_: object) -> bytes:
        return b"\xff\xfe"


async def test_a_position_outside_of_the_topic_stops_the_partition_only(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("avoir.kafka.loop._RECHECK_S", 0.5)
    async with connection_to(settings.postgres_dsn.get_secret_value()) as connection:
        await connection.execute(
            "INSERT INTO consumer_offsets VALUES ($1, $2, 0, 500)", settings.kafka_group_id, FACT
        )
        async with running(settings) as run:
            await send(settings, range(100))
            await until(lambda: bool(run.service.loop.assignment.out_of_range))
            await until_handled(settings, 40)
            assert "stands at 500" in (await run.service.health.checks())["offsets"]
            assert all(
                record.topic != FACT or record.partition != 0 for b in run.tally.batches for record in b
            )
            await connection.execute("UPDATE consumer_offsets SET next_offset = 0 WHERE next_offset = 500")
            await until_handled(settings, 100)


async def test_two_services_share_the_partitions_and_lose_nothing(settings: Settings) -> None:
    async with running(settings) as first:
        await first.joined()
        await send(settings, range(200))
        async with running(settings) as second:
            await send(settings, range(200, 400))
            await until(lambda: len(second.service.loop.assignment.positions or {}) > 0, 15)
            await send(settings, range(400, 600))
            await until_handled(settings, 600)
            assert second.tally.batches
        await send(settings, range(600, 700))
        await until_handled(settings, 700)
        await check_output(settings, 700)
