"""SIGTERM ends a process within ten seconds, whatever the database does."""

import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from avoir.postgres.migrate import migrate
from avoir.settings import Settings
from deploy.local.harness.databases import connection_to
from deploy.local.harness.waiting import until
from deploy.local.postgres import Postgres
from tests.faults.test_outages import prepared, send
from tests.integration.counting_handler import counting_process

MOST_S_TO_END = 10


@asynccontextmanager
async def in_a_transaction(settings: Settings) -> AsyncIterator[None]:
    """Keep the service waiting for a lock in the middle of a batch."""
    async with (
        connection_to(settings.postgres_dsn.get_secret_value()) as connection,
        connection.transaction(),
    ):
        await connection.execute("LOCK TABLE inbox")
        await send(settings, range(100))

        async def waits() -> bool:
            return bool(await connection.fetchval("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)"))

        await until(waits, 10, "the batch waits for the lock")
        yield


@pytest.mark.faults
async def test_it_ends_in_time_while_the_database_is_stalled(
    kafka: str, own_postgres: Postgres, topic_prefix: str, tmp_path: Path
) -> None:
    dsn = urlsplit(own_postgres.dsn).geturl()
    await migrate(dsn)
    settings = await prepared(kafka, dsn, topic_prefix)
    with counting_process(settings, tmp_path / "in the middle") as service:
        await service.ready()
        async with in_a_transaction(settings):
            own_postgres.server.pause()
            service.signal(signal.SIGTERM)
            try:
                assert await service.ended(MOST_S_TO_END) == 0
            finally:
                own_postgres.server.resume()
        assert "did not end in time" in {line["event"] for line in service.lines()}
    own_postgres.server.pause()
    with counting_process(settings, tmp_path / "before the schema is read") as service:

        async def lives() -> bool:
            return await service.get("/livez") is not None

        await until(lives, 60)
        service.signal(signal.SIGTERM)
        assert await service.ended(MOST_S_TO_END) == 0
    own_postgres.server.resume()
