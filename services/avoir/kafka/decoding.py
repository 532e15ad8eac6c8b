"""Bounded reading under the client: batches are unpacked piece by piece, and what is too large passes by as a stub.

aiokafka unpacks a batch whole, and a batch of 33 KB may unpack to gigabytes. `bound_decoding` puts two classes of this
file into its fetcher; only what is unpacked is in them, all else is the client's (docs/decisions/0025).
"""

import asyncio
import struct
from dataclasses import replace
from typing import Any

from aiokafka import ConsumerRecord
from aiokafka.consumer import fetcher

from avoir.kafka.batches import MoreToUnpackError, RecordBatch, batch_of, renew_turn, too_large
from avoir.record import MOST_RECORD_BYTES, first_bytes

HEADER_BYTES = 128
"""What each header of a record counts besides its bytes: a record may be nothing but empty headers."""

_PORTION_BYTES = 256 * 1024


def bound_decoding() -> None:
    """Let every consumer of this process read under the bounds."""
    fetcher.MemoryRecords = BoundedRecords
    fetcher.FetchResult = BoundedFetch


def size_of(record: ConsumerRecord) -> int:
    """Memory that a record takes, in bytes, approximately."""
    size = len(record.key or b"") + len(record.value or b"")
    for name, value in record.headers:
        size += HEADER_BYTES + len(name) + len(value or b"")
    return size


class BoundedFetch(fetcher.FetchResult):  # type: ignore[misc]
    """One fetch of a partition, handed out a few records at a time."""

    def __init__(self, tp: Any, *, partition_records: Any, **options: Any) -> None:
        super().__init__(tp, partition_records=partition_records, **options)
        self._partition_records: Any
        self._source: BoundedRecords = partition_records._records

    def getall(self, max_records: int | None = None) -> list[ConsumerRecord]:
        """The next records; none where they are still to be unpacked."""
        taken: list[ConsumerRecord] = []
        if not self.check_assignment(self._topic_partition) or not self.has_more():
            self._source.close()
            return taken
        size = 0
        try:
            for record in self._partition_records:
                length = size_of(record)
                if length > MOST_RECORD_BYTES or record.timestamp is None:
                    record = _bounded(record, length)
                    length = size_of(record)
                taken.append(record)
                size += length
                if len(taken) == max_records or size >= _PORTION_BYTES:
                    self._update_position()
                    return taken
            self._update_position()
            self._partition_records = None
        except MoreToUnpackError:
            self._update_position()
            self._source.resume()
            self._partition_records._records_iterator = self._partition_records._unpack_records()
            # By itself, since several consumers of a process share the turn, and not each of them begins a new one.
            asyncio.get_running_loop().call_soon(renew_turn)
        return taken

    def __del__(self) -> None:
        # The client's iterator and its object hold each other: without this they would wait for the garbage collector.
        self._source.close()


class BoundedRecords:
    """The record batches in what was fetched; the client's MemoryRecords, but for how they are unpacked."""

    def __init__(self, data: bytes) -> None:
        self._data = memoryview(data)
        self._position = 0
        self._batch: Any = None
        self._resumed = False

    def size_in_bytes(self) -> int:
        """The length of all batches as they were fetched, a last one that is cut off included."""
        return len(self._data)

    def has_next(self) -> bool:
        """Check whether another complete batch is left."""
        return self._resumed or len(self._data) - self._position >= self._next_length()

    def next_batch(self) -> Any:
        """The next batch, as the client's iterator takes it; the same again after `resume`."""
        if self._resumed:
            self._resumed = False
            return self._batch
        length = self._next_length()
        data = self._data[self._position : self._position + length]
        self._position += length
        self._batch = batch_of(data) if len(data) == length else None
        return self._batch

    def resume(self) -> None:
        """Go on with the batch that was not unpacked to its end."""
        self._resumed = True

    def close(self) -> None:
        """Let go of what is unpacked."""
        self._data = memoryview(b"")
        if isinstance(self._batch, RecordBatch):
            self._batch.close()

    def _next_length(self) -> int:
        left = len(self._data) - self._position
        return 12 + max(0, struct.unpack_from(">i", self._data, self._position + 8)[0]) if left >= 12 else 12


def _bounded(record: ConsumerRecord, size: int) -> ConsumerRecord:
    """A record as it may be held: without most of what is too large, and with a time."""
    if record.timestamp is None:
        record = replace(record, timestamp=-1)
    if size <= MOST_RECORD_BYTES:
        return record
    key, value, missing = first_bytes(record.key, record.value, too_large(size))
    return replace(record, key=key, value=value, headers=(), checksum=missing)
