"""Takes records from the consumer, and finds the one that the client cannot read."""

import asyncio
import time
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.errors import (
    CorruptRecordException,
    IllegalStateError,
    KafkaError,
    UnsupportedCodecError,
)

from avoir.kafka.client import Client
from avoir.kafka.consuming import consuming
from avoir.kafka.merge import oldest

_POLL_MS = 200
_POLL_LIMIT_S = 2.0
_CAREFUL_S = 60.0
_PAUSE_S = 0.05
_LOOK_LIMIT_S = 10.0
_LEAST_HELD = 16
_MOST_HELD_BYTES = 32 * 1024 * 1024

Found = Mapping[KafkaPartition, Sequence[ConsumerRecord]]

log = structlog.get_logger("avoir.loop")


class UnreadableError(Exception):
    """The client could not read a record; the partitions are read one record at a time now, to find it."""


@dataclass(slots=True)
class Reader:
    """Reads batches; a partition with a record that cannot be read is paused there, and the others go on.

    In a backlog the client would empty one partition after the other, and payments would come long before their
    invoices. So a few records of each partition are held, and a batch takes the oldest of them all.
    """

    max_records: int
    unreadable: dict[KafkaPartition, str] = field(default_factory=dict)
    _held: dict[KafkaPartition, deque[ConsumerRecord]] = field(default_factory=dict)
    _careful_until: float = 0.0
    _alarmed: set[str] = field(default_factory=set)
    _stopped_at: dict[KafkaPartition, int] = field(default_factory=dict)

    async def read(self, consumer: AIOKafkaConsumer) -> Found:
        """What is there, at once, or what comes within a moment; perhaps nothing.

        Raises UnreadableError, after which the caller seeks to its positions again.
        """
        if time.monotonic() < self._careful_until:
            return await self._read_singly(consumer)
        try:
            # While the group rebalances getmany waits for its end, and the service may be asked to stop.
            async with asyncio.timeout(_POLL_LIMIT_S):
                full = await self._fill(consumer)
        except TimeoutError:
            return {}
        except Exception as error:
            if _is_about_a_record(error):
                self.look_closely()
                raise UnreadableError(f"{type(error).__name__}: {error}") from error
            raise
        taken = oldest(self._held, full, self.max_records)
        return {place: [self._held[place].popleft() for _ in range(count)] for place, count in taken.items()}

    @property
    def holds(self) -> set[KafkaPartition]:
        """The partitions of which something was read and not handed out yet."""
        return {place for place, held in self._held.items() if held}

    def forget(self) -> None:
        """Drop what is held: the caller is about to seek."""
        self._held.clear()

    def forget_passed(self, positions: Mapping[KafkaPartition, int]) -> None:
        """Drop the alarms of records that the positions sought are not at: somebody has passed them by."""
        for partition in tuple(self.unreadable):
            if positions.get(partition) != self._stopped_at[partition]:
                del self.unreadable[partition]

    async def _fill(self, consumer: AIOKafkaConsumer) -> set[KafkaPartition]:
        """Hold a share of each partition; returns those that may have more than is held."""
        places = sorted(consumer.assignment() - consumer.paused())
        # Twice a batch if all partitions were busy; but half of them are of commands, and mostly quiet.
        share = max(_LEAST_HELD, 4 * self.max_records // max(1, len(places)))
        # What comes at once is at most what one fetch brought of the partition: so far it may go beyond its bytes.
        share_bytes = _MOST_HELD_BYTES // max(1, len(places))

        def has_its_share(held: Collection[ConsumerRecord]) -> bool:
            return len(held) >= share or sum(len(each.value or b"") for each in held) >= share_bytes

        if not any(self._held.values()):
            self._hold(await consumer.getmany(timeout_ms=_POLL_MS, max_records=share))
        if any(self._held.values()):
            for place in places:
                held = self._held.get(place, ())
                if not has_its_share(held):
                    room = share - len(held)
                    self._hold(await consumer.getmany(place, timeout_ms=0, max_records=room))
        return {place for place, held in self._held.items() if has_its_share(held)}

    def _hold(self, found: Found) -> None:
        for place, records in found.items():
            self._held.setdefault(place, deque()).extend(records)

    def look_closely(self) -> None:
        """Read one record at a time for a while, stopped partitions included: their alarms stay until they are read."""
        self._careful_until = time.monotonic() + _CAREFUL_S
        self.forget()

    async def _read_singly(self, consumer: AIOKafkaConsumer) -> Found:
        found: dict[KafkaPartition, list[ConsumerRecord]] = {}
        waiting, left = sorted(consumer.assignment() - consumer.paused()), self.max_records
        while waiting and left:
            # One record of each in turn, so that no backlog starves the others.
            for partition in tuple(waiting):
                record = await self._read_one(consumer, partition) if left else None
                if record is None:
                    waiting.remove(partition)
                else:
                    found.setdefault(partition, []).append(record)
                    left -= 1
        if not found:
            await asyncio.sleep(_PAUSE_S)
        return found

    async def _read_one(self, consumer: AIOKafkaConsumer, partition: KafkaPartition) -> ConsumerRecord | None:
        """The next record that is there; none also where it cannot be read: then the partition is stopped."""
        try:
            part = await consumer.getmany(partition, timeout_ms=0, max_records=1)
        except Exception as error:
            if not _is_about_a_record(error):
                raise
            await self._stop(consumer, partition, error)
            return None
        if part:
            self.unreadable.pop(partition, None)
        return part[partition][0] if part else None

    async def _stop(self, consumer: AIOKafkaConsumer, partition: KafkaPartition, error: Exception) -> None:
        try:
            async with asyncio.timeout(_POLL_LIMIT_S):
                offset = await consumer.position(partition)
            consumer.pause(partition)
        except (IllegalStateError, TimeoutError):
            return
        what = f"{partition.topic} {partition.partition} {offset}"
        self._stopped_at[partition] = offset
        self.unreadable[partition] = f"{what}: {type(error).__name__}: {error}"
        if what not in self._alarmed:
            self._alarmed.add(what)
            log.error(
                "a record cannot be read: its partition stops here",
                record=what,
                error=f"{type(error).__name__}: {error}",
                command=f"avoir dead-letters skip {what} --reason ...",
            )


def _is_about_a_record(error: Exception) -> bool:
    return isinstance(error, CorruptRecordException | UnsupportedCodecError) or not isinstance(
        error, KafkaError | OSError | TimeoutError
    )


async def is_readable(client: Client, place: KafkaPartition, offset: int) -> bool | None:
    """Whether the client can read the record at an offset; None where none is. Raises KafkaError and TimeoutError."""
    async with consuming(client, _LOOK_LIMIT_S, auto_offset_reset="none") as consumer:
        try:
            async with asyncio.timeout(_LOOK_LIMIT_S):
                consumer.assign([place])
                begin = (await consumer.beginning_offsets([place]))[place]
                if not begin <= offset < (await consumer.end_offsets([place]))[place]:
                    return None
                consumer.seek(place, offset)
                while not (found := await consumer.getmany(place, timeout_ms=_POLL_MS, max_records=1)):
                    pass
                return True if found[place][0].offset == offset else None
        except Exception as error:
            if _is_about_a_record(error):
                return False
            raise
