"""The relay against a real broker and database: order, leases, fences and refusals."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pydantic import SecretStr

from avoir.cli.outbox.retry import retry_refused
from avoir.kafka.client import Client
from avoir.kafka.heads import last_heads
from avoir.kafka.output_topics import OutputTopics
from avoir.kafka.publisher import Publisher
from avoir.kafka.relay import Relay
from avoir.kafka.topics import TopicNames
from avoir.postgres.connect import Database
from deploy.local.harness.databases import connection_to
from deploy.local.harness.records import consume
from deploy.local.harness.topics import configure, make_topics
from deploy.local.harness.waiting import until
from tests.integration.outbox_rows import add_outbox, outbox_count

LEASE_S = 1.0


@pytest.fixture
async def topics(kafka: str, topic_prefix: str) -> TopicNames:
    names = TopicNames(topic_prefix)
    await make_topics(kafka, [names.actual("credit-issued"), names.actual("credit-applied")])
    await make_topics(kafka, [names.actual("credit-balance")], configs={"cleanup.policy": "compact"})
    return names


@asynccontextmanager
async def relaying(kafka: str, dsn: str, names: TopicNames, holder: str = "one") -> AsyncIterator[Relay]:
    stopping, client = asyncio.Event(), Client([kafka])
    relay = Relay(
        Database(SecretStr(dsn)),
        lambda: Publisher(client, names, names.actual("credit-issued") + "-relay"),
        lambda: last_heads(client, names, "/avoir"),
        names,
        holder,
        rows=500,
        lease_s=LEASE_S,
        wake=asyncio.Event(),
    )
    task = asyncio.create_task(relay.run(stopping))
    try:
        yield relay
    finally:
        stopping.set()
        await asyncio.wait_for(task, 10)


async def _emptied(dsn: str) -> bool:
    return await outbox_count(dsn) == 0


async def test_rows_are_published_in_order_with_key_value_and_headers(
    kafka: str, database: str, topics: TopicNames
) -> None:
    rows = [
        ("credit-issued" if n % 3 else "credit-applied", b"key-%d" % (n % 17), b"%d" % n) for n in range(2000)
    ]
    await add_outbox(database, rows, {"ce_id": b"e1", "other": b"\xff\x00"})
    async with relaying(kafka, database, topics):
        await until(lambda: _emptied(database))
    found = await consume(kafka, [topics.actual("credit-issued"), topics.actual("credit-applied")])
    assert len(found) == 2000
    places: dict[tuple[str, bytes], set[int]] = {}
    last: dict[tuple[str, bytes], int] = {}
    for record in found:
        key = (topics.default(record.topic), record.key)
        assert record.headers == (("ce_id", b"e1"), ("other", b"\xff\x00"))
        assert int(record.value) > last.get(key, -1)
        last[key] = int(record.value)
        places.setdefault(key, set()).add(record.partition)
    assert all(len(partitions) == 1 for partitions in places.values())


async def test_new_rows_are_noticed_soon(kafka: str, database: str, topics: TopicNames) -> None:
    async with relaying(kafka, database, topics) as relay:
        await until(lambda: relay.state.doing == "publishing")
        for n in range(5):
            await add_outbox(database, [("credit-issued", b"k", b"%d" % n)])
            assert await until(lambda: _emptied(database)) < 1.0


async def test_a_second_relay_stands_by_and_follows_at_once_when_the_first_ends(
    kafka: str, database: str, topics: TopicNames
) -> None:
    async with relaying(kafka, database, topics, "one") as first:
        await until(lambda: first.state.doing == "publishing")
        second_runs = relaying(kafka, database, topics, "two")
        second = await second_runs.__aenter__()
        await until(lambda: second.state.doing == "standing by")
        await add_outbox(database, [("credit-issued", b"k", b"1")])
        await until(lambda: _emptied(database))
        assert (first.state.published, second.state.published) == (1, 0)
    assert await until(lambda: second.state.doing == "publishing") < LEASE_S
    await second_runs.__aexit__(None, None, None)


async def test_a_relay_takes_over_from_a_dead_one_though_the_clock_was_set_back(
    kafka: str, database: str, topics: TopicNames
) -> None:
    async with connection_to(database) as connection:
        await connection.execute(
            "INSERT INTO leases (name, holder, held_until, held_for)"
            " VALUES ('relay', 'dead', clock_timestamp() + interval '2 hours', interval '1 second')"
        )
    await add_outbox(database, [("credit-issued", b"k", b"1")])
    async with relaying(kafka, database, topics):
        await until(lambda: _emptied(database))
    assert [record.value for record in await consume(kafka, [topics.actual("credit-issued")])] == [b"1"]


async def test_a_relay_that_woke_late_can_publish_nothing(
    kafka: str, database: str, topics: TopicNames
) -> None:
    client = Client([kafka])
    await add_outbox(database, [("credit-balance", b"account", b"old")])
    async with connection_to(database) as connection:
        stale = await connection.fetch("SELECT * FROM outbox")
        late = Publisher(client, topics, topics.actual("credit-issued") + "-relay")
        await late.start()
        output_topics = OutputTopics(topics)
        await output_topics.update(connection, await late.partitions())
    async with relaying(kafka, database, topics, "new"):
        await until(lambda: _emptied(database))
        await add_outbox(database, [("credit-balance", b"account", b"new")])
        await until(lambda: _emptied(database))
        with pytest.raises(Exception, match=r"[Ee]poch|[Ff]enced"):
            await late.publish(stale, output_topics)
        await late.discard()
    found = await consume(kafka, [topics.actual("credit-balance")])
    assert [record.value for record in found] == [b"old", b"new"]


async def test_a_row_that_the_broker_refuses_is_set_aside_and_the_rest_goes_on(
    kafka: str, database: str, topics: TopicNames
) -> None:
    small = topics.actual("credit-voided")
    await make_topics(kafka, [small], partitions=1, configs={"max.message.bytes": "2000"})
    rows: list[tuple[str, bytes | None, bytes]] = [
        ("credit-voided", b"k", b"1"),
        ("credit-voided", b"k", b"x" * 5000),
        ("credit-voided", b"k", b"2"),
    ]
    rows += [("credit-balance", None, b"no key"), ("credit-issued", b"k", b"3")]
    await add_outbox(database, rows)
    async with relaying(kafka, database, topics) as relay:
        await until(lambda: _emptied(database), 20)
        assert relay.state.refused == 2
    found = await consume(kafka, [small, topics.actual("credit-issued"), topics.actual("credit-balance")])
    assert [record.value for record in found if record.topic == small] == [b"1", b"2"]
    assert [record.value for record in found if record.topic != small] == [b"3"]
    async with connection_to(database) as connection:
        refused = await connection.fetch("SELECT topic, refused FROM outbox ORDER BY outbox_id")
    assert [row["topic"] for row in refused] == ["credit-voided", "credit-balance"]
    assert "MessageSizeTooLarge" in refused[0]["refused"]


async def test_a_refused_row_is_published_once_the_topic_takes_it(
    kafka: str, database: str, topics: TopicNames
) -> None:
    small = topics.actual("credit-voided")
    await make_topics(kafka, [small], partitions=1, configs={"max.message.bytes": "2000"})
    await add_outbox(database, [("credit-voided", b"k", b"x" * 5000), ("credit-voided", b"k", b"2")])
    async with relaying(kafka, database, topics) as relay:
        await until(lambda: _emptied(database), 20)
        assert relay.state.refused == 1
        await configure(kafka, small, {"max.message.bytes": "10000"})
        async with connection_to(database) as connection:
            assert await retry_refused(connection, "/avoir") == (1, 0)
        await until(lambda: _emptied(database), 20)
        assert relay.state.refused == 1
    found = await consume(kafka, [small])
    assert [record.value for record in found] == [b"2", b"x" * 5000]


async def test_large_values_go_in_rounds_of_bounded_size(
    kafka: str, database: str, topics: TopicNames
) -> None:
    rows = [("credit-issued", b"k%d" % (n % 3), bytes([65 + n % 26]) * 900_000) for n in range(40)]
    await add_outbox(database, rows)
    async with relaying(kafka, database, topics):
        begun = time.monotonic()
        await until(lambda: _emptied(database), 30)
    found = await consume(kafka, [topics.actual("credit-issued")])
    assert len(found) == 40
    assert time.monotonic() - begun < 20


async def test_a_topic_that_is_missing_is_named_and_waited_for(
    kafka: str, database: str, topics: TopicNames, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("avoir.kafka.publisher._METADATA_S", 0.5)
    await add_outbox(database, [("credit-drawn", b"k", b"1")])
    async with relaying(kafka, database, topics) as relay:
        missing = topics.actual("credit-drawn")
        await until(lambda: missing in relay.state.last_error)
        await make_topics(kafka, [missing])
        await until(lambda: _emptied(database), 15)
        await until(lambda: relay.state.last_error == "")


async def test_the_lease_is_kept_while_the_broker_is_slow(
    kafka: str, database: str, topics: TopicNames, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish = Publisher.publish

    async def slowly(self: Publisher, *arguments: Any) -> None:
        await asyncio.sleep(2.5 * LEASE_S)
        await publish(self, *arguments)

    monkeypatch.setattr(Publisher, "publish", slowly)
    await add_outbox(database, [("credit-issued", b"k", b"1")])
    async with relaying(kafka, database, topics, "one") as first:
        await until(lambda: first.state.doing == "publishing")
        async with relaying(kafka, database, topics, "two") as second:
            await until(lambda: _emptied(database))
            assert second.state.doing == "standing by"
    assert [record.value for record in await consume(kafka, [topics.actual("credit-issued")])] == [b"1"]
