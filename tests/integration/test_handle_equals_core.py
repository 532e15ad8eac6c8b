"""What the database holds after any batches is what the core decides alone: nothing that matters is left unloaded."""

import os
import random
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from pydantic import SecretStr

from avoir.batch.batch import Rules
from avoir.cli.verify.query import verify
from avoir.core.model.message import Message
from avoir.postgres import rows as db
from avoir.postgres.connect import Connection, Database, KeptConnection
from tests.integration.delivery import GROUP, delivering
from tests.unit.core.commands import granted, policy
from tests.unit.core.random_messages import Somebody
from tests.unit.core.timeline_strategies import timelines
from tests.unit.core.world import World, cancelled, invoice, line, rejected, rows, voided
from tests.unit.core.world import message as new_message

EXAMPLES = int(os.environ.get("AVOIR_TEST_EXAMPLES", "120"))


def drawn_timelines() -> list[tuple[list[Message], int]]:
    """Random timelines with a seed each; drawn beforehand, since the test itself is async."""
    found: list[tuple[list[Message], int]] = []

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        derandomize="AVOIR_TEST_EXAMPLES" not in os.environ,
        suppress_health_check=list(HealthCheck),
    )
    @given(timelines(), st.integers(0, 2**32))
    def draw(timeline: list[Message], seed: int) -> None:
        found.append((list(timeline), seed))

    draw()
    return found


def delivered(timeline: list[Message], seed: int, tenant_id: str) -> list[list[Message]]:
    """A timeline in another order with repetitions, cut into batches."""
    shuffler = random.Random(seed)
    messages = [replace(each, tenant_id=tenant_id) for each in timeline]
    messages += [each for each in messages if shuffler.random() < 0.2]
    shuffler.shuffle(messages)
    batches: list[list[Message]] = []
    while messages:
        size = shuffler.choice([1, 1, 2, 3, 5, 20])
        batches.append(messages[:size])
        messages = messages[size:]
    return batches


async def stored(connection: Connection, tenant_id: str) -> dict[str, dict[Any, Any]]:
    """The rows of a tenant as the core knows them."""

    async def read(table: str, to_row: Any) -> dict[Any, Any]:
        found = await connection.fetch(f"SELECT * FROM {table} WHERE tenant_id = $1", tenant_id)
        converted = [to_row(each) for each in found]
        return {each.key: each for each in converted}

    return {
        "accounts": await read("accounts", db.account),
        "invoices": await read("invoices", db.invoice),
        "payments": await read("payments", db.payment),
        "entitlements": await read("entitlements", db.entitlement),
        "grants": await read("grants", db.grant),
        "applications": await read("applications", db.application),
        "reservations": await read("reservations", db.reservation),
    }


def rows_as_read(world: World, name: str) -> dict[Any, Any]:
    found = {each.key: each for each in rows(getattr(world.state, name))}
    match name:
        case "accounts":
            # the chain holds the database's own times, and an account is opened before it has an event
            return {
                key: (each.available, each.reserved, each.seq, each.refill_asked)
                for key, each in found.items()
                if each.seq
            }
        case "invoices" | "payments":
            return {key: replace(each, contents=b"") for key, each in found.items()}
        case "grants":
            return {key: replace(each, contents=None) for key, each in found.items()}
    return found


async def test_batches_in_the_database_equal_the_core_alone(database: str) -> None:
    """With a row of each account loaded at first, so that deciding comes to the end of what is loaded all the time."""
    async with delivering(database, Rules(GROUP, page=1)) as (deliverer, kept):
        for n, (timeline, seed) in enumerate(drawn_timelines()):
            world = World()
            for batch in delivered(timeline, seed, f"t{n}"):
                world.handle_all(batch)
                await deliverer.deliver(batch)
                if rows(world.state.applications) and random.Random(seed).random() < 0.5:
                    application = rows(world.state.applications)[-1]
                    no = replace(
                        new_message(f"x-{len(world.decisions)}", "06-09", rejected(str(application.key.id))),
                        tenant_id=f"t{n}",
                    )
                    world.handle(no)
                    await deliverer.deliver([no])
            await assert_same(kept, world, f"t{n}", seed)
    await assert_verified(database)


async def test_batches_with_commands_in_the_database_equal_the_core_alone(database: str) -> None:
    """Random messages of all kinds, made of what is known by then, in random batches; then `verify` is content."""
    begin = random.SystemRandom().randrange(2**40) if "AVOIR_TEST_EXAMPLES" in os.environ else 0
    async with delivering(database, Rules(GROUP, page=1)) as (deliverer, kept):
        for seed in range(begin, begin + EXAMPLES // 2):
            world, chance, delivered_before = World(), random.Random(seed), list[Message]()
            while len(delivered_before) < 40:
                batch = made_up(chance, world, delivered_before, f"t{seed}")
                await deliverer.deliver(batch)
            await assert_same(kept, world, f"t{seed}", seed)
    await assert_verified(database)


async def test_a_credit_line_is_used_after_all_and_rejected_in_one_batch(database: str) -> None:
    """As when a restored database catches up: the id of what the batch does is known to others by then."""
    async with delivering(database) as (deliverer, kept):
        world = World()
        world.decide("g", "06-01", granted("50"))
        billed = line("l1", "100", booking="b1"), line("l2", "-50", credit=world.grant_id("g"))
        before = [
            new_message("g", "06-01", granted("50")),
            new_message("f1", "06-02", invoice("i1", line("l1", "50"))),
            new_message("f2", "06-03", invoice("i2", *billed, paid="50")),
            new_message("c", "06-04", cancelled("b1")),
        ]
        world.handle_all(before[1:])
        await deliverer.deliver(before)
        world.decide("v", "06-05", voided("i1"))
        no = new_message("no", "06-06", rejected(world.application_id("v")))
        world.handle(no)
        await deliverer.deliver([new_message("v", "06-05", voided("i1")), no])
        await assert_same(kept, world, "t1", 0)


def made_up(
    chance: random.Random, world: World, delivered_before: list[Message], tenant_id: str
) -> list[Message]:
    """A batch of a few messages, which the world handles one by one, now and then one that it had before."""
    batch: list[Message] = []
    for _ in range(chance.choice([1, 1, 2, 3, 5, 12])):
        body, when = Somebody(chance, world).anything(), f"06-0{chance.randint(1, 9)}"
        if not delivered_before and chance.random() < 0.5:
            body, when = policy(credit_as="line_item"), "06-01"
        message = new_message(f"e{len(delivered_before)}", when, body, tenant=tenant_id)
        if delivered_before and chance.random() < 0.1:
            message = chance.choice(delivered_before)
        world.handle(message)
        delivered_before.append(message)
        batch.append(message)
    return batch


async def assert_verified(database: str) -> None:
    """`verify` finds no difference in any tenant."""
    connection = await Database(SecretStr(database), role="avoir_readonly").connect()
    try:
        found = verify(connection, None, lambda _name, _rows: None, lambda _tenant, _sizes: None)
        differences = [each async for each in found]
    finally:
        await connection.close()
    assert [str(each) for each in differences] == []


async def assert_same(kept: KeptConnection, world: World, tenant_id: str, seed: int) -> None:
    """The database holds of a tenant what the core alone does."""
    async with kept.use() as connection:
        found = await stored(connection, tenant_id)
    for name, in_database in found.items():
        expected = rows_as_read(world, name)
        actual: dict[Any, Any] = in_database
        if name == "accounts":
            actual = {
                key: (each.available, each.reserved, each.seq, each.refill_asked)
                for key, each in in_database.items()
                if each.seq
            }
        if name in ("invoices", "payments"):
            actual = {key: replace(each, contents=b"") for key, each in in_database.items()}
        if name == "grants":
            actual = {key: replace(each, contents=None) for key, each in in_database.items()}
        assert actual == expected, (tenant_id, name, seed)
