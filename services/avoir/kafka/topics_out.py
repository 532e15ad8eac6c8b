"""How many partitions of each topic out are used: as many as it had when it was first seen, for ever.

A record's partition follows from its key's hash over that number. More partitions would move accounts to others, and a
reader would see what is new of an account beside what is old.
"""

from collections.abc import Mapping

import structlog

from avoir.kafka.topics import TopicNames
from avoir.postgres import queries
from avoir.postgres.connect import Connection
from avoir.wire.topics import EVENTS

log = structlog.get_logger("avoir.relay")


class TooFewPartitionsError(Exception):
    """A topic has fewer partitions than are used: it was made again, smaller."""


class TopicsOut:
    """The numbers that are kept, by the topics' actual names, and how many partitions were added to each since."""

    def __init__(self, names: TopicNames) -> None:
        self._names = [names.actual(topic) for topic in EVENTS]
        self._used: dict[str, int] = {}
        self.unused: dict[str, int] = {}

    def knows(self, topic: str) -> bool:
        """Whether it is known how many partitions of a topic are used."""
        return topic in self._used

    def used(self, topic: str, partitions: int) -> int:
        """How many of a topic's partitions are used. TooFewPartitionsError where it has not so many."""
        used = self._used[topic]
        if partitions < used:
            raise TooFewPartitionsError(
                f"topic {topic} has {partitions} partitions, and {used} are used: its events are kept in the outbox "
                f"until it has at least {used}"
            )
        return used

    async def look(self, connection: Connection, partitions: Mapping[str, int]) -> None:
        """Keep the numbers of topics seen for the first time, and say which topics have more than are used."""
        there = {name: partitions[name] for name in self._names if name in partitions}
        await connection.execute(
            *queries.add_output_topics(topics=list(there), partitions=list(there.values()))
        )
        rows = await connection.fetch(*queries.read_output_topics(topics=self._names))
        self._used = {row["topic"]: row["partitions"] for row in rows}
        unused = {name: count - self._used[name] for name, count in there.items() if count > self._used[name]}
        for topic, _ in sorted(unused.items() - self.unused.items()):
            log.error(
                "partitions were added to a topic out: they are not used",
                topic=topic,
                partitions=there[topic],
                used=self._used[topic],
            )
        self.unused = unused
