"""Topics out whose partitions change while events go out: a reader misses none."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest
from aiokafka import ConsumerRecord

from avoir.cli.base.exits import Exit
from avoir.kafka.topics import TopicNames
from deploy.local.harness.databases import connection_to
from deploy.local.harness.records import consume
from deploy.local.harness.topics import add_partitions, make_topics, remake_topic
from deploy.local.harness.waiting import until
from tests.integration.command import Command
from tests.integration.outbox_rows import add_outbox, outbox_count
from tests.integration.test_relay import relaying

ACCOUNTS = 60
FEW, MANY = 4, 9
EVENT, BALANCE, LETTER = "credit-issued", "credit-balance", "credit-dead-letter"


@pytest.fixture
async def topics(kafka: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch) -> TopicNames:
    """Topics of a few partitions, and clients that notice within a moment when they change."""
    monkeypatch.setattr("avoir.kafka.client.METADATA_MAX_AGE_MS", 300)
    monkeypatch.setattr("avoir.kafka.relay._PARTITIONS_EVERY_S", 0.3)
    names = TopicNames(topic_prefix)
    await make_topics(kafka, [names.actual(EVENT), names.actual(LETTER)], FEW)
    await make_topics(kafka, [names.actual(BALANCE)], FEW, {"cleanup.policy": "compact"})
    return names


async def publish(dsn: str, seqs: range) -> None:
    """An event and a balance of every account for each seq, and a dead letter without a key."""
    rows: list[tuple[str, bytes | None, bytes]] = []
    for seq in seqs:
        for number in range(ACCOUNTS):
            value = json.dumps({"account": number, "epoch": 1, "seq": seq, "head": ""}).encode()
            rows += [(topic, b"t1/user/u%d/EUR" % number, value) for topic in (EVENT, BALANCE)]
        rows.append((LETTER, None, b"?"))
    await add_outbox(dsn, rows)

    async def out() -> bool:
        return await outbox_count(dsn) == 0

    await until(out, 30, "published")


def kept(records: Sequence[ConsumerRecord]) -> dict[int, list[int]]:
    """What a reader keeps of each account: what is above the last (epoch, seq)."""
    last: dict[int, tuple[int, int]] = {}
    seen: dict[int, list[int]] = {}
    for record in records:
        event = json.loads(record.value)
        number = (event["epoch"], event["seq"])
        if number > last.get(event["account"], (0, 0)):
            last[event["account"]] = number
            seen.setdefault(event["account"], []).append(event["seq"])
    return seen


async def read_as_badly_as_may_be(kafka: str, topic: str) -> list[ConsumerRecord]:
    """All records, the partitions one after the other and those that came last first."""
    records = await consume(kafka, [topic])
    return sorted(records, key=lambda record: (-record.partition, record.offset))


async def test_no_account_loses_an_event_when_partitions_are_added_to_live_topics(
    kafka: str, database: str, topics: TopicNames
) -> None:
    async with relaying(kafka, database, topics) as relay:
        await publish(database, range(1, 3))
        await add_partitions(kafka, map(topics.actual, (EVENT, BALANCE, LETTER)), MANY)
        await until(lambda: len(relay.output_topics.unused) == 3, 20, "the relay notices")
        assert set(relay.output_topics.unused.values()) == {MANY - FEW}
        await publish(database, range(3, 5))
    async with relaying(kafka, database, topics, "two") as relay:
        await publish(database, range(5, 7))
        assert relay.output_topics.unused.keys() == {topics.actual(each) for each in (EVENT, BALANCE, LETTER)}
    read = kept(await read_as_badly_as_may_be(kafka, topics.actual(EVENT)))
    assert read == {number: list(range(1, 7)) for number in range(ACCOUNTS)}
    balances = {
        record.key: json.loads(record.value)["seq"]
        for record in await read_as_badly_as_may_be(kafka, topics.actual(BALANCE))
    }
    assert balances == {b"t1/user/u%d/EUR" % number: 6 for number in range(ACCOUNTS)}
    assert len(await consume(kafka, [topics.actual(LETTER)])) == 6


async def test_a_topic_made_again_smaller_gets_nothing_until_it_is_large_enough(
    kafka: str, database: str, topics: TopicNames
) -> None:
    async with relaying(kafka, database, topics):
        await publish(database, range(1, 2))
    await remake_topic(kafka, topics.actual(EVENT), 1)
    async with relaying(kafka, database, topics, "two") as relay:
        publishing = asyncio.create_task(publish(database, range(2, 4)))
        await until(lambda: f"{FEW} are used" in relay.state.last_error, 20, "the relay says so")
        assert await consume(kafka, [topics.actual(EVENT)]) == []
        await add_partitions(kafka, [topics.actual(EVENT)], FEW)
        await publishing
    assert kept(await consume(kafka, [topics.actual(EVENT)])) == {
        number: [2, 3] for number in range(ACCOUNTS)
    }


async def test_status_tells_of_partitions_that_are_not_used_and_of_those_that_miss(
    command: Command, kafka: str, database: str, topics: TopicNames, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AVOIR_POSTGRES_DSN", database)
    monkeypatch.setenv("AVOIR_KAFKA_BOOTSTRAP_SERVERS", kafka)
    monkeypatch.setenv("AVOIR_KAFKA_TOPIC_PREFIX", topics.actual(EVENT).removesuffix(EVENT))

    async def partitions_shown() -> dict[str, tuple[Any, Any]]:
        output_topics = (await command.json("status"))["topics_out"]
        return {each["topic"]: (each["partitions"], each["used"]) for each in output_topics}

    assert (await partitions_shown())[EVENT] == (FEW, None)
    async with relaying(kafka, database, topics):
        await publish(database, range(1, 2))
    assert (await partitions_shown())[EVENT] == (FEW, FEW)
    assert "partitions, and" not in await command.text("status")
    await add_partitions(kafka, [topics.actual(EVENT)], MANY)
    async with connection_to(database) as connection:
        await connection.execute(
            "UPDATE topics_out SET partitions = 5 WHERE topic = $1", topics.actual(BALANCE)
        )
    found = await partitions_shown()
    assert (found[EVENT], found[BALANCE]) == ((MANY, FEW), (FEW, 5))
    words = await command.text("status", code=Exit.OK)
    assert f"{EVENT} has {MANY} partitions, and {FEW} are used: the added partitions stay empty." in words
    assert (
        f"{BALANCE} has {FEW} partitions, and 5 are used: no event is published there until it has that many."
        in words
    )
