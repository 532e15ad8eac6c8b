"""Lag of the service: offsets on the broker compared with the positions in Postgres."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID

from aiokafka import AIOKafkaConsumer
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.admin import AIOKafkaAdminClient

from avoir.kafka.client import Client
from avoir.kafka.consuming import consuming
from avoir.kafka.position import Span, StoredPosition, misplaced
from avoir.kafka.topic_ids import look_up
from avoir.kafka.topics import TopicNames
from avoir.process.flow import Limits
from avoir.record import TopicPartition
from avoir.wire.topics import EVENTS, SUBSCRIBED

TIMEOUT_S = 10.0
_AHEAD_S = 5.0
"""Seconds by which producers' clocks may be ahead of ours."""


@dataclass(frozen=True, slots=True)
class TopicLag:
    """A topic (default name): number of partitions, messages, and messages not handled yet.

    `outside` lists partitions whose position does not lie in the current topic: they are stopped.
    """

    topic: str
    partitions: int
    messages: int
    lag: int
    outside: tuple[int, ...] = ()


class BrokerPartition(NamedTuple):
    """Offsets of a partition on the broker, and the id of its topic."""

    span: Span
    topic_id: UUID | None


class Ages(NamedTuple):
    """Offsets of a partition by age of its messages; `readable` is the end of what committed transactions wrote.

    Messages before `waits_to` can be read and have waited too long; those before `held_to` are older than a transaction
    may be open.
    """

    readable: int
    waits_to: int
    held_to: int


@dataclass(frozen=True, slots=True)
class BrokerState:
    """Partitions of the input topics, by default names, and missing topics by their actual names."""

    partitions: Mapping[TopicPartition, BrokerPartition]
    ages: Mapping[TopicPartition, Ages]
    missing_in: Sequence[str]
    missing_out: Sequence[str]


async def read_partitions(
    client: Client, names: TopicNames, topics: Iterable[str]
) -> dict[TopicPartition, BrokerPartition]:
    """Read the broker's offsets of each partition, by default names; missing topics have none."""
    places = await _places(client, {names.actual(topic): topic for topic in topics})
    if not places:
        return {}
    async with _consumer_of(client, places) as consumer:
        return await _read_partitions(consumer, places)


async def read_broker(client: Client, names: TopicNames, limits: Limits) -> BrokerState:
    """Read contents and age of the input topics, and the missing topics."""
    topics_in = {names.actual(topic): topic for topic in SUBSCRIBED}
    topics_out = {names.actual(topic) for topic in EVENTS}
    places = await _places(client, topics_in)
    async with _consumer_of(client, places) as consumer:
        missing = (await look_up(consumer, [*topics_in, *topics_out])).missing
        partitions = await _read_partitions(consumer, places)
        held_to = await _older(consumer, places, limits.held_s)
    missing_in, missing_out = sorted(missing & topics_in.keys()), sorted(missing & topics_out)
    if not places:
        return BrokerState({}, {}, missing_in, missing_out)
    async with _consumer_of(client, places, isolation_level="read_committed") as consumer:
        readable = await consumer.end_offsets(list(places))
        waits_to = await _older(consumer, places, limits.unready_s)
    ages = {
        place: Ages(
            readable[partition],
            waits_to.get(partition, readable[partition]),
            held_to.get(partition, partitions[place].span.end),
        )
        for partition, place in places.items()
    }
    return BrokerState(partitions, ages, missing_in, missing_out)


@asynccontextmanager
async def _consumer_of(
    client: Client, places: Collection[KafkaPartition], **options: object
) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer that knows the partitions' topics, for a limited time."""
    async with consuming(client, TIMEOUT_S, **options) as consumer, asyncio.timeout(TIMEOUT_S):
        if places:
            # Left to itself, aiokafka learns of one topic at a time and pauses 0.1 s after each.
            await consumer._client.set_topics({place.topic for place in places})
        yield consumer


async def _read_partitions(
    consumer: AIOKafkaConsumer, places: Mapping[KafkaPartition, TopicPartition]
) -> dict[TopicPartition, BrokerPartition]:
    begins = await consumer.beginning_offsets(list(places))
    ends = await consumer.end_offsets(list(places))
    ids = (await look_up(consumer, sorted({partition.topic for partition in places}))).ids
    return {
        place: BrokerPartition(Span(begins[partition], ends[partition]), ids.get(partition.topic))
        for partition, place in places.items()
    }


async def _older(
    consumer: AIOKafkaConsumer, places: Collection[KafkaPartition], seconds: float
) -> dict[KafkaPartition, int]:
    """First offset of each partition that is younger than the given seconds; none if all are older.

    Also none if that record has a timestamp in the future: it would hide the age of the records behind it.
    """
    now_s = time.time()
    offsets = await consumer.offsets_for_times(dict.fromkeys(places, int((now_s - seconds) * 1000)))
    latest_ms = (now_s + _AHEAD_S) * 1000
    return {
        partition: at.offset
        for partition, at in offsets.items()
        if at is not None and at.timestamp <= latest_ms
    }


async def partition_counts(client: Client, names: TopicNames, topics: Iterable[str]) -> dict[str, int]:
    """Partition counts of topics, by default names; missing topics have none."""
    places = await _places(client, {names.actual(topic): topic for topic in topics})
    return dict(Counter(place.topic for place in places.values()))


async def _places(client: Client, topics: Mapping[str, str]) -> dict[KafkaPartition, TopicPartition]:
    """Map partitions on the broker (actual names) to Avoir's names."""
    admin = AIOKafkaAdminClient(**client.options())
    try:
        async with asyncio.timeout(TIMEOUT_S):
            await admin.start()
            described = await admin.describe_topics(sorted(topics.keys() & set(await admin.list_topics())))
    finally:
        async with asyncio.timeout(TIMEOUT_S):
            await admin.close()
    return {
        KafkaPartition(topic["topic"], each["partition"]): TopicPartition(
            topics[topic["topic"]], each["partition"]
        )
        for topic in described
        for each in topic["partitions"]
    }


def stops(
    partitions: Mapping[TopicPartition, BrokerPartition], positions: Mapping[TopicPartition, StoredPosition]
) -> dict[TopicPartition, str]:
    """Reasons why partitions are stopped until an operator sets an offset, whether a process has noticed it or not."""
    reasons = {
        place: stored.stopped or misplaced(place, stored, partitions[place].span, partitions[place].topic_id)
        for place, stored in sorted(positions.items())
        if place in partitions
    }
    return {place: why for place, why in reasons.items() if why is not None}


def lag_by_topic(
    partitions: Mapping[TopicPartition, BrokerPartition], positions: Mapping[TopicPartition, StoredPosition]
) -> tuple[TopicLag, ...]:
    """Size and lag of each topic; a partition without a position counts from its beginning."""
    outside = stops(partitions, positions)
    lags: dict[str, TopicLag] = {}
    for place, ((begin, end), _) in sorted(partitions.items()):
        known = lags.get(place.topic, TopicLag(place.topic, 0, 0, 0))
        lags[place.topic] = TopicLag(
            place.topic,
            known.partitions + 1,
            known.messages + end - begin,
            known.lag + max(0, end - max(next_offset(place, positions, begin), begin)),
            (*known.outside, place.partition) if place in outside else known.outside,
        )
    return tuple(lags.values())


def next_offset(place: TopicPartition, positions: Mapping[TopicPartition, StoredPosition], begin: int) -> int:
    """The offset of the next record to handle; the partition's beginning if it has no position."""
    return positions[place].next_offset if place in positions else begin
