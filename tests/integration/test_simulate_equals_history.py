"""A history decided again under the same policy comes to what happened: account by account, decision by decision."""

import asyncio
import os
import random
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace
from pydantic import SecretStr

from avoir.batch.batch import Rules
from avoir.cli.base.snapshot import snapshot
from avoir.cli.simulate.comparison import Compared, compare
from avoir.core.model.message import Message
from avoir.core.model.policy import Policy
from avoir.postgres.connect import Connection, Database
from avoir.wire.topics import COMMANDS
from tests.integration.delivery import GROUP, delivering
from tests.integration.test_handle_equals_core import EXAMPLES, delivered, drawn_timelines, made_up
from tests.unit.core.commands import granted
from tests.unit.core.world import EURO, World, at, message

POLICIES = [
    Policy(),
    Policy(unpaid_change="never", expires_after_days=2_000),
    Policy(credit_as="line_item"),
    Policy(auto_apply=False, expires_after_days=500),
    Policy(refill_threshold=50 * EURO, refill_amount=100 * EURO, refill_currency="EUR"),
]


@pytest.fixture
async def reader(database: str) -> AsyncIterator[Connection]:
    connection = await Database(SecretStr(database), role="avoir_readonly").connect()
    yield connection
    await connection.close()


async def compared(reader: Connection, tenant_id: str, policy: Policy | None = None) -> list[Compared]:
    """A tenant decided again under the policy that the service had."""
    async with snapshot(reader) as now:
        groups = compare(reader, tenant_id, None, policy or Policy(), {}, now, lambda n: None)
        return [each async for each in groups]


def assert_equal(groups: Sequence[Compared], *context: object) -> None:
    for group in groups:
        assert not group.changed, context
        assert not group.unknown, context
        for key, (actual, simulated) in group.accounts.items():
            assert simulated == actual, (*context, key)


async def test_random_timelines(database: str, reader: Connection) -> None:
    async with delivering(database) as (deliverer, _):
        for n, (timeline, seed) in enumerate(drawn_timelines()):
            for batch in delivered(timeline, seed, f"t{n}"):
                await deliverer.deliver(batch)
            assert_equal(await compared(reader, f"t{n}"), n, seed)


@pytest.mark.parametrize("policy", POLICIES)
async def test_random_messages_of_all_kinds(database: str, reader: Connection, policy: Policy) -> None:
    begin = random.SystemRandom().randrange(2**40) if "AVOIR_TEST_EXAMPLES" in os.environ else 0
    async with delivering(database, Rules(GROUP, policy)) as (deliverer, _):
        for seed in range(begin, begin + EXAMPLES // 6):
            world, chance, delivered_before = World(policy=policy), random.Random(seed), list[Message]()
            while len(delivered_before) < 40:
                await deliverer.deliver(made_up(chance, world, delivered_before, f"t{seed}"))
            assert_equal(await compared(reader, f"t{seed}", policy), seed)
    kept = {row[0] for row in await reader.fetch("SELECT topic FROM commands")}
    assert kept == set(COMMANDS)


async def test_what_time_has_done_since_counts_swept_or_not(database: str, reader: Connection) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=1)
    spans = {"begins": (soon, None), "begins and ends": (soon, soon + timedelta(milliseconds=1))}
    spans |= {"ends": (at("06-01"), soon), "waits": (datetime(2400, 1, 1, tzinfo=UTC), None)}
    async with delivering(database) as (deliverer, _):
        for event_id, (effective_at, expires_at) in spans.items():
            body = replace(granted("1.00"), effective_at=effective_at, expires_at=expires_at)
            await deliverer.deliver([message(event_id, "06-02", body)])
    await asyncio.sleep(1.1)
    groups = await compared(reader, "t1")
    assert_equal(groups)
    [(actual, _)] = groups[0].accounts.values()
    assert (actual.available, actual.expired) == (EURO, 2 * EURO)
    assert actual.given == {"granted": 3 * EURO}
