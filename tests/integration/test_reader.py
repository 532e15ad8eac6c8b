"""The reader on a real broker: a backlog in the order of time, and no more of it in memory than its bounds."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition

from avoir.kafka.reader import Reader
from deploy.local.harness.topics import make_topics

PARTITIONS = 3


async def publish(kafka: str, topic: str, count: int, size: int) -> None:
    """Make a topic of three partitions, with so many records of a size, a millisecond apart, on them in turn."""
    await make_topics(kafka, [topic], PARTITIONS)
    async with AIOKafkaProducer(bootstrap_servers=kafka) as producer:
        for n in range(count):
            await producer.send(
                topic, b"x" * size, partition=n % PARTITIONS, timestamp_ms=1_750_000_000_000 + n
            )
        await producer.flush()


@asynccontextmanager
async def consuming(kafka: str, topic: str) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer at the beginning of the topic; it begins to fetch when all records are there."""
    async with AIOKafkaConsumer(bootstrap_servers=kafka, enable_auto_commit=False) as consumer:
        places = [TopicPartition(topic, n) for n in range(PARTITIONS)]
        consumer.assign(places)
        await consumer.seek_to_beginning(*places)
        yield consumer


async def read_all(reader: Reader, consumer: AIOKafkaConsumer, count: int) -> list[list[ConsumerRecord]]:
    """Batches until so many records are read; an empty read may only come before the first record is there."""
    batches: list[list[ConsumerRecord]] = []
    while sum(map(len, batches)) < count:
        found = await reader.read(consumer)
        batches.append([record for part in found.values() for record in part])
    return batches


async def test_a_backlog_of_large_records_is_held_and_read_in_bounded_parts(
    kafka: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    count, size, most = 60, 100_000, 900_000
    monkeypatch.setattr("avoir.kafka.reader._MOST_HELD_BYTES", most)
    await publish(kafka, topic_prefix, count, size)
    async with consuming(kafka, topic_prefix) as consumer:
        batches = await read_all(Reader(1_000), consumer, count)
    one_fetch = 1024 * 1024
    assert max(map(len, batches)) * size <= most + PARTITIONS * one_fetch < count * size
    read = [record for batch in batches for record in batch]
    for partition in range(PARTITIONS):
        offsets = [record.offset for record in read if record.partition == partition]
        assert offsets == list(range(count // PARTITIONS))


async def test_a_batch_takes_the_oldest_records_of_all_partitions(kafka: str, topic_prefix: str) -> None:
    await publish(kafka, topic_prefix, 90, 10)
    async with consuming(kafka, topic_prefix) as consumer:
        batches = await read_all(Reader(30), consumer, 90)
    times = [
        record.timestamp for batch in batches for record in sorted(batch, key=lambda each: each.timestamp)
    ]
    assert times == sorted(times) and len(times) == 90
    assert max(map(len, batches)) <= 30
