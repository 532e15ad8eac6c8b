"""Events published again are those that were published: the same records, but for epoch, id and what they void."""

import json
import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace
from pydantic import SecretStr

from avoir.batch.batch import Rules
from avoir.cli.base.epochs import NOTHING_SEEN
from avoir.cli.events.rebuild import HistoryDiffersError, RebuildScope, Rebuilt, rebuild
from avoir.core.model.message import Message
from avoir.core.model.policy import Policy
from avoir.postgres.connect import Connection, Database
from avoir.postgres.headers import unpacked
from avoir.wire.topics import DECIDED_EVENTS
from deploy.local.harness.databases import connection_to
from deploy.local.harness.waiting import until
from tests.integration.delivery import GROUP, delivering
from tests.integration.direct_handler import DirectHandler, cancellation, invoice
from tests.integration.test_handle_equals_core import EXAMPLES, delivered, drawn_timelines, made_up
from tests.integration.test_simulate_equals_history import POLICIES
from tests.unit.core.commands import drawn, granted
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
    scope = RebuildScope(topic, policy or Policy(), "/avoir", 900 * 1024)
    return await rebuild(connection, "lost", NOTHING_SEEN, scope, lambda n: None, None)


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
    """What the events of a topic say, in no order: what an account says is in order by its numbers.

    Under another epoch declines have other ids: what overtakes one says which message it had declined.
    """
    declines = {value["event_id"]: value["caused_by"] for _, value in records.get("credit-declined", ())}
    found = []
    for key, value in records.get(topic, ()):
        says = {name: value[name] for name in value if name not in SAYS_WHEN}
        if "overtakes" in says:
            says["overtakes"] = [declines[event_id] for event_id in says["overtakes"]]
        found.append(json.dumps([(key or b"").decode(), says]))
    return sorted(found)


def numbers(records: Records, topic: str) -> dict[bytes | None, list[tuple[int, int]]]:
    found: dict[bytes | None, list[tuple[int, int]]] = {}
    for key, value in records.get(topic, ()):
        if value["seq"] is not None:
            found.setdefault(key, []).append((value["epoch"], value["seq"]))
    return found


def assert_the_same(before: Records, after: Records, *context: object) -> None:
    for topic in DECIDED_EVENTS:
        assert said(after, topic) == said(before, topic), (topic, *context)
        for seqs in numbers(after, topic).values():
            assert seqs == sorted(seqs), (topic, *context)
        for _, value in after.get(topic, ()):
            assert value["voids_from"] == (None if value["seq"] is None else 1), (topic, *context)
    last = dict(before.get("credit-balance", ()))
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
            world, chance, delivered_before = World(policy=policy), random.Random(seed), list[Message]()
            while len(delivered_before) < 40:
                await deliverer.deliver(made_up(chance, world, delivered_before, f"t{seed}"))
    before = await taken_out(database)
    done = await again(service, policy=policy)
    after = await taken_out(database)
    assert_the_same(before, after)
    assert done.epoch == 2
    assert done.events == sum(len(after.get(topic, ())) for topic in DECIDED_EVENTS)


async def test_what_time_did_comes_again_as_it_was_noticed(database: str, service: Connection) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=0.5)
    spans = {"begins": (soon, None), "begins and ends": (soon, soon + timedelta(milliseconds=1))}
    spans |= {"ends": (at("06-01"), soon), "stays": (at("06-01"), None)}
    async with delivering(database) as (deliverer, _):
        for event_id, (effective_at, expires_at) in spans.items():
            body = replace(granted("1.00"), effective_at=effective_at, expires_at=expires_at)
            await deliverer.deliver([message(event_id, "06-02", body)])

        async def swept() -> bool:
            await deliverer._handler.expire(100)
            return int(await service.fetchval("SELECT seq FROM accounts")) == 6

        await until(swept, 20, "time has done all it does")
        await deliverer.deliver([message("later", "06-03", granted("1.00"))])
    before = await taken_out(database)
    assert len(before["credit-expired"]) == 2
    await again(service)
    assert_the_same(before, await taken_out(database))


async def test_refills_come_again_under_the_settings_that_counted(database: str, service: Connection) -> None:
    asks = Policy(refill_threshold=50 * EURO, refill_amount=100 * EURO, refill_currency="EUR")
    draw = message("d", "06-02", drawn("1.00"))
    for number, policy in enumerate((Policy(), asks, Policy())):
        async with delivering(database, Rules(GROUP, policy), partition=number) as (deliverer, _):
            await deliverer.deliver([message(f"g{number}", "06-01", granted("20.00"))])
            await deliverer.deliver([replace(draw, event_id=f"d{number}")])
    before = await taken_out(database)
    assert len(before["credit-refill-requested"]) == 1
    await again(service)
    assert_the_same(before, await taken_out(database))


async def prepare_everything(handler: DirectHandler) -> None:
    """Credit given, used and given back with a reason; refusals without an account; messages that cannot be handled."""
    booked = {"kind": "booking", "booking_id": "b1"}
    await handler.handle(
        "invoice-finalized", **invoice("i1", "100", "2025-06-01T00:00:00Z", paid="100", **booked)
    )
    await handler.handle("booking-cancelled", event_id="c", **cancellation("b1", "2025-06-02T00:00:00Z"))
    await handler.handle("booking-cancelled", event_id="c", **cancellation("other", "2025-06-02T00:00:00Z"))
    await handler.handle("invoice-finalized", **invoice("i2", "40", "2025-06-03T00:00:00Z"))
    await handler.handle("booking-cancelled", **cancellation("never billed", "2025-06-02T00:00:00Z"))
    await handler.handle(
        "void-credit",
        occurred_at="2025-06-02T00:00:00Z",
        actor={"type": "admin", "id": "a1"},
        grant_id="unknown",
        reason="by mistake",
    )
    await handler.handle_bytes("booking-cancelled", b"{")


async def test_reasons_refusals_and_dead_letters_come_again(
    database: str, service: Connection, handler: DirectHandler
) -> None:
    await prepare_everything(handler)
    application = await service.fetchval("SELECT application_id FROM applications")
    rejected = {"application_id": str(application), "reason": "already closed"}
    await handler.handle("credit-application-rejected", occurred_at="2025-06-04T00:00:00Z", **rejected)
    before = await taken_out(database)
    assert before["credit-reinstated"][0][1]["reason"] == "already closed"
    assert [value["seq"] for _, value in before["credit-declined"]] == [None, None]
    done = await again(service)
    after = await taken_out(database)
    assert_the_same(before, after)
    assert after["credit-dead-letter"] == before["credit-dead-letter"]
    assert (done.dead_letters, done.balances) == (2, 1)


async def test_a_dead_letter_that_is_cut_comes_again_with_its_length_and_hash(
    database: str, service: Connection
) -> None:
    async with connection_to(database) as owner:
        await owner.execute(
            "INSERT INTO dead_letters (tenant_id, dead_letter_id, outcome, reason, event_id, topic, partition,"
            " kafka_offset, value, header_names, header_values, recorded_at, value_length, sha256)"
            " VALUES ('', gen_random_uuid(), 'rejected', 'too large', '', 'booking-cancelled', 0,"
            " 7, 'first', '{}', '{}', clock_timestamp(), 2000000, $1)",
            bytes(32),
        )
    done = await again(service)
    ((key, (value, headers)),) = (await taken_out(database))["credit-dead-letter"]
    said_of_it = dict(unpacked(headers))
    assert (done.dead_letters, key, value) == (1, None, None)
    assert said_of_it["avoir-length"] == b"2000000"
    assert said_of_it["avoir-sha256"] == bytes(32).hex().encode()


async def test_one_topic_comes_again_and_voids_nothing(
    database: str, service: Connection, handler: DirectHandler
) -> None:
    await prepare_everything(handler)
    before = await taken_out(database)
    await handler.handle("invoice-finalized", **invoice("i3", "5", "2025-06-05T00:00:00Z"))
    await again(service, "credit-issued")
    after = await taken_out(database)
    assert after.keys() == {"credit-issued", "credit-applied", "credit-balance"}
    assert said(after, "credit-issued") == said(before, "credit-issued")
    # What waited was handled since, and comes under the new epoch: from there on nothing of before counts.
    ((_, waited),) = after["credit-applied"]
    seq = waited["seq"]
    assert seq == before["credit-balance"][-1][1]["seq"] + 1
    for topic in after:
        assert {(value["epoch"], value["voids_from"]) for _, value in after[topic]} == {(2, seq)}
    await handler.handle("invoice-finalized", **invoice("i4", "5", "2025-06-06T00:00:00Z"))
    ((_, following),) = (await taken_out(database))["credit-applied"]
    assert (following["epoch"], following["seq"], following["voids_from"]) == (2, seq + 1, seq)


@pytest.mark.parametrize(
    "changed",
    [
        "UPDATE invoice_lines SET amount = amount + 1, cost = cost + 1",
        "UPDATE accounts SET seq = seq + 1",
        r"UPDATE accounts SET head = '\x00'",
    ],
)
async def test_a_history_that_comes_to_something_else_is_not_published(
    database: str, service: Connection, handler: DirectHandler, changed: str
) -> None:
    await prepare_everything(handler)
    async with connection_to(database) as owner:
        await owner.execute(changed)
        waiting = await owner.fetch("SELECT * FROM outbox ORDER BY outbox_id")
        with pytest.raises(HistoryDiffersError, match=r"t1"):
            await again(service)
        assert await owner.fetch("SELECT * FROM outbox ORDER BY outbox_id") == waiting
        assert await owner.fetchval("SELECT max(epoch) FROM epochs") == 1
