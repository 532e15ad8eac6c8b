"""SIGTERM ends a process within ten seconds, whatever the database does."""

import asyncio
import signal
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from avoir.postgres.migrate import migrate
from avoir.settings import Settings
from deploy.local.postgres import Postgres
from tests.faults.test_outages import done, prepared, steady_load
from tests.integration.process import service_process
from tests.integration.stage import until

MOST_S_TO_END = 10


@pytest.mark.faults
async def test_it_ends_in_time_while_the_database_is_stalled(
    kafka: str, own_postgres: Postgres, topic_prefix: str, tmp_path: Path
) -> None:
    dsn = urlsplit(own_postgres.dsn).geturl()
    await migrate(dsn)
    settings = await prepared(kafka, dsn, topic_prefix)
    with service_process(settings, tmp_path / "in the middle") as service:
        await service.ready()
        async with steady_load(settings, 0):
            await until(lambda: _some(settings), 20)
            own_postgres.server.pause()
            await asyncio.sleep(1)
            service.signal(signal.SIGTERM)
            assert await service.ended(MOST_S_TO_END) == 0
        assert "did not end in time" in {line["event"] for line in service.lines()}
    with service_process(settings, tmp_path / "before the schema is read") as service:

        async def lives() -> bool:
            return await service.get("/livez") is not None

        await until(lives, 15)
        service.signal(signal.SIGTERM)
        assert await service.ended(MOST_S_TO_END) == 0
    own_postgres.server.resume()


async def _some(settings: Settings) -> bool:
    return await done(settings) > 200
