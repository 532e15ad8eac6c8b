"""Publishes records to the broker, and reads them."""

import asyncio
import time
from collections.abc import Iterable

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition

READ_WITHIN_S = 20


async def produce(
    kafka: str, records: Iterable[tuple[str, bytes | None, bytes | None]], partition: int | None = None
) -> None:
    """Publish records of (topic, key, value) in order, optionally all to one partition."""
    async with AIOKafkaProducer(bootstrap_servers=kafka, acks="all", enable_idempotence=True) as producer:
        sent = [await producer.send(topic, value, key, partition=partition) for topic, key, value in records]
        await asyncio.gather(*sent)


async def consume(kafka: str, topics: Iterable[str]) -> list[ConsumerRecord]:
    """All committed records of the topics, each partition in order."""
    async with AIOKafkaConsumer(
        bootstrap_servers=kafka, isolation_level="read_committed", enable_auto_commit=False
    ) as consumer:
        partitions = [
            TopicPartition(topic, number)
            for topic in topics
            for number in sorted(
                await consumer._client._wait_on_metadata(topic) and consumer.partitions_for_topic(topic)
            )
        ]
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        ends = await consumer.end_offsets(partitions)
        records: list[ConsumerRecord] = []
        until_s = time.monotonic() + READ_WITHIN_S
        while any([await consumer.position(each) < ends[each] for each in partitions]):
            assert time.monotonic() < until_s, "the topics could not be read to their ends"
            for batch in (await consumer.getmany(timeout_ms=100)).values():
                records.extend(batch)
        return records
