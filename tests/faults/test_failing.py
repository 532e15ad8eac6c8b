"""The database stopped, paused, read-only or restarted again and again: nothing is parked, all is handled after."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import asyncpg
import pytest

from avoir.postgres.migrate import migrate
from avoir.process.service import Service
from avoir.settings import Settings
from deploy.local.harness.databases import connection_to
from deploy.local.harness.service import settings_for
from deploy.local.harness.topics import make_all_topics
from deploy.local.harness.waiting import until
from deploy.local.postgres import Postgres
from tests.integration.running import publish, serving, until_decided
from tests.unit.core.world import message, payment


@asynccontextmanager
async def stopped(postgres: Postgres, settings: Settings) -> AsyncIterator[None]:
    postgres.server.stop()
    yield
    postgres.server.start()


@asynccontextmanager
async def paused(postgres: Postgres, settings: Settings) -> AsyncIterator[None]:
    postgres.server.pause()
    yield
    postgres.server.resume()


@asynccontextmanager
async def read_only(postgres: Postgres, settings: Settings) -> AsyncIterator[None]:
    await _set(settings, "on")
    yield
    await _set(settings, "off")


async def _set(settings: Settings, value: str) -> None:
    async with connection_to(settings.postgres_dsn.get_secret_value()) as connection:
        await connection.execute("SET default_transaction_read_only = off")
        await connection.execute(f"ALTER SYSTEM SET default_transaction_read_only = {value}")
        await connection.execute("SELECT pg_reload_conf()")


@asynccontextmanager
async def crashing(postgres: Postgres, settings: Settings) -> AsyncIterator[None]:
    """It comes back each time, and goes on the next write."""
    crash = asyncio.create_task(_crash(postgres))
    yield
    await crash


async def _crash(postgres: Postgres) -> None:
    for _ in range(6):
        postgres.server.kill()
        postgres.server.start()
        await until(lambda: _answers(postgres.dsn), 30)


async def _answers(dsn: str) -> bool:
    try:
        async with connection_to(dsn):
            return True
    except (OSError, asyncpg.PostgresError):
        return False


OUTAGES = {each.__name__: each for each in (stopped, paused, read_only, crashing)}


@pytest.mark.parametrize("what", OUTAGES)
async def test_an_outage_of_the_database_parks_nothing(
    what: str, kafka: str, own_postgres: Postgres, topic_prefix: str
) -> None:
    dsn = urlsplit(own_postgres.dsn).geturl()
    await migrate(dsn)
    limits = {
        "idle_in_transaction": 0.5,
        "lock_timeout": 0.7,
        "statement_timeout": 3.0,
        "command_timeout": 4.0,
    }
    timeouts: dict[str, object] = {f"postgres_{name}_s": value for name, value in limits.items()}
    settings = settings_for(kafka, dsn, topic_prefix, **timeouts)
    await make_all_topics(settings)
    async with serving(settings) as service:
        await until(lambda: service.loop.state.doing == "reading", 60)
        async with OUTAGES[what](own_postgres, settings):
            await _publish(settings, range(1))
            await until(lambda: _was_waited_out(service, what), 60, "the outage was met")
            await _publish(settings, range(1, 40))
        outcomes = await until_decided(settings, 40, 90)
        assert set(outcomes.values()) == {"issued"}
        assert not service.loop.breaker.open


def _was_waited_out(service: Service, what: str) -> bool:
    return service.loop.state.doing == "failing" and service.loop._backoff.failures >= (
        1 if what == "crashing" else 4
    )


async def _publish(settings: Settings, numbers: range) -> None:
    """Payments of several tenants."""
    await publish(settings, [message(f"p{n}", "06-01", payment(f"p{n}", "1"), f"t{n % 5}") for n in numbers])
