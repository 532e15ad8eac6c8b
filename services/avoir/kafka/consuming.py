"""A consumer that only looks: at offsets, or at a record."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer

from avoir.kafka.client import Client
from avoir.kafka.decoding import bound_decoding


@asynccontextmanager
async def consuming(client: Client, within_s: float, **options: object) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer of no group that commits nothing, started and in the end stopped, each within a time limit."""
    bound_decoding()
    consumer = AIOKafkaConsumer(**client.options(), enable_auto_commit=False, **options)
    try:
        async with asyncio.timeout(within_s):
            await consumer.start()
        yield consumer
    finally:
        async with asyncio.timeout(within_s):
            await consumer.stop()
