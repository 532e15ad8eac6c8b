"""Takes records from the consumer, and finds the one that the client cannot read."""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.errors import (
    CorruptRecordException,
    IllegalStateError,
    KafkaError,
    UnsupportedCodecError,
)

from avoir.kafka.batches import begin_turn
from avoir.kafka.client import Client
from avoir.kafka.consuming import consuming
from avoir.kafka.decoding import size_of
from avoir.kafka.merge import oldest

_POLL_MS = 200
_POLL_LIMIT_S = 2.0
_CAREFUL_S = 60.0
_PAUSE_S = 0.05
_LOOK_LIMIT_S = 10.0
_LEAST_HELD = 16
_MOST_HELD_BYTES = 32 * 1024 * 1024
# What a batch changes follows from the bytes of its messages, about a row for each 250: this is a second's work.
_MOST_BATCH_BYTES = 1024 * 1024
_TURN = 8
_TURN_BYTES = _MOST_BATCH_BYTES // 4

Found = Mapping[KafkaPartition, Sequence[ConsumerRecord]]

log = structlog.get_logger("avoir.loop")


class UnreadableError(Exception):
    """The client could not read a record; the partitions are read one record at a time now, to find it."""


class Share(NamedTuple):
    """So many records, and their bytes, are held of a partition; a portion more may be."""

    records: int
    bytes: int


@dataclass(slots=True)
class Reader:
    """Reads batches; a partition with a record that cannot be read is paused there, and the others go on.

    In a backlog the client would empty one partition after the other, and payments would come long before their
    invoices. So a few records of each partition are held, and a batch takes the oldest of them all.

    But timestamps are the producers', and one that is years old would always be first. So of facts, whose order does
    not matter, each partition has a turn of a few records in every batch. Commands keep their time: they ask for what
    is there.
    """

    max_records: int
    is_fact: Callable[[str], bool] = lambda _topic: False
    rank: Callable[[str], int] = lambda _topic: 0
    unreadable: dict[KafkaPartition, str] = field(default_factory=dict)
    _held: dict[KafkaPartition, deque[ConsumerRecord]] = field(default_factory=dict)
    _bytes: Counter[KafkaPartition] = field(default_factory=Counter)
    _first: int = 0
    _careful_until: float = 0.0
    _alarmed: set[str] = field(default_factory=set)
    _stopped_at: dict[KafkaPartition, int] = field(default_factory=dict)

    async def read(self, consumer: AIOKafkaConsumer) -> Found:
        """Read the records that are buffered, or else those that arrive within a moment; perhaps none.

        Raises UnreadableError, after which the caller seeks to its positions again.
        """
        waited_for = begin_turn()
        if waited_for:
            # What is being unpacked goes on at once; in between all others on this event loop have their turn.
            await asyncio.sleep(0)
        if self.unreadable or time.monotonic() < self._careful_until:
            return await self._read_singly(consumer)
        try:
            # While the group rebalances getmany waits for its end, and the service may be asked to stop.
            async with asyncio.timeout(_POLL_LIMIT_S):
                full = await self._fill(consumer, 0 if waited_for else _POLL_MS)
        except TimeoutError:
            return {}
        except Exception as error:
            if _is_about_a_record(error):
                self.look_closely()
                raise UnreadableError(f"{type(error).__name__}: {error}") from error
            raise
        taken = oldest(
            self._held, full, self.max_records, size_of, _MOST_BATCH_BYTES, self._turns(), self.rank
        )
        return {place: self._release(place, count) for place, count in taken.items()}

    def _turns(self) -> dict[KafkaPartition, int]:
        """Number of records of each partition with facts to take first, whatever their time; the order rotates."""
        places = [place for place, held in self._held.items() if held and self.is_fact(place.topic)]
        first, room, left = self._first % max(1, len(places)), _TURN_BYTES, self.max_records // 2
        turns: Counter[KafkaPartition] = Counter()
        for place in places[first:] + places[:first]:
            for record in islice(self._held[place], _TURN):
                if room <= 0 or left <= 0:
                    return turns
                turns[place] += 1
                room, left = room - size_of(record), left - 1
        return turns

    @property
    def holds(self) -> set[KafkaPartition]:
        """The partitions of which something was read and not handed out yet."""
        return {place for place, held in self._held.items() if held}

    def forget(self) -> None:
        """Drop what is held: the caller is about to seek."""
        self._held.clear()
        self._bytes.clear()

    def forget_passed(self, positions: Mapping[KafkaPartition, int]) -> None:
        """Drop the alarms of records that the positions sought are not at: somebody has passed them by."""
        for partition in tuple(self.unreadable):
            if positions.get(partition) != self._stopped_at[partition]:
                del self.unreadable[partition]

    async def _fill(self, consumer: AIOKafkaConsumer, poll_ms: int) -> set[KafkaPartition]:
        """Hold a share of each partition; returns those that may have more than is held."""
        places = sorted(consumer.assignment() - consumer.paused())
        # Twice a batch if all partitions were busy; but half of them are of commands, and mostly quiet.
        most, shares = 4 * self.max_records, max(1, len(places))
        share = Share(max(_LEAST_HELD, most // shares), _MOST_HELD_BYTES // shares)
        if not any(self._held.values()):
            self._hold(await consumer.getmany(timeout_ms=poll_ms, max_records=share.records))
        if not any(self._held.values()):
            return set()
        # Another one begins each time, so that each is read where not all of them can be.
        self._first = (self._first + 1) % shares
        full = await self._fill_up(consumer, places[self._first :] + places[: self._first], share)
        if full:
            # What quiet partitions leave of the room is for those that have more.
            held = sum(map(len, self._held.values()))
            more = max(0, most - held) // len(full)
            more_bytes = max(0, _MOST_HELD_BYTES - self._bytes.total()) // len(full)
            share = Share(share.records + more, share.bytes + more_bytes)
            full = await self._fill_up(consumer, full, share)
        return full

    async def _fill_up(
        self, consumer: AIOKafkaConsumer, places: Iterable[KafkaPartition], share: Share
    ) -> set[KafkaPartition]:
        """Hold a share of each of the places, a portion at a time; returns those that may have more."""
        full: set[KafkaPartition] = set()
        for place in places:
            held = self._held.setdefault(place, deque())
            while len(held) < share.records and self._bytes[place] < share.bytes:
                if self._bytes.total() >= _MOST_HELD_BYTES:
                    return {place for place, records in self._held.items() if records}
                room = share.records - len(held)
                found = await consumer.getmany(place, timeout_ms=0, max_records=room)
                if not found:
                    break
                self._hold(found)
            else:
                full.add(place)
        return full

    def _hold(self, found: Found) -> None:
        for place, records in found.items():
            self._held.setdefault(place, deque()).extend(records)
            self._bytes[place] += sum(map(size_of, records))

    def _release(self, place: KafkaPartition, count: int) -> list[ConsumerRecord]:
        records = [self._held[place].popleft() for _ in range(count)]
        self._bytes[place] -= sum(map(size_of, records))
        return records

    def look_closely(self) -> None:
        """Read one record at a time, for a while and as long as one cannot be read."""
        self._careful_until = time.monotonic() + _CAREFUL_S
        self.forget()

    def look_again(self, consumer: AIOKafkaConsumer) -> None:
        """Try again what could not be read, its alarm stays until then; what was fetched of others stays as it is."""
        for partition in self.unreadable:
            with suppress(IllegalStateError):
                consumer.seek(partition, self._stopped_at[partition])
                consumer.resume(partition)

    async def _read_singly(self, consumer: AIOKafkaConsumer) -> Found:
        found: dict[KafkaPartition, list[ConsumerRecord]] = {}
        waiting = sorted(consumer.assignment() - consumer.paused())
        left, room = self.max_records, _MOST_BATCH_BYTES
        while waiting and left > 0 and room > 0:
            # One record of each in turn, so that no backlog starves the others.
            for partition in tuple(waiting):
                record = await self._read_one(consumer, partition) if left > 0 and room > 0 else None
                if record is None:
                    waiting.remove(partition)
                else:
                    found.setdefault(partition, []).append(record)
                    left, room = left - 1, room - size_of(record)
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
    """Check whether the client can read the record at an offset; None if there is none. KafkaError, TimeoutError."""
    async with consuming(client, _LOOK_LIMIT_S, auto_offset_reset="none") as consumer:
        try:
            async with asyncio.timeout(_LOOK_LIMIT_S):
                consumer.assign([place])
                begin = (await consumer.beginning_offsets([place]))[place]
                if not begin <= offset < (await consumer.end_offsets([place]))[place]:
                    return None
                consumer.seek(place, offset)
                while not (found := await consumer.getmany(place, timeout_ms=_POLL_MS, max_records=1)):
                    begin_turn()
                return True if found[place][0].offset == offset else None
        except Exception as error:
            if _is_about_a_record(error):
                return False
            raise
