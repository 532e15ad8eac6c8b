"""A row that an outsider keeps locked: what concerns it waits, in its order, and everything else goes on."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from unittest.mock import patch

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from avoir.cli.status.query import read_status
from avoir.core.model.message import Message
from avoir.postgres.connect import Connection, Database, KeptConnection
from avoir.process.health import OK
from avoir.process.service import Service
from avoir.process.wiring import credit_handler
from avoir.record import Record, TopicPartition
from avoir.settings import Settings
from deploy.local.harness.databases import connection_to
from deploy.local.harness.service import avoir, settings_for
from deploy.local.harness.topics import make_all_topics
from deploy.local.harness.waiting import until
from tests.integration.records import value
from tests.integration.running import publish, serving, until_decided
from tests.unit.core.commands import drawn, granted
from tests.unit.core.world import cancelled, invoice, line, message, payment

ACCOUNT = "SELECT FROM avoir.accounts WHERE tenant_id = 't1' FOR UPDATE"
GRANT = "SELECT FROM avoir.grants WHERE tenant_id = 't1' FOR UPDATE"
BOOKING = "SELECT FROM avoir.subjects WHERE tenant_id = 't1' AND kind = 'booking' FOR UPDATE"


@pytest.fixture
async def settings(kafka: str, database: str, topic_prefix: str) -> Settings:
    settings = settings_for(kafka, database, topic_prefix)
    await make_all_topics(settings)
    return settings


@asynccontextmanager
async def locked(settings: Settings, statement: str) -> AsyncIterator[Connection]:
    """An outsider's session that locks rows and does nothing more."""
    async with connection_to(settings.postgres_dsn.get_secret_value()) as outsider:
        await outsider.execute("SET application_name = 'an outsider'")
        async with outsider.transaction():
            await outsider.execute(statement)
            yield outsider


async def deferred(settings: Settings) -> list[str]:
    """The topics of what waits, in its order."""
    async with connection_to(settings.postgres_dsn.get_secret_value()) as connection:
        return [row["topic"] for row in await connection.fetch("SELECT topic FROM deferred ORDER BY n")]


async def shown(service: Service, settings: Settings, count: int, kind: str) -> None:
    """The metric and the status say what waits, and for which row."""
    sample = service.metrics.registry.get_sample_value
    await until(lambda: sample("avoir_deferred_messages") == count, 30)
    async with connection_to(settings.postgres_dsn.get_secret_value()) as connection:
        waits = (await read_status(connection, settings.kafka_group_id)).deferred
    assert waits.messages == count and waits.oldest is not None
    assert [row.split("/")[:2] for row in waits.waits_for] == [[kind, "t1"]]


async def drawn_in_order(settings: Settings, tenant: str) -> list[str]:
    async with connection_to(settings.postgres_dsn.get_secret_value()) as connection:
        rows = await connection.fetch(
            "SELECT event_id FROM decisions WHERE topic = 'draw-credit' AND tenant_id = $1"
            " ORDER BY recorded_at, position",
            tenant,
        )
        return [row["event_id"] for row in rows]


def first(tenant: str) -> list[Message]:
    bill = invoice("i1", line("l1", "100", booking="b1"), paid="100")
    return [
        message(f"f-{tenant}", "06-01", bill, tenant),
        message(f"g-{tenant}", "06-01", granted("100"), tenant),
    ]


def more(tenant: str) -> list[Message]:
    """Draws, a payment, and what names no account; the second draw is above the balance."""
    draws = [
        message(f"d{n}-{tenant}", "06-02", drawn(amount), tenant)
        for n, amount in enumerate(("60", "160", "40"))
    ]
    return [
        *draws,
        message(f"p-{tenant}", "06-02", payment("p1", "10"), tenant),
        message(f"c-{tenant}", "06-02", cancelled("b1"), tenant),
    ]


TENANTS = [f"t{n}" for n in range(1, 9)]
OTHERS = TENANTS[1:]


async def prepared(settings: Settings) -> int:
    messages = [each for tenant in TENANTS for each in first(tenant)]
    await publish(settings, messages)
    async with serving(settings):
        await until_decided(settings, len(messages))
    return len(messages)


@pytest.mark.parametrize(
    ("statement", "waiting"), [(ACCOUNT, 5), (BOOKING, 1)], ids=["an account", "a booking"]
)
async def test_what_does_not_concern_a_locked_row_goes_on(
    statement: str, waiting: int, settings: Settings
) -> None:
    done = await prepared(settings)
    messages = [each for tenant in TENANTS for each in more(tenant)]
    with capture_logs() as logs:
        async with serving(settings) as service:
            async with locked(settings, statement):
                await publish(settings, messages)
                outcomes = await until_decided(settings, done + len(messages) - waiting)
                await until(lambda: _waits(settings, waiting), 30)
                missing = {each.event_id for each in messages} - outcomes.keys()
                # More of the others, and of what waits, behind it.
                again = [message(f"d9-{tenant}", "06-03", drawn("1"), tenant) for tenant in TENANTS]
                await publish(settings, again)
                behind = 1 if statement == ACCOUNT else 0
                await until_decided(settings, done + len(messages) + len(again) - waiting - behind)
                await until(lambda: _waits(settings, waiting + behind), 30)
                await shown(service, settings, waiting + behind, "account" if behind else "subject")
            outcomes = await until_decided(settings, done + len(messages) + len(again))
            assert await deferred(settings) == []
            assert not service.loop.breaker.open
    assert missing == ({each.event_id for each in more("t1")} if statement == ACCOUNT else {"c-t1"})
    for tenant in TENANTS:
        assert outcomes[f"c-{tenant}"] == "issued"
        assert [outcomes[f"d{n}-{tenant}"] for n in (0, 2, 9)] == ["recorded"] * 3
    assert await drawn_in_order(settings, "t1") == ["d0-t1", "d1-t1", "d2-t1", "d9-t1"]
    (line_of_log,) = [each for each in logs if each["event"].startswith("a row is kept locked")]
    assert "t1" in line_of_log["row"]
    assert line_of_log["holders"][0]["application"] == "an outsider"


async def test_many_rows_locked_at_once_are_asked_about_by_a_few(settings: Settings) -> None:
    done = await prepared(settings)
    messages = [each for tenant in TENANTS for each in more(tenant)]
    with capture_logs() as logs:
        async with serving(settings):
            async with locked(settings, "SELECT FROM avoir.accounts FOR UPDATE"):
                await publish(settings, messages)
                await until(lambda: _waits(settings, len(messages)), 60)
            await until_decided(settings, done + len(messages))
    warnings = [each for each in logs if each["event"].startswith("a row is kept locked")]
    assert 0 < len(warnings) < len(TENANTS)
    for tenant in TENANTS:
        assert await drawn_in_order(settings, tenant) == [f"d{n}-{tenant}" for n in range(3)]


async def test_a_locked_row_of_another_table_is_found_by_trying(settings: Settings) -> None:
    done = await prepared(settings)
    messages = [each for tenant in TENANTS for each in more(tenant)]
    async with serving(settings) as service:
        async with locked(settings, GRANT):
            await publish(settings, messages)
            outcomes = await until_decided(settings, done + len(messages) - 5)
            assert not {each.event_id for each in more("t1")} & outcomes.keys()
        await until_decided(settings, done + len(messages))
        assert not service.loop.breaker.open
    assert await drawn_in_order(settings, "t1") == ["d0-t1", "d1-t1", "d2-t1"]


async def test_a_row_that_stays_locked_makes_it_unready(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("avoir.process.watch._EVERY_S", 0.2)
    settings = settings.model_copy(update={"unready_after_s": 2.0})
    done = await prepared(settings)
    async with serving(settings) as service:

        async def loop_says() -> str:
            return (await service.health.checks())["loop"]

        async def is_unready() -> bool:
            return "deferred, the oldest" in await loop_says()

        async def is_ready() -> bool:
            return await loop_says() == OK

        async with locked(settings, ACCOUNT):
            await publish(settings, more("t1"))
            await until(is_unready, 60)
            says = json.loads(await avoir(settings, "status", "--json"))["says"]
        for each in (await loop_says(), says) if await is_unready() else (says,):
            assert (
                "5 messages are deferred" in each
                and "another session keeps account/t1/user/u1/EUR locked" in each
            )
        await until_decided(settings, done + 5)
        await until(is_ready, 30)


async def test_what_another_process_set_aside_is_handled_by_the_one_that_has_its_partition_now(
    settings: Settings,
) -> None:
    """The partition is stopped by then, since the topic does not have its position."""
    await prepared(settings)
    dsn = SecretStr(settings.postgres_dsn.get_secret_value())
    another = KeptConnection(Database(dsn, lock_timeout_s=0.5))
    async with serving(settings) as service:
        assignment = service.loop.assignment
        await until(lambda: bool(assignment.positions), 30)
        positions = dict(assignment.positions or {})
        place = TopicPartition("draw-credit", 0)
        set_aside = message("late-t1", "06-02", drawn("1"), "t1")
        record = Record(*place, positions[place], 0, b"t1", value(set_aside))
        async with locked(settings, ACCOUNT):
            while not await deferred(settings):
                await credit_handler(settings, another).handle([record], positions)
            assignment.on_partitions_revoked(set())
            assignment.on_partitions_assigned(set())
            await until(lambda: place in assignment.stopped, 30)
        await until(lambda: _waits(settings, 0), 30)
        assert "late-t1" in await drawn_in_order(settings, "t1")
    await another.close()


async def _waits(settings: Settings, count: int) -> bool:
    return len(await deferred(settings)) == count


async def test_what_waits_outlives_the_process_and_comes_without_a_new_message(settings: Settings) -> None:
    done = await prepared(settings)
    async with locked(settings, ACCOUNT):
        async with serving(settings):
            await publish(settings, more("t1"))
            await until(lambda: _waits(settings, 5), 60)
        async with serving(settings):
            await publish(settings, more("t2"))
            await until_decided(settings, done + 5)
            assert len(await deferred(settings)) == 5
    async with serving(settings):
        await until_decided(settings, done + 10)
        assert await deferred(settings) == []
    assert await drawn_in_order(settings, "t1") == ["d0-t1", "d1-t1", "d2-t1"]


async def test_beyond_its_bound_nothing_more_is_set_aside_and_nothing_is_lost(settings: Settings) -> None:
    done = await prepared(settings)
    impatient = settings.model_copy(update={"stuck_after_s": 5.0})
    with patch("avoir.batch.deferral.MAX_MESSAGES", 1):
        async with serving(impatient) as service:
            async with locked(settings, ACCOUNT):
                await publish(settings, more("t1")[:1])
                await until(lambda: _waits(settings, 1), 60)
                await publish(settings, more("t1")[1:])
                await until(lambda: "can be deferred" in service.loop.state.last_error, 30)
                await asyncio.sleep(10)
                assert not service.fault
                assert await _waits(settings, 1)
            await until_decided(settings, done + 5)
            assert await deferred(settings) == []
    assert await drawn_in_order(settings, "t1") == ["d0-t1", "d1-t1", "d2-t1"]
