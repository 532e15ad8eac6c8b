"""Where the consumer stands: the partitions it was given, and the positions that Postgres holds for them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.errors import IllegalStateError

from avoir.kafka.topics import TopicNames
from avoir.postgres import queries
from avoir.postgres.connect import Connection, Database, KeptConnection
from avoir.record import TopicPartition

log = structlog.get_logger("avoir.loop")


@dataclass(frozen=True, slots=True)
class Range:
    """The offsets that a partition has: from `begin` to just before `end`."""

    begin: int
    end: int


@dataclass(slots=True)
class Assignment(ConsumerRebalanceListener):  # type: ignore[misc]
    """The positions in memory, forgotten at every rebalance and read again by the loop.

    As a listener it only forgets. aiokafka opens a new assignment before it tells its listener, and goes on
    reading from Kafka's own committed offsets meanwhile, so nothing is sought here and nothing is waited for.
    """

    positions: dict[TopicPartition, int] | None = None
    joined: bool = False
    rebalances: int = 0
    out_of_range: dict[TopicPartition, str] = field(default_factory=dict)

    def on_partitions_revoked(self, revoked: set[KafkaPartition]) -> None:
        """A rebalance begins."""
        self.positions, self.joined = None, False
        self.rebalances += 1

    def on_partitions_assigned(self, assigned: set[KafkaPartition]) -> None:
        """A rebalance is over."""
        self.positions, self.joined = None, True
        self.rebalances += 1
        log.info("partitions assigned", count=len(assigned))

    def forget(self) -> None:
        """Read the positions again before the next batch counts."""
        self.positions = None


class Positions:
    """Reads and begins the positions of a consumer group in `consumer_offsets`."""

    def __init__(self, database: Database, names: TopicNames, group_id: str) -> None:
        self._kept = KeptConnection(database)
        self._names = names
        self._group_id = group_id

    async def seek(self, consumer: AIOKafkaConsumer, assignment: Assignment) -> None:
        """Move the consumer to the stored positions, unless a rebalance comes between.

        A partition that never had a position begins at its beginning. One whose position lies outside of
        what the broker has is paused: something was lost, and going on anywhere would hide it.
        """
        if not assignment.joined:
            return
        rebalances, partitions = assignment.rebalances, consumer.assignment()
        ranges = await self._ranges(consumer, partitions)
        positions = await self._read(ranges)
        if assignment.rebalances != rebalances or consumer.assignment() != partitions:
            return
        outside: dict[TopicPartition, str] = {}
        try:
            for place, position in positions.items():
                at = self.on_broker(place)
                consumer.seek(at, position)
                if ranges[place].begin <= position <= ranges[place].end:
                    consumer.resume(at)
                else:
                    consumer.pause(at)
                    outside[place] = _lost(place, position, ranges[place])
        except IllegalStateError:
            return
        for place in outside.keys() - assignment.out_of_range.keys():
            command = f"avoir offsets set {place.topic} {place.partition} begin --reason ..."
            log.error("position outside of the topic", what=outside[place], command=command)
        assignment.out_of_range = outside
        assignment.positions = positions

    async def differ(self, positions: dict[TopicPartition, int] | None) -> bool:
        """Whether other positions are stored than those in memory: an operator has set one."""
        if not positions:
            return False
        places = sorted(positions)
        async with self._kept.use() as connection:
            return await self._fetch(connection, places) != positions

    def on_broker(self, place: TopicPartition) -> KafkaPartition:
        """The partition as the broker names it."""
        return KafkaPartition(self._names.actual(place.topic), place.partition)

    def known(self, partition: KafkaPartition) -> TopicPartition:
        """The partition by its topic's default name."""
        return TopicPartition(self._names.default(partition.topic), partition.partition)

    async def ends(self, consumer: AIOKafkaConsumer) -> dict[TopicPartition, int]:
        """The end offset of each assigned partition."""
        ends = await consumer.end_offsets(list(consumer.assignment()))
        return {self.known(partition): end for partition, end in ends.items()}

    def drop(self) -> None:
        """Break the connection off."""
        self._kept.drop()

    async def close(self) -> None:
        """Close the connection."""
        await self._kept.close()

    async def _ranges(
        self, consumer: AIOKafkaConsumer, partitions: Iterable[KafkaPartition]
    ) -> dict[TopicPartition, Range]:
        asked = list(partitions)
        if not asked:
            return {}
        begins = await consumer.beginning_offsets(asked)
        ends = await consumer.end_offsets(asked)
        return {self.known(partition): Range(begins[partition], ends[partition]) for partition in asked}

    async def _read(self, ranges: dict[TopicPartition, Range]) -> dict[TopicPartition, int]:
        async with self._kept.use() as connection:
            found = await self._fetch(connection, sorted(ranges))
            new = sorted(ranges.keys() - found.keys())
            if new:
                begins = [ranges[place].begin for place in new]
                await connection.execute(queries.add_positions, self._group_id, *_columns(new), begins)
                found |= await self._fetch(connection, new)
        return found

    async def _fetch(
        self, connection: Connection, places: Sequence[TopicPartition]
    ) -> dict[TopicPartition, int]:
        rows = await connection.fetch(queries.read_positions, self._group_id, *_columns(places))
        return {TopicPartition(row["topic"], row["partition"]): row["next_offset"] for row in rows}


def _columns(places: Sequence[TopicPartition]) -> tuple[list[str], list[int]]:
    return [place.topic for place in places], [place.partition for place in places]


def _lost(place: TopicPartition, position: int, has: Range) -> str:
    return (
        f"{place.topic}/{place.partition} stands at {position}, but the broker has {has.begin} to {has.end}: "
        "the topic was cut off, made anew, or lost records"
    )
