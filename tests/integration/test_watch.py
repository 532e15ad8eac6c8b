"""What the service measures and says of itself, and that it ends when it stands still."""

import asyncio
import time

import asyncpg
import pytest
from aiokafka import AIOKafkaProducer

from avoir.kafka.client import client_of
from avoir.kafka.topics import missing_topics
from avoir.postgres.migrate import migrate
from avoir.process.wiring import names_of
from avoir.settings import Settings
from avoir.wire.topics import EVENTS, SUBSCRIBED
from deploy.local.harness.databases import connection_to
from deploy.local.harness.service import settings_for
from deploy.local.harness.topics import delete_topic, make_all_topics, make_topics
from deploy.local.harness.waiting import until
from tests.integration.running import FACT, Run, running, send, until_handled


@pytest.fixture
def settings(kafka: str, database: str, topic_prefix: str) -> Settings:
    return settings_for(kafka, database, topic_prefix)


@pytest.fixture
def measured_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("avoir.process.watch._EVERY_S", 0.05)


def _metric(run: Run, name: str, **labels: str) -> float | None:
    return run.service.metrics.registry.get_sample_value(name, labels)


async def _checks(run: Run) -> dict[str, str]:
    return await run.service.health.checks()


@pytest.mark.usefixtures("measured_often")
async def test_lag_and_backlog_are_measured(settings: Settings) -> None:
    await make_all_topics(settings)
    async with running(settings) as run:
        await run.joined()
        run.handler.fault = KeyError("not now")
        await send(settings, range(10), (FACT,))
        await until(lambda: _metric(run, "avoir_lag_messages", topic=FACT) == 10)
        await until(lambda: (_metric(run, "avoir_oldest_unhandled_seconds") or 0) > 0.1)
        run.handler.fault = None
        await until(lambda: _metric(run, "avoir_lag_messages", topic=FACT) == 0)
        await until(lambda: _metric(run, "avoir_oldest_unhandled_seconds") == 0)
        await until(lambda: _metric(run, "avoir_outbox_rows") == 0)
        assert _metric(run, "avoir_messages_total", topic="tally", outcome="issued") == 10


@pytest.mark.usefixtures("measured_often")
async def test_the_oldest_waiting_message_is_as_old_as_kafka_says(settings: Settings) -> None:
    names = await make_all_topics(settings)
    hour_ms = 3_600_000
    async with AIOKafkaProducer(bootstrap_servers=settings.kafka_bootstrap_servers) as producer:
        an_hour_ago = int(time.time() * 1000) - hour_ms
        await producer.send_and_wait(names.actual(FACT), b"1", b"k", timestamp_ms=an_hour_ago)
    async with running(settings) as run:
        run.handler.fault = KeyError("not now")
        await until(lambda: (_metric(run, "avoir_oldest_unhandled_seconds") or 0) > 3599)
        run.handler.fault = None
        await until(lambda: _metric(run, "avoir_oldest_unhandled_seconds") == 0)


@pytest.mark.usefixtures("measured_often")
@pytest.mark.parametrize("timestamp_ms", [0, 86_400_000], ids=["none", "1970"])
async def test_a_time_that_a_producer_made_up_raises_no_alarm(settings: Settings, timestamp_ms: int) -> None:
    names = await make_all_topics(settings)
    impossible = list[float]()

    def alarmed() -> bool:
        age = _metric(run, "avoir_oldest_unhandled_seconds") or 0
        if age > 3_600:
            impossible.append(age)
        return (_metric(run, "avoir_lag_messages", topic=FACT) or 0) > 0 and age > 0.5

    async with AIOKafkaProducer(bootstrap_servers=settings.kafka_bootstrap_servers) as producer:
        await producer.send_and_wait(names.actual(FACT), b"1", b"k", timestamp_ms=timestamp_ms)
        async with running(settings) as run:
            run.handler.fault = KeyError("not now")
            await until(alarmed)
            run.handler.fault = None
            await until_handled(settings, 1)
            await until(lambda: _metric(run, "avoir_oldest_unhandled_seconds") == 0)
            run.handler.fault = KeyError("not now")
            # Now the process has seen the partition with nothing waiting: a time of an hour ago counts no more either.
            ago_ms = timestamp_ms or int(time.time() * 1000) - 7_200_000
            await producer.send_and_wait(names.actual(FACT), b"2", b"k", timestamp_ms=ago_ms)
            await until(alarmed)
            run.handler.fault = None
            await until_handled(settings, 2)
    assert not impossible


@pytest.mark.usefixtures("measured_often")
async def test_the_markers_of_a_transaction_are_no_lag_and_no_standstill(settings: Settings) -> None:
    names = await make_all_topics(settings)
    impatient = settings.model_copy(update={"stuck_after_s": 1.0})
    async with running(impatient) as run:
        await run.joined()
        async with AIOKafkaProducer(
            bootstrap_servers=settings.kafka_bootstrap_servers, transactional_id=settings.kafka_group_id
        ) as producer:
            async with producer.transaction():
                await producer.send(names.actual(FACT), b"1", b"k", partition=0)
            await producer.begin_transaction()
            await producer.send_and_wait(names.actual(FACT), b"2", b"k", partition=0)
            await producer.abort_transaction()
        await until_handled(settings, 1)
        await until(lambda: _metric(run, "avoir_lag_messages", topic=FACT) == 0)
        await asyncio.sleep(1.5)
        assert not run.stopping.is_set()
        assert _metric(run, "avoir_lag_messages", topic=FACT) == 0
        await send(settings, range(2, 4), (FACT,))
        await until_handled(settings, 3)


@pytest.mark.usefixtures("measured_often")
async def test_it_names_the_topics_that_are_missing(settings: Settings) -> None:
    names = names_of(settings)
    first_in, first_out = (names.actual(min(topics)) for topics in (SUBSCRIBED, EVENTS))
    async with running(settings) as run:

        async def says_so() -> bool:
            checks = await _checks(run)
            return (
                checks["group"] == "not joined"
                and checks["relay"] == checks["database"] == "ok"
                and f"topics {first_in}," in checks["loop"]
                and f"topics {first_out}," in checks["outbox"]
            )

        await until(says_so)
        assert f"topics {first_in}," in run.service.health.sentence(await _checks(run))
        await make_all_topics(settings)
        await until(lambda: _ready(run))


@pytest.mark.usefixtures("measured_often")
async def test_a_process_that_starts_without_a_topic_out_handles_messages_and_names_it(
    settings: Settings,
) -> None:
    names = await make_all_topics(settings)
    lost, client = names.actual("credit-drawn"), client_of(settings)
    await delete_topic(settings.kafka_bootstrap_servers, lost)

    async def is_gone() -> bool:
        return await missing_topics(client, [lost]) == [lost]

    await until(is_gone, 30)
    async with running(settings) as run:
        await send(settings, range(5))
        await until_handled(settings, 5)

        async def says_so() -> bool:
            return (await _checks(run))["outbox"] == f"topic {lost} is missing"

        await until(says_so)
        await make_topics(settings.kafka_bootstrap_servers, [lost], partitions=2)
        await until(lambda: _ready(run), 30)


@pytest.mark.parametrize("error", [asyncpg.LockNotAvailableError, asyncpg.DiskFullError])
async def test_it_waits_for_what_only_others_can_end_and_ends_when_it_stands_still_itself(
    settings: Settings, error: type[asyncpg.PostgresError]
) -> None:
    await make_all_topics(settings)
    impatient = settings.model_copy(update={"stuck_after_s": 5.0, "unready_after_s": 1.0})
    async with running(impatient) as run:
        await run.joined()
        run.handler.fault = error("not now")
        await send(settings, range(5))
        await until(lambda: "not now" in run.service.loop.state.last_error)
        await asyncio.sleep(10)
        assert not run.service.fault
        assert "not now" in (await _checks(run))["loop"]
        run.handler.fault = None
        await until_handled(settings, 5)
        run.handler.fault = KeyError("not now")
        await send(settings, range(5, 10))
        await until(lambda: "nothing has moved" in run.service.fault, 20)


async def _ready(run: Run) -> bool:
    return set((await _checks(run)).values()) == {"ok"}


async def test_it_waits_for_the_migrations(settings: Settings) -> None:
    await make_all_topics(settings)
    dsn = settings.postgres_dsn.get_secret_value()
    async with connection_to(dsn) as connection:
        await connection.execute("DROP SCHEMA avoir CASCADE")
    async with running(settings) as run:

        async def says_so() -> bool:
            return "avoir migrate" in (await _checks(run))["schema"]

        await until(says_so)
        await migrate(dsn)
        await until(lambda: _ready(run))
