"""Kafka and Postgres for the tests that ask, each started at its first use and ended with the run."""

import asyncio
import os
import uuid
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import TypeVar

import pytest

import tests.examples  # noqa: F401 - registers the Hypothesis profile
from deploy.local.harness.databases import dsn_of, execute, own_database
from deploy.local.kafka import Kafka, launched_kafka
from deploy.local.postgres import Postgres, launched_postgres
from deploy.local.process import StackError
from deploy.local.stack import running_kafka, running_postgres

T = TypeVar("T")
FIXTURES_THAT_BREAK_SERVERS = {"own_kafka", "own_postgres"}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the run be recorded anew that test_recorded_run.py compares."""
    parser.addoption("--record", action="store_true", help="record the fixed run anew")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that have a server of their own to break."""
    for item in items:
        if FIXTURES_THAT_BREAK_SERVERS & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.faults)


@contextmanager
def started(server: AbstractContextManager[T]) -> Iterator[T]:
    """Tell in a few lines what to do about a server that does not start, instead of a traceback."""
    with ExitStack() as ends:
        failure = None
        try:
            place = ends.enter_context(server)
        except StackError as error:
            failure = str(error)
        if failure is not None:
            pytest.fail(failure, pytrace=False)
        yield place


@pytest.fixture(scope="session")
def kafka() -> Iterator[str]:
    """Bootstrap servers of the run's broker, or of the one in AVOIR_TEST_KAFKA."""
    with started(running_kafka(os.environ.get("AVOIR_TEST_KAFKA"))) as place:
        yield place.address


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """DSN of a superuser of the run's Postgres (fsync off), or of the one in AVOIR_TEST_DSN."""
    with started(running_postgres(os.environ.get("AVOIR_TEST_DSN"))) as place:
        yield place.address


@pytest.fixture(scope="session")
def migrated_template(postgres: str) -> Iterator[str]:
    """Name of a database that is migrated and otherwise empty: copying it takes 25 ms."""
    name = f"avoir_template_{uuid.uuid4().hex[:12]}"
    # In a thread, because pytest may hold an event loop of its own here.
    with ThreadPoolExecutor(max_workers=1) as thread:
        thread.submit(asyncio.run, _make_template(postgres, name)).result()
        yield name
        thread.submit(asyncio.run, execute(postgres, f'DROP DATABASE "{name}" WITH (FORCE)')).result()


async def _make_template(admin_dsn: str, name: str) -> None:
    from avoir.postgres.migrate import migrate

    await execute(admin_dsn, f'CREATE DATABASE "{name}"')
    await migrate(dsn_of(admin_dsn, name))


@pytest.fixture
async def database(postgres: str, migrated_template: str) -> AsyncIterator[str]:
    """DSN of a database of the test's own, migrated and empty."""
    async with own_database(postgres, f"avoir_{uuid.uuid4().hex[:12]}", migrated_template) as dsn:
        yield dsn


@pytest.fixture
def topic_prefix() -> str:
    """What the names of a test's topics and groups begin with, on a broker that all tests share."""
    return f"test-{uuid.uuid4().hex[:8]}-"


@pytest.fixture
def own_kafka() -> Iterator[Kafka]:
    """A broker of the test's own, to kill, pause and restart: always a process of this machine."""
    with started(launched_kafka()) as kafka:
        kafka.server.wait_ready()
        yield kafka


@pytest.fixture
def own_postgres() -> Iterator[Postgres]:
    """A Postgres of the test's own with fsync on, to kill, pause and restart: always a process here."""
    with started(launched_postgres(fsync=True)) as postgres:
        postgres.server.wait_ready()
        yield postgres
