"""A lease against a database clock that is set back: what lies further ahead than it can is free."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from pydantic import SecretStr

from avoir.cli.base.exits import Exit
from avoir.cli.status.query import read_status
from avoir.postgres import queries
from avoir.postgres.connect import Connection, Database
from avoir.postgres.lease import Lease
from deploy.local.harness.databases import connection_to
from tests.integration.command import Command

LEASE_S = 30.0
SET_BACK = timedelta(hours=2)


@pytest.fixture
async def service(database: str) -> AsyncIterator[Connection]:
    connection = await Database(SecretStr(database)).connect()
    await Lease("relay", "", LEASE_S).add(connection)
    yield connection
    await connection.close()


async def set_clock_back(dsn: str, by: timedelta) -> None:
    """The same, seen from the leases, as a database clock that is set back: they run out that much later."""
    async with connection_to(dsn) as owner:
        await owner.execute("UPDATE leases SET held_until = held_until + $1", by)


async def is_held(connection: Connection) -> bool:
    (lease,) = (await read_status(connection, "g")).leases
    assert await connection.fetchval(*queries.lease_is_held(name="relay")) == lease.held
    return bool(lease.held)


async def test_a_dead_holders_lease_is_free_once_the_clock_was_set_back(
    database: str, service: Connection
) -> None:
    dead, other = Lease("relay", "dead", LEASE_S), Lease("relay", "other", LEASE_S)
    assert await dead.hold(service)
    assert not await other.hold(service)
    assert await is_held(service)
    await set_clock_back(database, SET_BACK)
    assert not await is_held(service)
    assert await other.hold(service)
    assert await is_held(service)
    assert not await dead.hold(service)


async def test_a_live_holder_keeps_its_lease_by_renewing_it(database: str, service: Connection) -> None:
    alive, other = Lease("relay", "alive", LEASE_S), Lease("relay", "other", LEASE_S)
    assert await alive.hold(service)
    await set_clock_back(database, SET_BACK)
    assert await alive.hold(service)
    assert not await other.hold(service)


async def test_a_process_with_a_shorter_lease_leaves_a_longer_one_alone(service: Connection) -> None:
    long, short = Lease("relay", "long", 100 * LEASE_S), Lease("relay", "short", LEASE_S)
    assert await long.hold(service)
    assert not await short.hold(service)
    assert await is_held(service)
    await long.release(service)
    assert not await is_held(service)
    assert await short.hold(service)
    assert not await long.hold(service)


async def test_status_says_that_nobody_holds_it(
    command: Command, database: str, service: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AVOIR_POSTGRES_DSN", database)
    monkeypatch.setenv("AVOIR_KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    assert await Lease("relay", "dead", LEASE_S).hold(service)
    await set_clock_back(database, SET_BACK)
    (lease,) = (await command.json("status", code=Exit.UNREACHABLE))["leases"]
    assert (lease["holder"], lease["held"]) == ("dead", False)


async def test_a_lease_that_another_had_meanwhile_is_not_renewed(service: Connection) -> None:
    one, other = Lease("relay", "one", LEASE_S), Lease("relay", "other", LEASE_S)
    assert await one.hold(service)
    await one.release(service)
    assert await one.renew(service)
    await one.release(service)
    assert await other.hold(service)
    await other.release(service)
    assert not await one.renew(service)
    assert await one.hold(service)
