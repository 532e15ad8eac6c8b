"""Ready means that what comes in is handled and what was handled gets out; `avoir status` says the same."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
from aiokafka import AIOKafkaProducer

from avoir.process.wiring import names_of
from avoir.settings import Settings
from deploy.local.harness.databases import connection_to
from deploy.local.harness.service import avoir, settings_for
from deploy.local.harness.topics import delete_topic, make_all_topics, make_topics
from deploy.local.harness.waiting import until
from tests.integration.counting_handler import OUT
from tests.integration.running import FACT, OTHER, Run, handled, running, send, until_handled

UNREADY_S, HELD_S = 2.0, 2.0

pytestmark = pytest.mark.timeout(300)  # many waits, and commands in processes of their own


@pytest.fixture(autouse=True)
def measured_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("avoir.process.watch._EVERY_S", 0.2)
    monkeypatch.setattr("avoir.process.wiring.METADATA_MAX_AGE_MS", 2_000)


@pytest.fixture
async def settings(kafka: str, database: str, topic_prefix: str) -> Settings:
    settings = settings_for(
        kafka, database, topic_prefix, unready_after_s=UNREADY_S, held_after_s=HELD_S, stuck_after_s=600
    )
    await make_all_topics(settings)
    return settings


async def until_says(run: Run, check: str, what: str, within_s: float = 30) -> str:
    """Wait until a check says something, and return all of it."""
    checks: dict[str, str] = {}

    async def says() -> bool:
        nonlocal checks
        checks = await run.service.health.checks()
        return what in checks[check]

    try:
        await until(says, within_s)
    except AssertionError:
        raise AssertionError(f"{check} says {checks[check]!r}, not {what!r}") from None
    sentence = run.service.health.sentence(checks)
    assert sentence.startswith("Does not keep up: ") and what in sentence
    return checks[check]


async def until_ready(run: Run) -> None:
    async def ready() -> bool:
        return set((await run.service.health.checks()).values()) == {"ok"}

    await until(ready, 40, "ready")
    assert run.service.health.sentence(await run.service.health.checks()).startswith("Keeps up: ")


async def status(settings: Settings) -> str:
    """What `avoir status` says first."""
    says: str = json.loads(await avoir(settings, "status", "--json"))["says"]
    return says


@asynccontextmanager
async def locked_account(settings: Settings) -> AsyncIterator[None]:
    """Somebody holds the row of one account."""
    async with (
        connection_to(settings.postgres_dsn.get_secret_value()) as connection,
        connection.transaction(),
    ):
        await connection.execute("SELECT FROM accounts WHERE owner_id = 'key-1' FOR UPDATE")
        yield


@asynccontextmanager
async def full_disk(settings: Settings) -> AsyncIterator[None]:
    """The database refuses to write, as it does when its disk is full."""
    async with connection_to(settings.postgres_dsn.get_secret_value()) as connection:
        await connection.execute(
            """
            CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN RAISE 'could not extend file: No space left on device' USING ERRCODE = 'disk_full'; END $$;
            CREATE TRIGGER refuse BEFORE INSERT ON inbox EXECUTE FUNCTION refuse()
            """
        )
        yield
        await connection.execute("DROP TRIGGER refuse ON inbox")


@pytest.mark.parametrize("fault", [locked_account, full_disk])
async def test_messages_that_are_not_handled_make_it_unready(
    settings: Settings, fault: Callable[[Settings], AbstractAsyncContextManager[None]]
) -> None:
    async with running(settings) as run:
        await send(settings, range(14), (FACT, OTHER))
        await until_handled(settings, 14)
        await until_ready(run)
        async with fault(settings):
            await send(settings, range(14, 28), (FACT, OTHER))
            said = await until_says(run, "loop", "not moved for")
            assert "messages wait" in said
            outside = await status(settings)
            assert outside.startswith("Does not keep up: ") and "not moved for" in outside
        await until_handled(settings, 28, 40)
        await until_ready(run)
        assert (await avoir(settings, "status")).startswith("Keeps up: ")


async def test_a_message_of_a_time_to_come_hides_no_partition_that_stands_still(settings: Settings) -> None:
    topic, in_an_hour_ms = names_of(settings).actual(FACT), int((time.time() + 3_600) * 1000)
    async with running(settings) as run:
        async with AIOKafkaProducer(bootstrap_servers=settings.kafka_bootstrap_servers) as producer:
            for n in range(2):
                await producer.send_and_wait(topic, b"%d" % n, partition=n, timestamp_ms=in_an_hour_ms)
        await until_handled(settings, 2)
        run.handler.fault = ConnectionError("not now")
        await send(settings, range(2, 12), (FACT,))
        await until_says(run, "loop", "not moved for")
        await asyncio.sleep(UNREADY_S)
        assert "not moved for" in await status(settings)
        run.handler.fault = None
        await until_handled(settings, 12)
        assert (await status(settings)).startswith("Keeps up: ")


async def test_events_whose_topic_is_missing_make_every_process_unready(settings: Settings) -> None:
    topic = names_of(settings).actual(OUT)
    async with running(settings) as first, running(settings) as second:
        await send(settings, range(10))
        await until_handled(settings, 10, 30)
        await asyncio.gather(until_ready(first), until_ready(second))
        await delete_topic(settings.kafka_bootstrap_servers, topic)
        await send(settings, range(10, 20))
        await until_handled(settings, 20, 30)
        for run in (first, second):
            assert f"topic {topic} is missing" in await until_says(run, "outbox", "the oldest for")
        assert f"topic {topic} is missing" in await status(settings)
        await make_topics(settings.kafka_bootstrap_servers, [topic], 2)
        await asyncio.gather(until_ready(first), until_ready(second))


async def test_events_that_nobody_publishes_make_it_unready_and_name_who_should(settings: Settings) -> None:
    async with running(settings) as run:
        await send(settings, range(10))
        await until_handled(settings, 10)
        await until_ready(run)
        stopping = asyncio.Event()
        ghost = asyncio.create_task(_renewing(settings, stopping))
        await send(settings, range(10, 20))
        await until_handled(settings, 20)
        said = await until_says(run, "outbox", "a process that hangs holds the lease")
        assert "events wait, the oldest for" in said
        assert "a process that hangs" in await status(settings)
        stopping.set()
        await ghost
        await until_ready(run)


async def _renewing(settings: Settings, stopping: asyncio.Event) -> None:
    """Hold the lease to publish, and publish nothing."""
    async with connection_to(settings.postgres_dsn.get_secret_value()) as connection:
        while not stopping.is_set():
            await connection.execute(
                "UPDATE leases SET holder = 'a process that hangs', "
                "held_until = clock_timestamp() + interval '1 s' WHERE name = 'relay'"
            )
            await asyncio.sleep(0.2)


async def test_a_missing_topic_in_makes_it_unready(settings: Settings) -> None:
    topic = names_of(settings).actual("invoice-voided")
    async with running(settings) as run:
        await until_ready(run)
        await delete_topic(settings.kafka_bootstrap_servers, topic)
        await until_says(run, "loop", f"topic {topic} is missing")
        assert f"topic {topic} is missing" in await status(settings)


async def test_a_transaction_left_open_is_told_and_short_ones_are_not(settings: Settings) -> None:
    topic, sample = names_of(settings).actual(FACT), None
    async with (
        running(settings) as run,
        AIOKafkaProducer(
            bootstrap_servers=settings.kafka_bootstrap_servers, transactional_id=settings.kafka_group_id
        ) as producer,
    ):
        sample = run.service.metrics.registry.get_sample_value
        await run.joined()
        begun = asyncio.get_running_loop().time()
        count = 0
        while asyncio.get_running_loop().time() < begun + 2 * HELD_S:
            async with producer.transaction():
                await producer.send_and_wait(topic, b"%d" % count, b"k", partition=0)
            count += 1
            assert sample("avoir_held_partitions") == 0
        await until_handled(settings, count, 30)

        await producer.begin_transaction()
        await producer.send_and_wait(topic, b"open", b"k", partition=0)
        await send(settings, range(1000, 1010), (OTHER,))
        await until_handled(settings, count + 10, 30)
        await until_says(run, "transactions", f"{FACT}/0 is held by a transaction")
        await until(lambda: sample("avoir_held_partitions") == 1)
        await until(lambda: sample("avoir_lag_messages", {"topic": FACT}) == 1)
        assert f"{FACT}/0 is held by a transaction" in await status(settings)
        topics = json.loads(await avoir(settings, "status", "--json"))["topics"]
        assert {each["topic"]: each["lag"] for each in topics if each["lag"]} == {FACT: 1}
        assert await handled(settings) == count + 10

        await producer.abort_transaction()
        await until_ready(run)
        await until(
            lambda: sample("avoir_held_partitions") == sample("avoir_lag_messages", {"topic": FACT}) == 0
        )
