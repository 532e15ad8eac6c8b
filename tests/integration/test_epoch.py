"""A new epoch, after the database was restored: kept with its reason, and every balance published under it."""

import asyncio
import json
import threading
from typing import Any

import pytest

from avoir.cli.base.epochs import raise_epoch
from avoir.cli.base.stopped import stopped_service
from avoir.kafka.publisher import Publisher
from avoir.kafka.topics import TopicNames
from avoir.postgres.connect import Database
from avoir.settings import Settings
from deploy.local.harness.records import consume
from deploy.local.harness.service import settings_for
from deploy.local.harness.topics import make_topics
from deploy.local.harness.waiting import until
from tests.integration.delivery import delivering
from tests.integration.outbox_rows import outbox_count
from tests.integration.test_relay import relaying
from tests.unit.core.world import cancelled, invoice, line, message

BILL = invoice("i1", line("l1", "100", booking="b1"), paid="100")


async def test_a_new_epoch_publishes_every_balance_again(database: str) -> None:
    async with delivering(database) as (deliverer, kept):
        await deliverer.deliver([message("f1", "06-01", BILL), message("c1", "06-02", cancelled("b1"))])
        async with kept.use() as connection:
            await connection.execute("DELETE FROM outbox")
            assert await raise_epoch(connection, "restored", "/avoir") == (2, 1)
            (row,) = await connection.fetch("SELECT topic, value FROM outbox")
            assert await connection.fetchval("SELECT reason FROM epochs WHERE epoch = 2") == "restored"
        balance = json.loads(row["value"])
        assert row["topic"] == "credit-balance"
        assert (balance["epoch"], balance["seq"], balance["available"]) == (2, 1, "100.00")
        await deliverer.deliver([message("v1", "06-03", cancelled("b2"))])
        await deliverer.deliver([message("c2", "06-03", cancelled("b1", revision=1))])
        async with kept.use() as connection:
            last = await connection.fetchval(
                "SELECT value FROM outbox WHERE topic = 'credit-balance' ORDER BY outbox_id DESC LIMIT 1"
            )
        assert (json.loads(last)["epoch"], json.loads(last)["seq"]) == (2, 2)


async def _raise_epoch(settings: Settings) -> None:
    """What the command does."""
    connection = await Database(settings.postgres_dsn).connect()
    async with stopped_service(settings) as block:
        await raise_epoch(connection, "restored", "/avoir", block=block)
    await connection.close()


@pytest.mark.parametrize("published", [False, True], ids=["before it publishes", "before it deletes"])
async def test_a_relay_that_stood_still_meanwhile_takes_nothing_from_the_new_epoch(
    kafka: str, database: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch, published: bool
) -> None:
    names = TopicNames(topic_prefix)
    issued, balance = names.actual("credit-issued"), names.actual("credit-balance")
    await make_topics(kafka, [issued], 1)
    await make_topics(kafka, [balance], 1, {"cleanup.policy": "compact"})
    settings = settings_for(kafka, database, topic_prefix, kafka_group_id=issued)
    async with delivering(database) as (deliverer, _):
        await deliverer.deliver([message("f1", "06-01", BILL), message("c1", "06-02", cancelled("b1"))])
    publish, stalled = Publisher.publish, list[bool]()

    async def stalls_once(self: Publisher, *arguments: Any) -> None:
        if published:
            await publish(self, *arguments)
        if not stalled:
            stalled.append(True)
            # Nothing else of this process runs meanwhile, as in one that is stopped.
            command = threading.Thread(target=lambda: asyncio.run(_raise_epoch(settings)))
            command.start()
            command.join()
        if not published:
            await publish(self, *arguments)

    monkeypatch.setattr(Publisher, "publish", stalls_once)

    async def all_out() -> bool:
        return bool(stalled) and await outbox_count(database) == 0

    async with relaying(kafka, database, names):
        await until(all_out, 40)
    said = [json.loads(record.value) for record in await consume(kafka, [issued])]
    before = [(1, 1, None)] if published else []
    assert [(event["epoch"], event["seq"], event.get("voids_from")) for event in said] == [*before, (2, 1, 1)]
    (*_, last) = await consume(kafka, [balance])
    assert (json.loads(last.value)["epoch"], json.loads(last.value)["seq"]) == (2, 1)
