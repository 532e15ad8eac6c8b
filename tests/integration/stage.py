"""What the tests of the shell set up: topics, outbox rows, records on the broker, and waiting for conditions."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.admin.new_partitions import NewPartitions
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy as BuilderInPython

from avoir.postgres.headers import packed
from avoir.settings import Settings


def settings_for(kafka: str, dsn: str, prefix: str, **others: object) -> Settings:
    """Settings with short timeouts, for topics and a group of the test's own."""
    values: dict[str, object] = {
        "kafka_bootstrap_servers": kafka,
        "postgres_dsn": dsn,
        "kafka_topic_prefix": prefix,
        "kafka_group_id": prefix + "group",
        "kafka_session_timeout_ms": 6_000,
        "kafka_heartbeat_interval_ms": 1_000,
        "relay_lease_s": 1.0,
        "http_port": 0,
        "http_host": "127.0.0.1",
    }
    return Settings(**{**values, **others})  # type: ignore[arg-type]


async def until(
    condition: Callable[[], Awaitable[bool] | bool], within_s: float = 10, what: str = ""
) -> float:
    """Wait until the condition holds and return the seconds it took; fail when it does not in time."""
    begun = time.monotonic()
    while True:
        answer = condition()
        if answer if isinstance(answer, bool) else await answer:
            return time.monotonic() - begun
        if time.monotonic() > begun + within_s:
            raise AssertionError(f"not within {within_s} s: {what or condition}")
        await asyncio.sleep(0.01)


@asynccontextmanager
async def connection_to(dsn: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """A superuser's connection that looks into the schema."""
    connection = await asyncpg.connect(
        dsn, timeout=10, command_timeout=30, server_settings={"search_path": "avoir"}
    )
    try:
        yield connection
    finally:
        await connection.close(timeout=5)


async def make_topics(
    kafka: str, names: Iterable[str], partitions: int = 4, configs: dict[str, str] | None = None
) -> None:
    """Make topics by their actual names."""
    async with _admin(kafka) as admin:
        await admin.create_topics(
            [NewTopic(name, partitions, 1, topic_configs=configs or {}) for name in names]
        )


async def make_topic_anew(kafka: str, topic: str, partitions: int) -> None:
    """Delete a topic, and make another one of the same name as soon as the broker lets us."""
    async with _admin(kafka) as admin:
        await admin.delete_topics([topic])

        async def made() -> bool:
            answer = await admin.create_topics([NewTopic(topic, partitions, 1)])
            return bool(answer.topic_errors[0][1] == 0)

        await until(made, 20, f"{topic} is made anew")


async def delete_topic(kafka: str, topic: str) -> None:
    """Delete a topic."""
    async with _admin(kafka) as admin:
        await admin.delete_topics([topic])


async def delete_records(kafka: str, topic: str, partition: int, before: int) -> None:
    """Delete the records of a partition before an offset, as retention does."""
    async with _admin(kafka) as admin:
        await admin.delete_records({TopicPartition(topic, partition): RecordsToDelete(before)})


async def configure(kafka: str, topic: str, configs: dict[str, str]) -> None:
    """Change a topic's settings."""
    async with _admin(kafka) as admin:
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs)])


async def add_partitions(kafka: str, topics: Iterable[str], count: int) -> None:
    """Give topics more partitions, so many in all."""
    async with _admin(kafka) as admin:
        await admin.create_partitions({topic: NewPartitions(count) for topic in topics})


async def make_again(kafka: str, topic: str, partitions: int) -> None:
    """Delete a topic and make it again, empty."""
    async with _admin(kafka) as admin:
        await admin.delete_topics([topic])

        async def is_there() -> bool:
            if topic in await admin.list_topics():
                (told,) = await admin.describe_topics([topic])
                return len(told["partitions"]) == partitions
            await admin.create_topics([NewTopic(topic, partitions, 1)])
            return False

        await until(is_there, 20, f"{topic} is made again")


@asynccontextmanager
async def _admin(kafka: str) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


async def add_outbox(
    dsn: str, rows: Sequence[tuple[str, bytes | None, bytes]], headers: dict[str, bytes] | None = None
) -> None:
    """Write outbox rows of (topic, key, value) in one transaction."""
    async with connection_to(dsn) as connection:
        await connection.execute(
            "INSERT INTO outbox (tenant_id, topic, key, value, headers, recorded_at)"
            " SELECT 't1', v.topic, v.key, v.value, $4, clock_timestamp()"
            " FROM unnest($1::text[], $2::bytea[], $3::bytea[]) WITH ORDINALITY AS v (topic, key, value, n) ORDER BY n",
            [row[0] for row in rows],
            [row[1] for row in rows],
            [row[2] for row in rows],
            packed((headers or {}).items()),
        )


async def outbox_count(dsn: str) -> int:
    """How many rows wait to be published."""
    async with connection_to(dsn) as connection:
        count: int = await connection.fetchval("SELECT count(*) FROM outbox WHERE refused IS NULL")
        return count


async def produce(
    kafka: str, records: Iterable[tuple[str, bytes | None, bytes | None]], partition: int | None = None
) -> None:
    """Put records of (topic, key, value) on the broker, in order, if need be all on one partition."""
    async with AIOKafkaProducer(bootstrap_servers=kafka, acks="all", enable_idempotence=True) as producer:
        sent = [await producer.send(topic, value, key, partition=partition) for topic, key, value in records]
        await asyncio.gather(*sent)


async def consume(kafka: str, topics: Iterable[str]) -> list[ConsumerRecord]:
    """All committed records of the topics, each partition in order."""
    async with AIOKafkaConsumer(
        bootstrap_servers=kafka, isolation_level="read_committed", enable_auto_commit=False
    ) as consumer:
        places = [
            TopicPartition(topic, number)
            for topic in topics
            for number in sorted(
                await consumer._client._wait_on_metadata(topic) and consumer.partitions_for_topic(topic)
            )
        ]
        consumer.assign(places)
        await consumer.seek_to_beginning(*places)
        ends = await consumer.end_offsets(places)
        found: list[ConsumerRecord] = []
        until_s = time.monotonic() + 20
        while any([await consumer.position(place) < ends[place] for place in places]):
            assert time.monotonic() < until_s, "the topics could not be read to their ends"
            for batch in (await consumer.getmany(timeout_ms=100)).values():
                found.extend(batch)
        return found


class _NotText(str):
    """A header name that the client writes as bytes which are no UTF-8."""

    def encode(self, *_: object) -> bytes:
        return b"\xff\xfe"


async def produce_unreadable(kafka: str, topic: str, partition: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Publish a record that no client can read: the name of its header is not UTF-8."""
    for module in ("producer", "message_accumulator"):
        monkeypatch.setattr(f"aiokafka.producer.{module}.DefaultRecordBatchBuilder", BuilderInPython)
    async with AIOKafkaProducer(bootstrap_servers=kafka) as raw:
        headers = [(_NotText("name"), b"")]
        await raw.send_and_wait(topic, b"bad", b"k", partition=partition, headers=headers)
