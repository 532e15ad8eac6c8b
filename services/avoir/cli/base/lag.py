"""How far the service is behind: what each partition has on the broker, against the positions kept in Postgres."""

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
"""How far ahead of ours the clocks of those who send messages may be."""


@dataclass(frozen=True, slots=True)
class TopicLag:
    """A topic (default name) with its partitions, the messages in it, and those not handled yet.

    `outside` are the partitions whose position does not lie in the topic that is there now: they stand still.
    """

    topic: str
    partitions: int
    messages: int
    lag: int
    outside: tuple[int, ...] = ()


class Has(NamedTuple):
    """What the broker has of a partition, and the id of its topic."""

    span: Span
    topic_id: UUID | None


class Ages(NamedTuple):
    """A partition by the age of its messages: how far it can be read, and how far it is old.

    Before `waits_to` lie messages that can be read and are older than they may wait, before `held_to` those that are
    older than a transaction may be open.
    """

    readable: int
    waits_to: int
    held_to: int


@dataclass(frozen=True, slots=True)
class OnBroker:
    """The partitions of the topics in, by default names, and the missing topics by their actual ones."""

    has: Mapping[TopicPartition, Has]
    ages: Mapping[TopicPartition, Ages]
    missing_in: Sequence[str]
    missing_out: Sequence[str]


async def partitions(client: Client, names: TopicNames, topics: Iterable[str]) -> dict[TopicPartition, Has]:
    """What the broker has of each partition of the topics, by default names; topics that are not there have none."""
    places = await _partitions(client, {names.actual(topic): topic for topic in topics})
    if not places:
        return {}
    async with _looking(client, places) as consumer:
        return await _has(consumer, places)


async def on_broker(client: Client, names: TopicNames, limits: Limits) -> OnBroker:
    """What the topics in have and how old it is, and which topics are missing."""
    topics_in = {names.actual(topic): topic for topic in SUBSCRIBED}
    topics_out = {names.actual(topic) for topic in EVENTS}
    places = await _partitions(client, topics_in)
    async with _looking(client, places) as consumer:
        missing = (await look_up(consumer, [*topics_in, *topics_out])).missing
        has = await _has(consumer, places)
        held_to = await _older(consumer, places, limits.held_s)
    missing_in, missing_out = sorted(missing & topics_in.keys()), sorted(missing & topics_out)
    if not places:
        return OnBroker({}, {}, missing_in, missing_out)
    async with _looking(client, places, isolation_level="read_committed") as consumer:
        readable = await consumer.end_offsets(list(places))
        waits_to = await _older(consumer, places, limits.unready_s)
    ages = {
        place: Ages(
            readable[there], waits_to.get(there, readable[there]), held_to.get(there, has[place].span.end)
        )
        for there, place in places.items()
    }
    return OnBroker(has, ages, missing_in, missing_out)


@asynccontextmanager
async def _looking(
    client: Client, places: Collection[KafkaPartition], **options: object
) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer that knows the partitions' topics, for a limited time."""
    async with consuming(client, TIMEOUT_S, **options) as consumer, asyncio.timeout(TIMEOUT_S):
        if places:
            # Left to itself, aiokafka learns of one topic at a time and pauses 0.1 s after each.
            await consumer._client.set_topics({place.topic for place in places})
        yield consumer


async def _has(
    consumer: AIOKafkaConsumer, places: Mapping[KafkaPartition, TopicPartition]
) -> dict[TopicPartition, Has]:
    begins = await consumer.beginning_offsets(list(places))
    ends = await consumer.end_offsets(list(places))
    ids = (await look_up(consumer, sorted({there.topic for there in places}))).ids
    return {
        place: Has(Span(begins[there], ends[there]), ids.get(there.topic)) for there, place in places.items()
    }


async def _older(
    consumer: AIOKafkaConsumer, places: Collection[KafkaPartition], seconds: float
) -> dict[KafkaPartition, int]:
    """The first offset of each partition that is not older than so many seconds; none where all are.

    None either where that one says that it is of a time to come: it hides how old those behind it are.
    """
    now_s = time.time()
    found = await consumer.offsets_for_times(dict.fromkeys(places, int((now_s - seconds) * 1000)))
    latest_ms = (now_s + _AHEAD_S) * 1000
    return {there: at.offset for there, at in found.items() if at is not None and at.timestamp <= latest_ms}


async def partition_counts(client: Client, names: TopicNames, topics: Iterable[str]) -> dict[str, int]:
    """How many partitions each topic has, by default names; topics that are not there have none."""
    places = await _partitions(client, {names.actual(topic): topic for topic in topics})
    return dict(Counter(place.topic for place in places.values()))


async def _partitions(client: Client, topics: Mapping[str, str]) -> dict[KafkaPartition, TopicPartition]:
    """The partitions on the broker of topics by their actual names, and what Avoir calls them."""
    admin = AIOKafkaAdminClient(**client.options())
    try:
        async with asyncio.timeout(TIMEOUT_S):
            await admin.start()
            there = await admin.describe_topics(sorted(topics.keys() & set(await admin.list_topics())))
    finally:
        async with asyncio.timeout(TIMEOUT_S):
            await admin.close()
    return {
        KafkaPartition(topic["topic"], each["partition"]): TopicPartition(
            topics[topic["topic"]], each["partition"]
        )
        for topic in there
        for each in topic["partitions"]
    }


def stops(
    has: Mapping[TopicPartition, Has], positions: Mapping[TopicPartition, StoredPosition]
) -> dict[TopicPartition, str]:
    """Why partitions stand still until an operator sets an offset, whether a process has noticed it already or not."""
    found = {
        place: stored.stopped or misplaced(place, stored, has[place].span, has[place].topic_id)
        for place, stored in sorted(positions.items())
        if place in has
    }
    return {place: why for place, why in found.items() if why is not None}


def lag_by_topic(
    has: Mapping[TopicPartition, Has], positions: Mapping[TopicPartition, StoredPosition]
) -> tuple[TopicLag, ...]:
    """What each topic has and what of it waits; a partition without a position waits from its beginning."""
    outside = stops(has, positions)
    lags: dict[str, TopicLag] = {}
    for place, ((begin, end), _) in sorted(has.items()):
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
    """The offset of the next record to handle; the partition's beginning where it has no position."""
    return positions[place].next_offset if place in positions else begin
