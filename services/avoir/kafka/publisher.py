"""Publishes outbox rows in one transaction of the broker, in order within each partition."""

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any, NamedTuple

import asyncpg
from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    CorruptRecordException,
    InvalidTopicError,
    MessageSizeTooLargeError,
    UnknownError,
    UnknownTopicOrPartitionError,
    UnsupportedForMessageFormatError,
)
from aiokafka.partitioner import DefaultPartitioner, murmur2
from aiokafka.producer.message_accumulator import BatchBuilder

from avoir.kafka.client import Client
from avoir.kafka.output_topics import OutputTopics
from avoir.kafka.topics import TopicNames
from avoir.postgres.headers import unpacked

TIMEOUT_S = 10.0
BATCH_BYTES = 262_144
_METADATA_S = 4.0
# Longer than a round may take, and short enough that a dead relay doesn't delay readers for long.
_TRANSACTION_TIMEOUT_MS = 15_000
_FOR_GOOD = (
    MessageSizeTooLargeError,
    InvalidTopicError,
    CorruptRecordException,
    UnsupportedForMessageFormatError,
    UnknownError,  # aiokafka's error for codes that it does not know, such as 87, an invalid record
)


def relay_transactional_id(group_id: str) -> str:
    """The transactional id under which the relays of a consumer group publish."""
    return f"{group_id}-relay"


async def fence(client: Client, transactional_id: str) -> None:
    """Start and stop a producer under a transactional id: producers started earlier can't publish any more."""
    producer = AIOKafkaProducer(**client.options(), transactional_id=transactional_id)
    try:
        async with asyncio.timeout(TIMEOUT_S):
            await producer.start()
    finally:
        async with asyncio.timeout(TIMEOUT_S):
            await producer.stop()


def stop_sending(producer: AIOKafkaProducer) -> None:
    """Stop a producer from sending, at once; its connections stay open."""
    # The client has no public way to end without waiting for its unsent records.
    producer._closed = True
    task = getattr(producer._sender, "_sender_task", None)
    if task is not None:
        task.cancel()


async def abort_producer(producer: AIOKafkaProducer) -> None:
    """End a producer without its unsent records: after an error, stopping it might block for ever on them."""
    stop_sending(producer)
    with suppress(Exception):
        async with asyncio.timeout(3):
            await producer.client.close()


class RefusedError(Exception):
    """The broker refused a batch because of its contents; `outbox_ids` are its rows."""

    def __init__(self, outbox_ids: list[int], cause: Exception) -> None:
        super().__init__(f"{type(cause).__name__}: {cause}")
        self.outbox_ids = outbox_ids
        self.certain = not isinstance(cause, UnknownError)


class _Batch(NamedTuple):
    topic: str
    partition: int
    builder: BatchBuilder
    outbox_ids: list[int]


class Publisher:
    """A transactional producer.

    After any error it can't be used: discard it and make another. The transactional id fences: once another publisher
    has started under it, this one can't publish any more.
    """

    def __init__(self, client: Client, names: TopicNames, transactional_id: str) -> None:
        self._names = names
        self._producer = AIOKafkaProducer(
            **client.options(),
            acks="all",
            enable_idempotence=True,
            transactional_id=transactional_id,
            transaction_timeout_ms=_TRANSACTION_TIMEOUT_MS,
            max_batch_size=BATCH_BYTES,
        )

    async def start(self) -> None:
        """Connect, and end open transactions of earlier publishers under this id."""
        async with asyncio.timeout(TIMEOUT_S):
            await self._producer.start()

    async def partitions(self) -> dict[str, int]:
        """Number of partitions of each topic on the broker, by actual names."""
        async with asyncio.timeout(TIMEOUT_S):
            cluster = await self._producer.client.fetch_all_metadata()
        return {topic: len(cluster.partitions_for_topic(topic)) for topic in cluster.topics()}

    async def publish(
        self, rows: Sequence[asyncpg.Record], output_topics: OutputTopics, alone: Collection[int] = ()
    ) -> None:
        """Publish all rows or none, over the partitions in use; those in `alone` get separate batches.

        Raises RefusedError for rows that the broker will never take, other errors for temporary failures.
        """
        async with asyncio.timeout(TIMEOUT_S):
            partitions = {
                topic: await self._partitions(topic, output_topics)
                for topic in {row["topic"] for row in rows}
            }
            await self._producer.begin_transaction()
            sent = []
            for batch in self._batches(rows, partitions, alone):
                future = await self._producer.send_batch(
                    batch.builder, batch.topic, partition=batch.partition
                )
                sent.append((batch, future))
            results = await asyncio.gather(*(future for _, future in sent), return_exceptions=True)
            _raise_first(zip((batch for batch, _ in sent), results, strict=True))
            await self._producer.commit_transaction()

    async def stop(self) -> None:
        """Close cleanly after a successful round, otherwise abort."""
        try:
            async with asyncio.timeout(3):
                await self._producer.stop()
        except Exception:
            await self.discard()

    def drop(self) -> None:
        """Stop sending, at once."""
        stop_sending(self._producer)

    async def discard(self) -> None:
        """Abort without flushing: after an error `stop` might block for ever on unsendable batches."""
        await abort_producer(self._producer)

    async def _partitions(self, topic: str, output_topics: OutputTopics) -> tuple[int, ...]:
        actual = self._names.actual(topic)
        try:
            async with asyncio.timeout(_METADATA_S):
                numbers = sorted(await self._producer.partitions_for(actual))
        except (TimeoutError, UnknownTopicOrPartitionError):
            raise TimeoutError(
                f"the broker reports no partitions of topic {actual}: does it exist?"
            ) from None
        if not output_topics.has(actual):
            raise TimeoutError(f"topic {actual} is new: its partitions are not known yet")
        return tuple(numbers[: output_topics.used(actual, len(numbers))])

    def _batches(
        self, rows: Iterable[asyncpg.Record], partitions: Mapping[str, Sequence[int]], alone: Collection[int]
    ) -> Iterable[_Batch]:
        """Full batches as they fill, then the rest: in order within each partition."""
        filling: dict[tuple[str, int], _Batch] = {}
        for row in rows:
            place = (row["topic"], _partition(row["key"], partitions[row["topic"]]))
            batch = filling.pop(place, None)
            if batch is not None and (row["outbox_id"] in alone or not _append(batch, row)):
                yield batch
                batch = None
            if batch is None:
                batch = _Batch(self._names.actual(place[0]), place[1], self._producer.create_batch(), [])
                if not _append(batch, row):
                    raise RefusedError([row["outbox_id"]], ValueError("it does not go into an empty batch"))
            if row["outbox_id"] in alone:
                yield batch
            else:
                filling[place] = batch
        yield from filling.values()


def _append(batch: _Batch, row: asyncpg.Record) -> bool:
    added: Any = batch.builder.append(
        key=row["key"], value=row["value"], timestamp=None, headers=unpacked(row["headers"])
    )
    if added is None:
        return False
    batch.outbox_ids.append(row["outbox_id"])
    return True


@lru_cache(maxsize=16_384)
def _hash(key: bytes) -> int:
    return int(murmur2(key)) & 0x7FFFFFFF


def _partition(key: bytes | None, partitions: Sequence[int]) -> int:
    """Partition by the key's hash, as in every Kafka client's default; any partition for a record without key."""
    if key is None:
        return int(DefaultPartitioner()(None, list(partitions), list(partitions)))
    return partitions[_hash(key) % len(partitions)]


def _raise_first(results: Iterable[tuple[_Batch, object]]) -> None:
    errors = [(batch, result) for batch, result in results if isinstance(result, Exception)]
    for batch, error in errors:
        if isinstance(error, _FOR_GOOD):
            raise RefusedError(batch.outbox_ids, error) from error
    if errors:
        raise errors[0][1]
