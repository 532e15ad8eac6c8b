"""Producer for commands: idempotent, acks from all replicas, gives up after the first error."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaProducer

from avoir.kafka.client import Client
from avoir.kafka.publisher import abort_producer

TIMEOUT_S = 10.0

Headers = Sequence[tuple[str, bytes | None]]


class Producer:
    """Publishes records and waits for their acknowledgement, many at a time."""

    def __init__(self, producer: AIOKafkaProducer) -> None:
        self._producer = producer
        self._sent: list[asyncio.Future[object]] = []

    async def send(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        headers: Headers = (),
        timestamp_ms: int | None = None,
    ) -> None:
        """Queue a record, with a timestamp or that of now; `flush` reports whether it arrived."""
        async with asyncio.timeout(TIMEOUT_S):
            queued = await self._producer.send(
                topic, value, key=key, headers=list(headers), timestamp_ms=timestamp_ms
            )
        self._sent.append(queued)

    async def flush(self) -> int:
        """Wait until all queued records are acknowledged; returns their number."""
        async with asyncio.timeout(TIMEOUT_S):
            await asyncio.gather(*self._sent)
        count = len(self._sent)
        self._sent.clear()
        return count


@asynccontextmanager
async def producing(client: Client) -> AsyncIterator[Producer]:
    """Start a producer; after an error it is aborted, since stopping it would block for ever."""
    producer = AIOKafkaProducer(**client.options(), acks="all", enable_idempotence=True)
    try:
        async with asyncio.timeout(TIMEOUT_S):
            await producer.start()
        yield Producer(producer)
        async with asyncio.timeout(TIMEOUT_S):
            await producer.stop()
    except BaseException:
        await abort_producer(producer)
        raise
