"""Assigned partitions, and the positions that Postgres holds for them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.errors import IllegalStateError

from avoir.kafka.consuming import high_watermarks
from avoir.kafka.position import End, Span, StoredPosition, misplaced, positions_of
from avoir.kafka.topic_ids import look_up
from avoir.kafka.topics import TopicNames
from avoir.postgres import queries
from avoir.postgres.connect import Connection, Database, KeptConnection
from avoir.record import Fenced, TopicPartition

log = structlog.get_logger("avoir.loop")


@dataclass(slots=True)
class Assignment(ConsumerRebalanceListener):  # type: ignore[misc]
    """Positions in memory, discarded at every rebalance and read again by the loop; `stopped` has stop reasons.

    As a listener it only discards: aiokafka opens a new assignment before it notifies its listener, and meanwhile reads
    from Kafka's committed offsets, so nothing is sought or awaited here.
    """

    positions: dict[TopicPartition, int] | None = None
    joined: bool = False
    rebalances: int = 0
    stopped: dict[TopicPartition, str] = field(default_factory=dict)

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
        """Read the positions again before the next batch."""
        self.positions = None


class StoredPositions:
    """Reads, creates and stops the positions of a consumer group in `consumer_offsets`."""

    def __init__(self, database: Database, names: TopicNames, group_id: str) -> None:
        self._kept = KeptConnection(database)
        self._names = names
        self._group_id = group_id

    async def seek(self, consumer: AIOKafkaConsumer, assignment: Assignment) -> None:
        """Seek to the stored positions, unless a rebalance interrupts.

        A partition without a position begins at its beginning. If its topic was recreated or does not have its
        position, the partition is stopped until an operator sets an offset: something was lost, and going on anywhere,
        now or once the topic has filled up, would hide it.
        """
        if not assignment.joined:
            return
        rebalances, partitions = assignment.rebalances, consumer.assignment()
        # Positions are read before the ends: what another process handles meanwhile must not seem to be past the end.
        stored = await self._read(map(self.known, partitions))
        spans = await self._spans(consumer, partitions)
        ids = await self._topic_ids(consumer, spans)
        positions = await self._keep(stored, spans, ids)
        if positions is None or assignment.rebalances != rebalances or consumer.assignment() != partitions:
            return
        stopped: dict[TopicPartition, str] = {}
        try:
            for partition, position in positions.items():
                at = self.on_broker(partition)
                consumer.seek(at, position.next_offset)
                if position.stopped is None:
                    consumer.resume(at)
                else:
                    consumer.pause(at)
                    stopped[partition] = position.stopped
        except IllegalStateError:
            return
        for partition in stopped.keys() - assignment.stopped.keys():
            command = f"avoir offsets set {partition.topic} {partition.partition} begin --reason ..."
            log.error("a partition is stopped", what=stopped[partition], command=command)
        assignment.stopped = stopped
        assignment.positions = {partition: position.next_offset for partition, position in positions.items()}

    async def changed(self, consumer: AIOKafkaConsumer, assignment: Assignment) -> bool:
        """Check whether an operator has set a position, or a topic was recreated."""
        if not assignment.positions:
            return False
        stored = await self._read(assignment.positions)
        ids = await self._topic_ids(consumer, stored)
        return stored.keys() != assignment.positions.keys() or any(
            (position.next_offset, position.stopped)
            != (assignment.positions[partition], assignment.stopped.get(partition))
            or (position.stopped is None and ids.get(partition, position.topic_id) != position.topic_id)
            for partition, position in stored.items()
        )

    async def skip(self, moved: Mapping[TopicPartition, int], seen: Mapping[TopicPartition, int]) -> None:
        """Move positions past offsets without messages: transaction markers and aborted records.

        Raises Fenced if the stored positions differ from those seen.
        """
        partitions = sorted(moved)
        async with self._kept.use() as connection, connection.transaction():
            await connection.execute(*queries.lock_offsets(group_id=self._group_id, partitions=partitions))
            done = await connection.fetch(
                *queries.advance_offsets(
                    group_id=self._group_id,
                    partitions=partitions,
                    next_offsets=[moved[partition] for partition in partitions],
                    expected=[seen[partition] for partition in partitions],
                ),
            )
            if len(done) != len(partitions):
                raise Fenced(f"{len(partitions) - len(done)} of {len(partitions)} partitions moved on")

    def on_broker(self, partition: TopicPartition) -> KafkaPartition:
        """Partition with its topic's actual name."""
        return KafkaPartition(self._names.actual(partition.topic), partition.partition)

    def known(self, partition: KafkaPartition) -> TopicPartition:
        """Partition with its topic's default name."""
        return TopicPartition(self._names.default(partition.topic), partition.partition)

    async def ends(self, consumer: AIOKafkaConsumer) -> dict[TopicPartition, End]:
        """Last stable offset and end offset of each assigned partition."""
        stable = await consumer.end_offsets(list(consumer.assignment()))
        assigned = consumer.assignment()
        return {
            self.known(partition): End(end, max(end, consumer.highwater(partition) or 0))
            for partition, end in stable.items()
            if partition in assigned
        }

    def drop(self) -> None:
        """Abort the connection."""
        self._kept.drop()

    async def close(self) -> None:
        """Close the connection."""
        await self._kept.close()

    async def _spans(
        self, consumer: AIOKafkaConsumer, partitions: Iterable[KafkaPartition]
    ) -> dict[TopicPartition, Span]:
        asked = list(partitions)
        if not asked:
            return {}
        begins = await consumer.beginning_offsets(asked)
        # Not the last stable offset: an operator may have set a position beyond the start of an open transaction.
        ends = await high_watermarks(consumer, asked)
        return {self.known(partition): Span(begins[partition], ends[partition]) for partition in asked}

    async def _topic_ids(
        self, consumer: AIOKafkaConsumer, partitions: Iterable[TopicPartition]
    ) -> dict[TopicPartition, UUID]:
        actual = {partition: self._names.actual(partition.topic) for partition in partitions}
        ids = (await look_up(consumer, sorted(set(actual.values())))).ids
        return {partition: ids[topic] for partition, topic in actual.items() if topic in ids}

    async def _read(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, StoredPosition]:
        async with self._kept.use() as connection:
            return await self._fetch(connection, sorted(partitions))

    async def _keep(
        self,
        stored: dict[TopicPartition, StoredPosition],
        spans: Mapping[TopicPartition, Span],
        ids: Mapping[TopicPartition, UUID],
    ) -> dict[TopicPartition, StoredPosition] | None:
        """Store new positions, ids and stops. None if a position moved meanwhile."""
        stops = {
            partition: why
            for partition, position in stored.items()
            if position.stopped is None
            and (why := misplaced(partition, position, spans[partition], ids.get(partition)))
        }
        new = sorted(spans.keys() - stored.keys())
        known = {partition for partition, position in stored.items() if position.topic_id or position.stopped}
        unknown = sorted(ids.keys() - known - stops.keys())
        if not (stops or new or unknown):
            return stored
        group = self._group_id
        async with self._kept.use() as connection, connection.transaction():
            begins = [spans[partition].begin for partition in new]
            await connection.execute(
                *queries.add_positions(group_id=group, partitions=new, next_offsets=begins)
            )
            await connection.execute(
                *queries.lock_offsets(group_id=group, partitions=sorted({*unknown, *stops}))
            )
            await connection.execute(
                *queries.set_topic_ids(
                    group_id=group, partitions=unknown, topic_ids=[ids[partition] for partition in unknown]
                )
            )
            partitions = sorted(stops)
            expected = [stored[partition].next_offset for partition in partitions]
            reasons = [stops[partition] for partition in partitions]
            done = await connection.fetch(
                *queries.stop_positions(
                    group_id=group, partitions=partitions, expected=expected, reasons=reasons
                )
            )
            return await self._fetch(connection, sorted(spans)) if len(done) == len(partitions) else None

    async def _fetch(
        self, connection: Connection, partitions: Sequence[TopicPartition]
    ) -> dict[TopicPartition, StoredPosition]:
        return positions_of(
            await connection.fetch(*queries.read_positions(group_id=self._group_id, partitions=partitions))
        )
