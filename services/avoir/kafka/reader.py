"""Takes records from the consumer, and finds the one that the client cannot read."""

import asyncio
import time
from collections.abc import Mapping, Sequence
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

_POLL_MS = 200
_POLL_LIMIT_S = 2.0
_CAREFUL_S = 60.0
_PAUSE_S = 0.05

Found = Mapping[KafkaPartition, Sequence[ConsumerRecord]]

log = structlog.get_logger("avoir.loop")


class UnreadableError(Exception):
    """The client could not read a record; the partitions are read one record at a time now, to find it."""


@dataclass(slots=True)
class Reader:
    """Reads batches; a partition with a record that cannot be read is paused there, and the others go on."""

    max_records: int
    unreadable: dict[KafkaPartition, str] = field(default_factory=dict)
    _careful_until: float = 0.0
    _alarmed: set[str] = field(default_factory=set)

    async def read(self, consumer: AIOKafkaConsumer) -> Found:
        """What is there, at once, or what comes within a moment; perhaps nothing.

        Raises UnreadableError, after which the caller seeks to its positions again.
        """
        if time.monotonic() < self._careful_until:
            return await self._read_singly(consumer)
        try:
            # While the group rebalances getmany waits for its end, and the service may be asked to stop.
            async with asyncio.timeout(_POLL_LIMIT_S):
                found: Found = await consumer.getmany(timeout_ms=_POLL_MS, max_records=self.max_records)
                return found
        except TimeoutError:
            return {}
        except Exception as error:
            if _is_about_a_record(error):
                self.look_closely()
                raise UnreadableError(f"{type(error).__name__}: {error}") from error
            raise

    def look_closely(self) -> None:
        """Read one record at a time for a while, partitions that were stopped included."""
        self._careful_until = time.monotonic() + _CAREFUL_S
        self.unreadable.clear()

    async def _read_singly(self, consumer: AIOKafkaConsumer) -> Found:
        found: dict[KafkaPartition, list[ConsumerRecord]] = {}
        left = self.max_records
        for partition in sorted(consumer.assignment() - consumer.paused()):
            while left:
                try:
                    part = await consumer.getmany(partition, timeout_ms=0, max_records=1)
                except Exception as error:
                    if not _is_about_a_record(error):
                        raise
                    await self._stop(consumer, partition, error)
                    break
                if not part:
                    break
                found.setdefault(partition, []).extend(part[partition])
                left -= 1
        if not found:
            await asyncio.sleep(_PAUSE_S)
        return found

    async def _stop(self, consumer: AIOKafkaConsumer, partition: KafkaPartition, error: Exception) -> None:
        try:
            async with asyncio.timeout(_POLL_LIMIT_S):
                offset = await consumer.position(partition)
            consumer.pause(partition)
        except (IllegalStateError, TimeoutError):
            return
        what = f"{partition.topic} {partition.partition} {offset}"
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
