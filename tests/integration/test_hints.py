"""What lag monitors see: the offsets that the group has on the broker follow the positions to the end."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient

from avoir.process.wiring import names_of
from avoir.settings import Settings
from deploy.local.harness.databases import connection_to
from deploy.local.harness.service import settings_for
from deploy.local.harness.topics import make_all_topics
from deploy.local.harness.waiting import until
from deploy.local.kafka import launched_kafka
from tests.integration.proxy import Proxy, proxy
from tests.integration.running import FACT, positions, running, send, until_handled

WITHIN_S = 5.0
"""So long after the last batch monitors may still see a lag."""
DELAY_S = 0.03
"""Each way between the service and the broker."""
SLOW_MACHINE = 3


async def seen_by_monitors(settings: Settings, kafka: str) -> dict[tuple[str, int], tuple[int, int]]:
    """Of each partition that the group has: its offset on the broker, and the end of the partition."""
    names, admin = names_of(settings), AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    try:
        offsets = await admin.list_consumer_group_offsets(settings.kafka_group_id)
    finally:
        await admin.close()
    async with AIOKafkaConsumer(bootstrap_servers=kafka, enable_auto_commit=False) as consumer:
        ends = await consumer.end_offsets(list(offsets)) if offsets else {}
    return {(names.default(at.topic), at.partition): (offsets[at].offset, ends[at]) for at in offsets}


async def until_no_lag(settings: Settings, kafka: str) -> None:
    """Wait until monitors see no lag, and the positions in Postgres."""

    async def none() -> bool:
        seen = await seen_by_monitors(settings, kafka)
        stored = await positions(settings)
        return {place: at for place, (at, _) in seen.items()} == stored and all(
            at == end for at, end in seen.values()
        )

    await until(none, WITHIN_S * SLOW_MACHINE, "lag monitors see no lag")


@asynccontextmanager
async def broker_behind(network: Proxy) -> AsyncIterator[str]:
    """A broker of the test's own that all clients reach through a proxy; yields its address."""
    with launched_kafka(advertised_port=network.port) as kafka:
        kafka.server.wait_ready()
        network.target_port = int(kafka.bootstrap_servers.rpartition(":")[2])
        yield f"127.0.0.1:{network.port}"


@pytest.mark.faults
async def test_the_last_batches_of_a_burst_are_told_over_a_slow_network(
    database: str, topic_prefix: str
) -> None:
    async with proxy() as network, broker_behind(network) as kafka:
        settings = settings_for(kafka, database, topic_prefix, kafka_max_records=4)
        await make_all_topics(settings)
        async with running(settings) as run:
            await run.joined()
            for burst in range(3):
                network.delay_s = DELAY_S
                await send(settings, range(burst * 40, burst * 40 + 40))
                await until_handled(settings, burst * 40 + 40, 30)
                network.delay_s = 0.0  # only so that the test itself asks quickly
                await until_no_lag(settings, kafka)


async def handled_while_nothing_gets_through(settings: Settings, network: Proxy, ids: range) -> None:
    """Have messages handled that were read before the network failed: a lock holds their batch until then."""
    async with connection_to(settings.postgres_dsn.get_secret_value()) as connection:
        async with connection.transaction():
            await connection.execute("SELECT FROM consumer_offsets FOR UPDATE")
            await send(settings, ids, (FACT,))

            async def waits() -> bool:
                return bool(
                    await connection.fetchval("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)")
                )

            await until(waits, 30, "the batch waits for the lock")
            network.swallow()
        await until_handled(settings, ids.stop, 30)


@pytest.mark.faults
async def test_a_hint_that_fails_is_given_again_by_this_process_or_the_next(
    database: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("avoir.kafka.loop._HINT_TIMEOUT_S", 0.5)
    async with proxy() as network, broker_behind(network) as kafka:
        settings = settings_for(kafka, database, topic_prefix)
        await make_all_topics(settings)
        async with running(settings) as run:
            await run.joined()
            await handled_while_nothing_gets_through(settings, network, range(10))
            await network.mend()
            await until_no_lag(settings, kafka)
            await handled_while_nothing_gets_through(settings, network, range(10, 20))
        await network.mend()
        async with running(settings):
            await until_no_lag(settings, kafka)
