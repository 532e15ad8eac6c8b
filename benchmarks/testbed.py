"""The benchmark's own databases and topics on the stack, and the messages that wait there."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.producer.message_accumulator import BatchBuilder

from avoir.kafka.client import Client
from avoir.kafka.topics import TopicNames, create_topics
from avoir.postgres.migrate import migrate
from avoir.wire.topics import FACTS
from benchmarks.mix import Wire
from deploy.local.harness.databases import own_database

PARTITIONS = 4
BATCH_BYTES = 16_384  # what producers make by default
PUBLISH_TIMEOUT_S = 120.0
DATABASE_TIMEOUT_S = 120.0
FED_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class Testbed:
    """Where the brokers and the databases are, by what runs on them."""

    kafka: str
    databases: dict[str, str]
    run: str

    def prefix(self, runner: str) -> str:
        """What the names of a runner's topics begin with."""
        return f"bench-{self.run}-{runner}-"


@asynccontextmanager
async def testbed(kafka: str, admin_dsn: str) -> AsyncIterator[Testbed]:
    """Databases and topics of this run's own; the databases are dropped at its end."""
    run = uuid.uuid4().hex[:8]
    names = {runner: f"avoir_bench_{run}_{runner}" for runner in ("service", "floor", "plain")}
    async with AsyncExitStack() as ends:
        databases = {
            runner: await ends.enter_async_context(
                own_database(admin_dsn, name, within_seconds=DATABASE_TIMEOUT_S)
            )
            for runner, name in names.items()
        }
        await migrate(databases["service"])
        made = Testbed(kafka, databases, run)
        for runner in names:
            await create_topics(Client([kafka]), TopicNames(made.prefix(runner)), PARTITIONS, 1)
        yield made


def topics_in(prefix: str) -> list[str]:
    """The topics of a runner that hold messages in."""
    return [prefix + topic for topic in FACTS]


async def publish(kafka: str, prefix: str, messages: Sequence[Wire]) -> None:
    """Put the messages on their topics, partitioned by customer, a millisecond apart as producers would date them."""
    first_ms = int(time.time() * 1000) - len(messages)
    async with (
        asyncio.timeout(PUBLISH_TIMEOUT_S),
        AIOKafkaProducer(bootstrap_servers=kafka, acks="all", max_batch_size=BATCH_BYTES) as producer,
    ):
        filling: dict[tuple[str, int], BatchBuilder] = {}
        sent = []

        async def send(place: tuple[str, int]) -> None:
            sent.append(await producer.send_batch(filling.pop(place), prefix + place[0], partition=place[1]))

        for n, message in enumerate(messages):
            place = (message.topic, _partition(message.key))
            record = {"timestamp": first_ms + n, "key": message.key, "value": message.value, "headers": []}
            if place in filling and filling[place].append(**record) is None:
                await send(place)
            if place not in filling:
                filling[place] = producer.create_batch()
                filling[place].append(**record)
        for place in list(filling):
            await send(place)
        await asyncio.gather(*sent)


async def feed(kafka: str, prefix: str, messages: Sequence[Wire], group: str) -> None:
    """Publish the messages a few at a time, the next when a group has acknowledged most of those before.

    A consumer hands a backlog out partition by partition; so it gets them in about the order of time, as on any day.
    """
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka, request_timeout_ms=10_000)
    await admin.start()
    try:
        published = 0
        while published < len(messages):
            positions = await admin.list_consumer_group_offsets(group)
            if published - sum(each.offset for each in positions.values()) > FED_AT_ONCE // 2:
                await asyncio.sleep(0.05)
                continue
            await publish(kafka, prefix, messages[published : published + FED_AT_ONCE])
            published += FED_AT_ONCE
    finally:
        await admin.close()


def _partition(key: bytes) -> int:
    # The last digits of the customer's number: even, and the same in every run.
    return int(key[-5:]) // 5 % PARTITIONS
