"""What several tests of the database side begin with."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from avoir.postgres.connect import Connection
from tests.integration.command import Command
from tests.integration.direct_handler import DirectHandler


@pytest.fixture
async def connection(database: str) -> AsyncIterator[Connection]:
    """A connection of the owner of all tables."""
    connection = await asyncpg.connect(database, server_settings={"search_path": "avoir"})
    yield connection
    await connection.close()


@pytest.fixture
async def handler(database: str) -> AsyncIterator[DirectHandler]:
    """The handler, to be given messages one by one."""
    handler = DirectHandler(database)
    yield handler
    await handler.close()


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    """The command line, called in this process."""
    return Command(capsys)
