"""How far the service is behind: where each partition ends, against the positions kept in Postgres."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from aiokafka import TopicPartition as KafkaPartition
from aiokafka.admin import AIOKafkaAdminClient

from avoir.kafka.client import Client
from avoir.kafka.consuming import consuming
from avoir.kafka.topics import TopicNames
from avoir.record import TopicPartition

TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class TopicLag:
    """A topic (default name) with its partitions, the messages in it, and those not handled yet.

    `outside` are the partitions of which the broker does not have the next record any more: they stand still.
    """

    topic: str
    partitions: int
    messages: int
    lag: int
    outside: tuple[int, ...] = ()


async def end_offsets(
    client: Client, names: TopicNames, topics: Iterable[str]
) -> dict[TopicPartition, tuple[int, int]]:
    """Beginning and end of each partition of the topics, by default names; topics that are not there have none."""
    places = await _partitions(client, {names.actual(topic): topic for topic in topics})
    if not places:
        return {}
    async with consuming(client, TIMEOUT_S) as consumer, asyncio.timeout(TIMEOUT_S):
        begins = await consumer.beginning_offsets(list(places))
        ends = await consumer.end_offsets(list(places))
    return {place: (begins[there], ends[there]) for there, place in places.items()}


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


def lag_by_topic(
    ends: Mapping[TopicPartition, tuple[int, int]], positions: Mapping[TopicPartition, int]
) -> tuple[TopicLag, ...]:
    """What each topic has and what of it waits; a partition without a position waits from its beginning."""
    lags: dict[str, TopicLag] = {}
    for place, (begin, end) in sorted(ends.items()):
        known = lags.get(place.topic, TopicLag(place.topic, 0, 0, 0))
        position = positions.get(place, begin)
        lags[place.topic] = TopicLag(
            place.topic,
            known.partitions + 1,
            known.messages + end - begin,
            known.lag + max(0, end - max(position, begin)),
            known.outside if begin <= position <= end else (*known.outside, place.partition),
        )
    return tuple(lags.values())
