"""How far the service is behind: where each partition ends, against the positions kept in Postgres."""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer
from aiokafka import TopicPartition as KafkaPartition

from avoir.kafka.client import Client
from avoir.kafka.topics import TopicNames
from avoir.record import TopicPartition

TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class TopicLag:
    """A topic (default name) with its partitions, the messages in it, and those not handled yet."""

    topic: str
    partitions: int
    messages: int
    lag: int


async def end_offsets(
    client: Client, names: TopicNames, topics: Iterable[str]
) -> dict[TopicPartition, tuple[int, int]]:
    """Beginning and end of each partition of the topics, by default names; topics that are not there have none."""
    consumer = AIOKafkaConsumer(**client.options(), enable_auto_commit=False)
    async with asyncio.timeout(TIMEOUT_S):
        await consumer.start()
    try:
        async with asyncio.timeout(TIMEOUT_S):
            found = await consumer.topics()
            wanted = {names.actual(topic): topic for topic in topics}
            places = [
                KafkaPartition(actual, partition)
                for actual in sorted(wanted.keys() & found)
                for partition in sorted(consumer.partitions_for_topic(actual) or ())
            ]
            begins, ends = await consumer.beginning_offsets(places), await consumer.end_offsets(places)
        return {
            TopicPartition(wanted[place.topic], place.partition): (begins[place], ends[place])
            for place in places
        }
    finally:
        async with asyncio.timeout(TIMEOUT_S):
            await consumer.stop()


def lag_by_topic(
    ends: Mapping[TopicPartition, tuple[int, int]], positions: Mapping[TopicPartition, int]
) -> tuple[TopicLag, ...]:
    """What each topic has and what of it waits; a partition without a position waits from its beginning."""
    lags: dict[str, TopicLag] = {}
    for place, (begin, end) in sorted(ends.items()):
        known = lags.get(place.topic, TopicLag(place.topic, 0, 0, 0))
        waiting = max(0, end - max(positions.get(place, begin), begin))
        lags[place.topic] = TopicLag(
            place.topic, known.partitions + 1, known.messages + end - begin, known.lag + waiting
        )
    return tuple(lags.values())
