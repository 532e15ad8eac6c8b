"""Events published again are those that were published: the same records, but for epoch, id and what they void."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace
from pydantic import SecretStr

from avoir.batch import Rules
from avoir.core.message import Message
from avoir.core.policy import Policy
from avoir.epoch import NOTHING
from avoir.kafka.translate_events import EVENT_TOPICS
from avoir.postgres.connect import Connection, Database
from avoir.rebuild import NotTheSameError, Rebuilt, Wanted, rebuild
from tests.integration.handler import GROUP, delivering
from tests.integration.stage import connection_to
from tests.integration.test_handle_equals_core import EXAMPLES, delivered, drawn_timelines, made_up
from tests.integration.test_simulate_equals_history import POLICIES
from tests.integration.timeline import Timeline, cancellation, invoice
from tests.unit.core.asking import granted
from tests.unit.core.world import EURO, World, at, message

Records = dict[str, list[tuple[bytes | None, Any]]]
SAYS_WHEN = ("event_id", "epoch", "voids_from")


@pytest.fixture
async def service(database: str) -> AsyncIterator[Connection]:
    connection = await Database(SecretStr(database)).connect()
    yield connection
    await connection.close()


async def again(connection: Connection, topic: str | None = None, policy: Policy | None = None) -> Rebuilt:
    """Publish again, as the command does it."""
    wanted = Wanted(topic, policy or Policy(), "/avoir", 900 * 1024)
    return await rebuild(connection, "lost", NOTHING, wanted, lambda n: None, lambda: None)


async def taken_out(dsn: str) -> Records:
    """All that waits, taken out of the outbox: by topic, the key and the value of each record."""
    async with connection_to(dsn) as owner:
        rows = await owner.fetch(
            "WITH d AS (DELETE FROM outbox RETURNING *) SELECT * FROM d ORDER BY outbox_id"
        )
    found: Records = {}
    for row in rows:
        value = (
            json.loads(row["value"])
            if row["topic"] != "credit-dead-letter"
            else (row["value"], row["headers"])
        )
        found.setdefault(row["topic"], []).append((row["key"], value))
    return found


def said(records: Records, topic: str) -> list[str]:
    """What the events of a topic say, in no order: what an account says is in order by its numbers."""
    return sorted(
        json.dumps([(key or b"").decode(), {name: value[name] for name in value if name not in SAYS_WHEN}])
        for key, value in records.get(topic, ())
    )


def numbers(records: Records, topic: str) -> dict[bytes | None, list[tuple[int, int]]]:
    found: dict[bytes | None, list[tuple[int, int]]] = {}
    for key, value in records.get(topic, ()):
        if value["seq"] is not None:
            found.setdefault(key, []).append((value["epoch"], value["seq"]))
    return found


def assert_the_same(before: Records, after: Records, *told: object) -> None:
    for topic in EVENT_TOPICS:
        assert said(after, topic) == said(before, topic), (topic, *told)
        for seqs in numbers(after, topic).values():
            assert seqs == sorted(seqs), (topic, *told)
        for _, value in after.get(topic, ()):
            assert value["voids_from"] == (None if value["seq"] is None else 1), (topic, *told)
    last = {key: value for key, value in before.get("credit-balance", ())}
    assert {key: value["seq"] for key, value in after["credit-balance"]} == {
        key: value["seq"] for key, value in last.items()
    }


async def test_random_timelines(database: str, service: Connection) -> None:
    async with delivering(database) as (deliverer, _):
        for n, (timeline, seed) in enumerate(drawn_timelines()):
            for batch in delivered(timeline, seed, f"t{n}"):
                await deliverer.deliver(batch)
    before = await taken_out(database)
    await again(service)
    assert_the_same(before, await taken_out(database))


@pytest.mark.parametrize("policy", POLICIES)
async def test_random_messages_of_all_kinds(database: str, service: Connection, policy: Policy) -> None:
    async with delivering(database, Rules(GROUP, policy)) as (deliverer, _):
        for seed in range(EXAMPLES // 6):
            world, chance, told_before = World(policy=policy), random.Random(seed), list[Message]()
            while len(told_before) < 40:
                await deliverer.deliver(made_up(chance, world, told_before, f"t{seed}"))
    before = await taken_out(database)
    done = await again(service, policy=policy)
    after = await taken_out(database)
    assert_the_same(before, after)
    assert done.epoch == 2
    assert done.events == sum(len(after.get(topic, ())) for topic in EVENT_TOPICS)
