"""Consumers that only read, ends of partitions for any consumer, and aborting one that doesn't stop."""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager, suppress
from copy import copy

from aiokafka import AIOKafkaConsumer
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.consumer.fetcher import READ_UNCOMMITTED

from avoir.kafka.client import Client
from avoir.kafka.decoding import bound_decoding


@asynccontextmanager
async def consuming(client: Client, within_s: float, **options: object) -> AsyncIterator[AIOKafkaConsumer]:
    """Start a consumer without a group that commits nothing, and stop it at the end, each within a time limit."""
    bound_decoding()
    consumer = AIOKafkaConsumer(**client.options(), enable_auto_commit=False, **options)
    try:
        async with asyncio.timeout(within_s):
            await consumer.start()
        yield consumer
    finally:
        async with asyncio.timeout(within_s):
            await consumer.stop()


async def high_watermarks(
    consumer: AIOKafkaConsumer, partitions: Collection[KafkaPartition]
) -> dict[KafkaPartition, int]:
    """Offset after the last record of each partition, open transactions included."""
    # A read_committed consumer gets the last stable offset instead, and aiokafka has no other way to ask.
    fetcher = copy(consumer._fetcher)
    fetcher._isolation_level = READ_UNCOMMITTED
    ends: dict[KafkaPartition, int] = await fetcher.end_offsets(
        list(partitions), consumer._request_timeout_ms
    )
    return ends


async def abort_consumer(consumer: AIOKafkaConsumer) -> None:
    """Abort a consumer that did not stop in time: its heartbeats would keep its partitions."""
    coordinator, fetcher = consumer._coordinator, consumer._fetcher
    for task in (
        getattr(coordinator, "_coordination_task", None),
        getattr(coordinator, "_heartbeat_task", None),
        getattr(coordinator, "_commit_refresh_task", None),
        getattr(fetcher, "_fetch_task", None),
    ):
        if task is not None:
            task.cancel()
    with suppress(Exception):
        async with asyncio.timeout(1):
            await consumer._client.close()
