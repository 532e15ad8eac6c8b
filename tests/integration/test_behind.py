"""A relay whose ledger is behind `credit-balance`: it publishes nothing, and says so, until an epoch is raised."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
from aiokafka import AIOKafkaProducer

from avoir.cli.base.epochs import raise_epoch
from avoir.core.model.events import AccountKey
from avoir.core.model.rows import Account
from avoir.kafka import batches
from avoir.kafka.client import Client
from avoir.kafka.heads import _TAILS, all_heads, last_heads
from avoir.kafka.topics import TopicNames
from avoir.wire.outgoing import balance_record
from deploy.local.harness.databases import connection_to
from deploy.local.harness.records import consume
from deploy.local.harness.topics import make_topics
from deploy.local.harness.waiting import until
from deploy.local.kafka import Kafka
from tests.integration.delivery import delivering
from tests.integration.outbox_rows import add_outbox, outbox_count
from tests.integration.test_relay import relaying
from tests.integration.unreadable import produce_unreadable
from tests.unit.core.world import cancelled, invoice, line, message

NOW = datetime(2025, 6, 1, tzinfo=UTC)
KEY = AccountKey("t1", "user", "u1", "EUR")
OTHER_HASH = bytes(31) + b"\1"


@pytest.fixture
async def topics(kafka: str, topic_prefix: str) -> TopicNames:
    names = TopicNames(topic_prefix)
    await make_output_topics(kafka, names)
    return names


async def make_output_topics(kafka: str, names: TopicNames) -> None:
    """Make the topics of issued credit and of balances."""
    await make_topics(kafka, [names.actual("credit-issued")], 1)
    await make_topics(kafka, [names.actual("credit-balance")], 2, {"cleanup.policy": "compact"})


async def has_read(
    kafka: str, names: TopicNames, accounts: Sequence[Account], epoch: int = 1, ce_source: str = "/avoir"
) -> None:
    """The heads of these accounts were published."""
    async with AIOKafkaProducer(bootstrap_servers=kafka, enable_idempotence=True) as producer:
        for account in accounts:
            balance = account.balance(account.event_id(epoch), epoch, NOW)
            out = balance_record(balance, ce_source)
            topic = names.actual(out.topic)
            await producer.send_and_wait(topic, out.value, out.key, headers=list(out.headers))


async def abort(kafka: str, topic: str, key: bytes, count: int) -> None:
    """So many transactions that come to nothing."""
    async with AIOKafkaProducer(bootstrap_servers=kafka, transactional_id=topic) as producer:
        for _ in range(count):
            await producer.begin_transaction()
            await producer.send_and_wait(topic, b"{}", key)
            await producer.abort_transaction()


@asynccontextmanager
async def ledger(dsn: str) -> AsyncIterator[Account]:
    """A ledger with one account, at its second event, and nothing that waits."""
    async with delivering(dsn) as (deliverer, _):
        bill = invoice("i1", line("l1", "100", booking="b1"), line("l2", "50", booking="b2"), paid="150")
        await deliverer.deliver([message("f1", "06-01", bill), message("c1", "06-02", cancelled("b1"))])
        await deliverer.deliver([message("c2", "06-02", cancelled("b2"))])
    async with connection_to(dsn) as connection:
        await connection.execute("DELETE FROM outbox")
        row = await connection.fetchrow("SELECT * FROM accounts")
        first = await connection.fetchval("SELECT hash FROM entries WHERE seq = 1")
    assert row is not None and row["seq"] == 2
    yield Account(KEY, 0, 0, 1, first)


async def is_held_back(kafka: str, dsn: str, names: TopicNames) -> str:
    """What the relay says, once it has refused to publish; empty where it has published."""
    before = len(await consume(kafka, [names.actual("credit-issued")]))
    await add_outbox(dsn, [("credit-issued", b"k", b"1")])
    async with relaying(kafka, dsn, names) as relay:
        await until(lambda: bool(relay.state.behind) or relay.state.published > 0, 20)
        said = relay.state.behind
    after = len(await consume(kafka, [names.actual("credit-issued")]))
    assert after == before + (not said)
    async with connection_to(dsn) as connection:
        await connection.execute("DELETE FROM outbox")
    return said


async def test_heads_that_the_ledger_has_hold_nothing_back(
    kafka: str, database: str, topics: TopicNames
) -> None:
    assert await is_held_back(kafka, database, topics) == ""
    async with ledger(database) as first:
        await has_read(kafka, topics, [first])
        assert await is_held_back(kafka, database, topics) == ""


@pytest.mark.parametrize(
    ("seq", "epoch", "head"), [(3, 1, None), (2, 1, OTHER_HASH), (1, 1, OTHER_HASH), (1, 2, None)]
)
async def test_a_later_or_another_head_holds_the_relay_back(
    kafka: str, database: str, topics: TopicNames, seq: int, epoch: int, head: bytes | None
) -> None:
    async with ledger(database) as first:
        await has_read(kafka, topics, [Account(KEY, 0, 0, seq, head or first.head)], epoch)
        said = await is_held_back(kafka, database, topics)
    assert f"t1/user/u1/EUR at epoch {epoch}, seq {seq}" in said
    assert "the ledger is at epoch 1, seq 2" in said


async def test_an_account_that_the_ledger_does_not_know_holds_the_relay_back(
    kafka: str, database: str, topics: TopicNames
) -> None:
    await has_read(kafka, topics, [Account(KEY, 0, 0, 1, OTHER_HASH)])
    assert "seq 0" in await is_held_back(kafka, database, topics)


async def test_another_ledger_on_the_same_topic_and_records_of_nobody_hold_nothing_back(
    kafka: str, database: str, topics: TopicNames
) -> None:
    async with ledger(database) as first:
        await has_read(kafka, topics, [first])
        others = [Account(KEY._replace(owner_id=f"u{n}"), 0, 0, n, OTHER_HASH) for n in range(2, 40)]
        await has_read(kafka, topics, others, ce_source="/another")
        heads = await last_heads(Client([kafka]), topics, "/avoir")
        assert [(head.account, head.seq, head.hash) for head in heads] == [(KEY, 1, first.head)]
        assert await is_held_back(kafka, database, topics) == ""


async def test_all_heads_are_read_in_turns_where_nothing_else_is_read(
    kafka: str, topics: TopicNames, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "TURN_BYTES", 100_000)
    batches.begin_turn()
    accounts = [Account(KEY._replace(owner_id=f"u{n}"), 0, 0, 1, OTHER_HASH) for n in range(1_000)]
    await has_read(kafka, topics, accounts)
    portions = all_heads(Client([kafka]), topics, "/avoir", lambda _read, _total: None)
    heads = [head async for portion in portions for head in portion]
    assert {head.account for head in heads} == {account.key for account in accounts}


async def test_a_record_that_nobody_can_read_stops_nothing(
    own_kafka: Kafka, database: str, topic_prefix: str
) -> None:
    kafka, topics = own_kafka.bootstrap_servers, TopicNames(topic_prefix)
    await make_output_topics(kafka, topics)
    async with ledger(database) as first:
        await has_read(kafka, topics, [first])
        for partition in (0, 1):
            await produce_unreadable(own_kafka, topics.actual("credit-balance"), partition)
        assert [head.seq for head in await last_heads(Client([kafka]), topics, "/avoir")] in ([], [1])
        assert await is_held_back(kafka, database, topics) == ""


async def test_a_last_record_is_found_behind_many_ends_of_transactions(
    kafka: str, database: str, topics: TopicNames
) -> None:
    await has_read(kafka, topics, [Account(KEY, 0, 0, 7, OTHER_HASH)])
    await abort(kafka, topics.actual("credit-balance"), "/".join(KEY).encode(), _TAILS[0] // 2 + 10)
    (head,) = await last_heads(Client([kafka]), topics, "/avoir")
    assert (head.account, head.seq) == (KEY, 7)


async def test_it_goes_on_by_itself_once_an_epoch_was_raised(
    kafka: str, database: str, topics: TopicNames
) -> None:
    async with ledger(database) as first:
        await has_read(kafka, topics, [Account(KEY, 0, 0, 9, first.head)])
        async with relaying(kafka, database, topics) as relay:
            await until(lambda: "avoir epoch raise" in relay.state.last_error, 20)
            assert relay.state.behind
            async with connection_to(database) as connection:
                assert await raise_epoch(connection, "restored", "/avoir") == (2, 1)
            await until(lambda: relay.state.doing == "publishing", 20)
            assert not relay.state.behind

            async def out() -> bool:
                return await outbox_count(database) == 0

            await until(out, 20)
    (head,) = await last_heads(Client([kafka]), topics, "/avoir")
    assert (head.account, head.epoch, head.seq) == (KEY, 2, 2)
