"""The consumer loop against a real broker and database, with a handler that counts."""

import asyncio
from functools import partial

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from confluent_kafka import Producer

from avoir.kafka.reader import Reader
from avoir.process.wiring import names_of
from avoir.record import Record
from avoir.settings import Settings
from deploy.local.harness.databases import connection_to
from deploy.local.harness.records import produce
from deploy.local.harness.service import avoir, settings_for
from deploy.local.harness.topics import make_all_topics, make_topics
from deploy.local.harness.waiting import until
from deploy.local.kafka import Kafka
from tests.acceptance.packing import ZSTD, batch
from tests.acceptance.packing import publish as publish_batches
from tests.integration.running import (
    FACT,
    OTHER,
    check_output,
    check_output_after_restart,
    handled,
    positions,
    running,
    send,
    until_handled,
)
from tests.integration.unreadable import produce_unreadable


@pytest.fixture
async def settings(kafka: str, database: str, topic_prefix: str) -> Settings:
    settings = settings_for(kafka, database, topic_prefix)
    await make_all_topics(settings)
    return settings


@pytest.fixture
async def own_settings(own_kafka: Kafka, database: str, topic_prefix: str) -> Settings:
    """Settings for the test's own broker, with all topics on it."""
    settings = settings_for(own_kafka.bootstrap_servers, database, topic_prefix)
    await make_all_topics(settings)
    return settings


async def test_every_message_is_handled_once_and_positions_are_in_postgres(settings: Settings) -> None:
    await send(settings, range(500))
    async with running(settings) as run:
        await until_handled(settings, 500)
        await send(settings, range(500, 600))
        await until_handled(settings, 600)
        assert {record.topic for batch in run.handler.batches for record in batch} == {FACT, OTHER}
    assert sum((await positions(settings)).values()) == 600
    await check_output_after_restart(settings, 600)


async def test_a_renamed_topic_keeps_its_default_name(
    settings: Settings, kafka: str, topic_prefix: str
) -> None:
    other = topic_prefix + "elsewhere.cancellations"
    await make_topics(kafka, [other], partitions=1)
    renamed = settings.model_copy(update={"kafka_topics": {FACT: other}})
    await produce(kafka, [(other, b"k", b"1")])
    async with running(renamed) as run:
        await until_handled(renamed, 1)
        assert run.handler.batches[0][0].topic == FACT
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
        for fault in (asyncpg.InternalClientError("x"), KeyError("x")):
            before = len(run.handler.batches)
            run.handler.fault = fault
            if before == 0:
                await send(settings, range(10))
            await until(partial(_grew, run.handler.batches, before))
        assert await handled(settings) == 0
        run.handler.fault = None
        await until_handled(settings, 10)


def _grew(batches: list[list[Record]], before: int) -> bool:
    return len(batches) > before


async def test_a_wrong_schema_stops_the_service(settings: Settings) -> None:
    async with running(settings) as run:
        await run.joined()
        run.handler.fault = asyncpg.UndefinedColumnError("no such column")
        await send(settings, range(3))
        await asyncio.wait_for(run.stopping.wait(), 10)
        assert "avoir migrate" in run.service.fault


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
    own_kafka: Kafka, own_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = own_settings
    monkeypatch.setattr("avoir.kafka.loop._RECHECK_S", 0.5)
    looks: list[Reader] = []
    look_again = Reader.look_again

    def counted(reader: Reader, consumer: AIOKafkaConsumer) -> None:
        looks.append(reader)
        look_again(reader, consumer)

    monkeypatch.setattr(Reader, "look_again", counted)
    topic = names_of(settings).actual(FACT)
    producer = Producer({"bootstrap.servers": settings.kafka_bootstrap_servers})
    for n in range(5):
        producer.produce(topic, b"%d" % n, b"k", partition=0)
    assert producer.flush(10) == 0
    await produce_unreadable(own_kafka, topic, 0)
    async with AIOKafkaProducer(bootstrap_servers=settings.kafka_bootstrap_servers) as raw:
        for n in range(5, 10):
            await raw.send_and_wait(topic, b"%d" % n, b"k", partition=0)
            await raw.send_and_wait(topic, b"%d" % (n + 5), b"k", partition=1)
    async with running(settings) as run:
        await until_handled(settings, 10, 30)
        await until(lambda: bool(run.service.loop.reader.unreadable), 30)
        before = len(looks)
        while len(looks) < before + 3:
            # The alarm stays while it is looked whether somebody has passed the record by.
            assert f"{topic} 0 5" in (await run.service.health.checks())["offsets"]
        assert (await positions(settings))[(FACT, 0)] == 5
        async with connection_to(settings.postgres_dsn.get_secret_value()) as connection:
            await connection.execute(
                "UPDATE consumer_offsets SET next_offset = 6 WHERE topic = $1 AND partition = 0", FACT
            )
        await until_handled(settings, 15)
        assert (await positions(settings))[(FACT, 0)] == 11


async def test_a_large_record_is_unpacked_to_its_end_beside_one_that_cannot_be_read(
    own_kafka: Kafka, own_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is unpacked does not begin anew each time it is looked whether somebody has passed the other record by."""
    monkeypatch.setattr("avoir.kafka.loop._RECHECK_S", 0.5)
    monkeypatch.setattr("avoir.kafka.batches.TURN_BYTES", 256 * 1024)
    settings = own_settings
    topic, kafka = names_of(settings).actual(FACT), settings.kafka_bootstrap_servers
    await produce_unreadable(own_kafka, topic, 0)
    async with running(settings) as run:
        await until(lambda: bool(run.service.loop.reader.unreadable), 30)
        large = batch([b"9" * 16 * 1024 * 1024, b"behind"], ZSTD)
        await asyncio.to_thread(publish_batches, kafka, topic, [(1, large)])
        await until_handled(settings, 2, 60)
        assert run.service.loop.reader.unreadable
    assert (await positions(settings))[(FACT, 1)] == 2


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
            await until(lambda: bool(run.service.loop.assignment.stopped))
            await until_handled(settings, 40)
            assert "stands at 500" in (await run.service.health.checks())["offsets"]
            assert all(
                record.topic != FACT or record.partition != 0 for b in run.handler.batches for record in b
            )
            await avoir(settings, "offsets", "set", FACT, "0", "begin", "--reason", "test")
            await until_handled(settings, 100)


async def test_a_position_that_is_set_while_the_partition_is_idle_counts_without_a_new_message(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("avoir.kafka.loop._RECHECK_S", 0.5)
    async with running(settings) as run:
        await send(settings, range(20), (FACT,))
        await until_handled(settings, 20)
        stood = {place: at for place, at in (await positions(settings)).items() if place[0] == FACT and at}
        async with connection_to(settings.postgres_dsn.get_secret_value()) as connection:
            await connection.execute("UPDATE consumer_offsets SET next_offset = 0 WHERE topic = $1", FACT)

        async def there_again() -> bool:
            now = await positions(settings)
            return {place: at for place, at in now.items() if place in stood} == stood

        await until(there_again, 30, "what was handled is read again")
        assert sum(map(len, run.handler.batches)) >= 40


async def test_two_services_share_the_partitions_and_lose_nothing(settings: Settings) -> None:
    async with running(settings) as first:
        await first.joined()
        await send(settings, range(200))
        async with running(settings) as second:
            await send(settings, range(200, 400))
            await until(lambda: len(second.service.loop.assignment.positions or {}) > 0, 15)
            await send(settings, range(400, 600))
            await until_handled(settings, 600)
            assert second.handler.batches
        await send(settings, range(600, 700))
        await until_handled(settings, 700)
        await check_output(settings, 700)


async def test_kafka_is_told_the_positions_as_a_hint(settings: Settings) -> None:
    await send(settings, range(40))
    async with running(settings):
        await until_handled(settings, 40)
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap_servers)
    await admin.start()
    try:
        offsets = await admin.list_consumer_group_offsets(settings.kafka_group_id)
    finally:
        await admin.close()
    names, stored = names_of(settings), await positions(settings)
    hints = {(names.default(at.topic), at.partition): meta.offset for at, meta in offsets.items()}
    assert hints == stored
