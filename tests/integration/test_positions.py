"""Positions whose topic was made anew or does not have them any more: stopped until an operator sets an offset."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiokafka import AIOKafkaProducer

from avoir.process.wiring import names_of
from avoir.record import TopicPartition
from avoir.settings import Settings
from deploy.local.harness.databases import connection_to
from deploy.local.harness.records import produce
from deploy.local.harness.service import avoir, settings_for
from deploy.local.harness.topics import delete_records, make_all_topics, remake_topic
from deploy.local.harness.waiting import until
from tests.integration.running import FACT, OTHER, Run, handled, positions, running, send, until_handled

pytestmark = pytest.mark.timeout(300)  # many waits, and commands in processes of their own


@pytest.fixture(autouse=True)
def rechecked_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("avoir.kafka.loop._RECHECK_S", 0.5)
    monkeypatch.setattr("avoir.process.watch._EVERY_S", 0.2)
    monkeypatch.setattr("avoir.process.wiring.METADATA_MAX_AGE_MS", 2_000)


@pytest.fixture
async def settings(kafka: str, database: str, topic_prefix: str) -> Settings:
    settings = settings_for(kafka, database, topic_prefix)
    await make_all_topics(settings)
    return settings


async def fill(settings: Settings, partition: int, ids: range) -> None:
    """Messages on one partition of the topic."""
    topic = names_of(settings).actual(FACT)
    records = [(topic, b"key-%d" % (n % 7), b"%d" % n) for n in ids]
    await produce(settings.kafka_bootstrap_servers, records, partition)


async def set_to_begin(settings: Settings, *partitions: int) -> None:
    for partition in partitions:
        await avoir(settings, "offsets", "set", FACT, str(partition), "begin", "--reason", "made anew")


async def stopped(settings: Settings) -> dict[tuple[str, int], str]:
    """What is stopped, as it is stored."""
    async with connection_to(settings.postgres_dsn.get_secret_value()) as connection:
        rows = await connection.fetch("SELECT * FROM consumer_offsets WHERE stopped IS NOT NULL")
    return {(row["topic"], row["partition"]): row["stopped"] for row in rows}


async def stays_stopped(settings: Settings, run: Run, partitions: set[int], others: range) -> None:
    """The alarm stays and nothing of the partitions is handled, while other topics go on, over many looks."""
    places = {(FACT, partition) for partition in partitions}
    before, count = (
        {place: (await positions(settings)).get(place) for place in places},
        await handled(settings),
    )
    for n in others:
        await send(settings, range(n, n + 1), (OTHER,))
        await until_handled(settings, count + n - others.start + 1)
        looked = run.service.loop._checked_at
        await until(lambda at=looked: run.service.loop._checked_at > at)  # type: ignore[misc]
        checks = await run.service.health.checks()
        assert all(f"{topic}/{partition} stands at" in checks["offsets"] for topic, partition in places)
        assert set(await stopped(settings)) == places
    assert {place: (await positions(settings)).get(place) for place in places} == before
    sample = run.service.metrics.registry.get_sample_value
    await until(lambda: sample("avoir_stopped_partitions") == len(places))


async def test_a_topic_made_anew_and_refilled_while_the_service_runs_is_noticed(settings: Settings) -> None:
    kafka, topic = settings.kafka_bootstrap_servers, names_of(settings).actual(FACT)
    async with running(settings) as run:
        await fill(settings, 0, range(30))
        await fill(settings, 1, range(30, 40))
        await until_handled(settings, 40)
        await remake_topic(kafka, topic, 2)
        await fill(settings, 0, range(100, 190))  # past the old position
        await fill(settings, 1, range(200, 205))  # not as far as it
        await until(lambda: set(run.service.loop.assignment.stopped) == {(FACT, 0), (FACT, 1)}, 60)
        await stays_stopped(settings, run, {0, 1}, range(1000, 1004))
    async with running(settings) as run:
        await until(lambda: set(run.service.loop.assignment.stopped) == {(FACT, 0), (FACT, 1)}, 30)
        await stays_stopped(settings, run, {0, 1}, range(1004, 1006))
        assert "does not keep up" in (await avoir(settings, "status")).lower()
        assert "outside" in await avoir(settings, "offsets", "list", code=1)
        await set_to_begin(settings, 0, 1)
        await until_handled(settings, 40 + 90 + 5 + 6, 30)
        assert await stopped(settings) == {}
        await until(lambda: run.service.loop.assignment.stopped == {}, 30)
        assert (await run.service.health.checks())["offsets"] == "ok"
    now = await positions(settings)
    assert (now[(FACT, 0)], now[(FACT, 1)]) == (90, 5)


async def test_a_topic_made_anew_while_nothing_runs_is_noticed_at_the_start(settings: Settings) -> None:
    kafka, topic = settings.kafka_bootstrap_servers, names_of(settings).actual(FACT)
    async with running(settings):
        await fill(settings, 0, range(30))
        await until_handled(settings, 30)
    await remake_topic(kafka, topic, 2)
    await fill(settings, 0, range(100, 190))
    async with running(settings) as first, running(settings) as second:

        def all_noticed() -> bool:
            return {
                **first.service.loop.assignment.stopped,
                **second.service.loop.assignment.stopped,
            }.keys() == {
                (FACT, 0),
                (FACT, 1),
            }

        await until(all_noticed, 30)
        await send(settings, range(1000, 1010), (OTHER,))
        await until_handled(settings, 40, 30)
        await set_to_begin(settings, 0, 1)
        await until_handled(settings, 40 + 90, 30)


async def test_a_position_beyond_the_end_stays_stopped_when_the_topic_is_filled_past_it(
    settings: Settings,
) -> None:
    async with connection_to(settings.postgres_dsn.get_secret_value()) as connection:
        await connection.execute(
            "INSERT INTO consumer_offsets VALUES ($1, $2, 0, 50)", settings.kafka_group_id, FACT
        )
    await fill(settings, 0, range(10))
    async with running(settings) as run:
        await until(lambda: (FACT, 0) in run.service.loop.assignment.stopped, 30)
        await fill(settings, 0, range(10, 100))
        await stays_stopped(settings, run, {0}, range(1000, 1004))
        await set_to_begin(settings, 0)
        await until_handled(settings, 104, 30)


async def test_a_position_whose_records_were_deleted_while_the_service_runs_is_stopped(
    settings: Settings,
) -> None:
    async with running(settings) as run:
        await fill(settings, 0, range(10))
        await until_handled(settings, 10)
        run.handler.fault = ConnectionError("not now")
        await fill(settings, 0, range(10, 30))
        await delete_records(settings.kafka_bootstrap_servers, names_of(settings).actual(FACT), 0, 20)
        await until(lambda: (FACT, 0) in run.service.loop.assignment.stopped, 30)
        run.handler.fault = None
        await stays_stopped(settings, run, {0}, range(1000, 1003))
        await set_to_begin(settings, 0)
        await until_handled(settings, 10 + 10 + 3, 30)


async def test_ids_of_topics_that_are_not_known_yet_are_filled_in(settings: Settings) -> None:
    async with connection_to(settings.postgres_dsn.get_secret_value()) as connection:
        await connection.execute(
            "INSERT INTO consumer_offsets VALUES ($1, $2, 0, 0)", settings.kafka_group_id, FACT
        )

        async def known() -> bool:
            rows = await connection.fetch("SELECT topic, topic_id FROM consumer_offsets")
            ids = {(row["topic"], row["topic_id"]) for row in rows}
            return (
                len(rows) == 30 and None not in {i for _, i in ids} and len({i for _, i in ids}) == len(ids)
            )

        async with running(settings) as run:
            await until(known, 30)
            await fill(settings, 0, range(5))
            await until_handled(settings, 5)
            assert run.service.loop.assignment.stopped == {}


@asynccontextmanager
async def busy(settings: Settings) -> AsyncIterator[None]:
    """Messages on another topic, one after the other without a pause."""
    topic, stopping = names_of(settings).actual(OTHER), asyncio.Event()

    async def load() -> None:
        async with AIOKafkaProducer(bootstrap_servers=settings.kafka_bootstrap_servers) as producer:
            n = 10_000
            while not stopping.is_set():
                await producer.send_and_wait(topic, b"%d" % n, b"k")
                n += 1

    task = asyncio.create_task(load())
    try:
        yield
    finally:
        stopping.set()
        await task


async def test_positions_go_past_the_markers_of_transactions_while_others_are_busy(
    settings: Settings,
) -> None:
    topic = names_of(settings).actual(FACT)
    async with running(settings), busy(settings):
        async with AIOKafkaProducer(
            bootstrap_servers=settings.kafka_bootstrap_servers, transactional_id=settings.kafka_group_id
        ) as producer:
            async with producer.transaction():
                await producer.send(topic, b"1", b"k", partition=0)
            await producer.begin_transaction()
            await producer.send_and_wait(topic, b"2", b"k", partition=0)
            await producer.abort_transaction()

        async def passed() -> bool:
            return (await positions(settings)).get((FACT, 0)) == 4

        await until(passed, 30)
        await fill(settings, 0, range(10, 15))

        async def handled_too() -> bool:
            return (await positions(settings)).get((FACT, 0)) == 9

        await until(handled_too, 30)
    async with connection_to(settings.postgres_dsn.get_secret_value()) as connection:
        ids = await connection.fetch("SELECT event_id FROM inbox WHERE length(event_id) < 5")
    assert {row["event_id"] for row in ids} == {"1", "10", "11", "12", "13", "14"}


@pytest.mark.parametrize(("offset", "left"), [("7", 1), ("end", 0)])
async def test_a_position_set_behind_an_open_transaction_waits_for_its_end(
    settings: Settings, offset: str, left: int
) -> None:
    topic = names_of(settings).actual(FACT)
    async with running(settings) as run:
        await fill(settings, 0, range(5))
        await until_handled(settings, 5)
        async with AIOKafkaProducer(
            bootstrap_servers=settings.kafka_bootstrap_servers, transactional_id=settings.kafka_group_id
        ) as producer:
            await producer.begin_transaction()
            for n in range(5, 8):
                await producer.send_and_wait(topic, b"%d" % n, b"k", partition=0)
            reason = ("--reason", "pass by what was sent twice")
            await avoir(settings, "offsets", "set", FACT, "0", offset, *reason)
            await until(
                lambda: (run.service.loop.assignment.positions or {}).get(TopicPartition(FACT, 0)) == 8 - left
            )
            looked = run.service.loop._checked_at
            await until(lambda: run.service.loop._checked_at > looked)
            assert await stopped(settings) == {}
            assert (await run.service.health.checks())["offsets"] == "ok"
            await avoir(settings, "offsets", "list")
            await producer.commit_transaction()
        await fill(settings, 0, range(8, 10))
        await until_handled(settings, 5 + left + 2)
        assert await handled(settings) == 5 + left + 2
