"""Fixtures of the integration tests."""

import gc
import warnings
from collections.abc import AsyncIterator

import asyncpg
import pytest

from avoir.postgres.connect import Connection
from tests.integration.command import Command
from tests.integration.direct_handler import DirectHandler


@pytest.fixture(autouse=True)
async def garbage_collected() -> AsyncIterator[None]:
    """Collect what a test gave up, in the loop of that test.

    A client given up on a dead network leaves its connections to the garbage collector. Collected during a later test,
    whose loop is another one, they would fail it.
    """
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


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
