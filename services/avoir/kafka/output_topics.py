"""Number of used partitions of each output topic: as many as it had when first seen, for ever.

A record's partition follows from its key's hash over that number. With more partitions, accounts would move, and a
reader could see new events of an account before old ones.
"""

from collections.abc import Mapping

import structlog

from avoir.kafka.topics import TopicNames
from avoir.postgres import queries
from avoir.postgres.connect import Connection
from avoir.wire.topics import EVENTS

log = structlog.get_logger("avoir.relay")


class TooFewPartitionsError(Exception):
    """A topic has fewer partitions than are used: it was recreated smaller."""


class OutputTopics:
    """Stored numbers of partitions by the topics' actual names; `unused` has the number added to each since."""

    def __init__(self, names: TopicNames) -> None:
        self._names = [names.actual(topic) for topic in EVENTS]
        self._used: dict[str, int] = {}
        self.unused: dict[str, int] = {}

    def has(self, topic: str) -> bool:
        """Check whether the number of a topic's used partitions is known."""
        return topic in self._used

    def used(self, topic: str, partitions: int) -> int:
        """Number of a topic's partitions in use. Raises TooFewPartitionsError if it has fewer."""
        used = self._used[topic]
        if partitions < used:
            raise TooFewPartitionsError(
                f"topic {topic} has {partitions} partitions, and {used} are used: its events stay in the outbox "
                f"until it has at least {used}"
            )
        return used

    async def update(self, connection: Connection, partitions: Mapping[str, int]) -> None:
        """Store the numbers of topics seen for the first time, and report topics that have more than are used."""
        existing = {name: partitions[name] for name in self._names if name in partitions}
        await connection.execute(
            *queries.add_output_topics(topics=list(existing), partitions=list(existing.values()))
        )
        rows = await connection.fetch(*queries.read_output_topics(topics=self._names))
        self._used = {row["topic"]: row["partitions"] for row in rows}
        unused = {
            name: count - self._used[name] for name, count in existing.items() if count > self._used[name]
        }
        for topic, _ in sorted(unused.items() - self.unused.items()):
            log.error(
                "partitions were added to a topic out: they are not used",
                topic=topic,
                partitions=existing[topic],
                used=self._used[topic],
            )
        self.unused = unused
