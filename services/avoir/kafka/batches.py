"""Record batches that are unpacked piece by piece: records of bounded size, and stubs for what is too large."""

import struct
from collections.abc import Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatch
from aiokafka.record.legacy_records import LegacyRecordBatch

from avoir.kafka.codecs import Source, TooMuchError
from avoir.record import KEPT_BYTES, MOST_RECORD_BYTES, Cut

TURN_BYTES = 8 * 1024 * 1024
"""At most so much is unpacked before others have their turn."""
MOST_OPEN_BYTES = 64 * 1024 * 1024
"""What the batches that are being unpacked may take of memory, all together, besides the first of them."""
MOST_SHARE_BYTES = 8 * 1024 * 1024
"""What one of them may take of that before it is the first: otherwise two large ones would leave nothing to others."""
MOST_UNPACKED_BYTES = 2 * 1024**3
"""So far a batch is followed."""
MOST_LEGACY_BYTES = 4 * 1024 * 1024
"""What a compressed message set of before Kafka 0.11, which is unpacked whole, may unpack to."""

_PIECE_BYTES = 256 * 1024
_RECORD_BYTES, _SINGLE_BYTES = 512, 2048
"""What a record costs of a turn besides its own bytes, and more where the client reads each by itself."""
_HEAD, _LEGACY_HEAD = 61, 26
_CODEC, _LOG_APPEND_TIME, _CONTROL = 0x07, 0x08, 0x20


class MoreToUnpackError(Exception):
    """A batch is to be unpacked further when others have had their turn."""


def begin_turn() -> bool:
    """Let TURN_BYTES be unpacked again; returns whether a batch has waited for that since the last call."""
    renew_turn()
    waits, _bounds.waits = _bounds.waits, False
    return waits


def renew_turn() -> None:
    """Let TURN_BYTES be unpacked again."""
    _bounds.left = TURN_BYTES


def too_large(size: int) -> str:
    """Problem of a record that is too large."""
    return f"too large: a record of {size} bytes, at most {MOST_RECORD_BYTES}"


class _Bounds:
    """Budget that all open batches share: bytes of this turn, and memory. The first open batch may always go on.

    None may stay the first that is not read any more: whoever stops reading one closes it.
    """

    def __init__(self) -> None:
        self.left = TURN_BYTES
        self.waits = False
        self.open: dict[RecordBatch, None] = {}

    def allow(self, batch: "RecordBatch") -> bool:
        """Check whether one more piece of a batch may be unpacked now."""
        first = next(iter(self.open), batch)
        fits = first is batch or (
            batch.weight < MOST_SHARE_BYTES
            and sum(each.weight for each in self.open if each is not first) < MOST_OPEN_BYTES
        )
        self.waits = self.waits or not (fits and self.left > 0)
        return fits and self.left > 0


_bounds = _Bounds()


def batch_of(data: memoryview) -> Any:
    """A batch as it lies in what was fetched, as the client's iterator takes it."""
    if len(data) < _LEGACY_HEAD or (data[16] >= 2 and len(data) < _HEAD):
        raise CorruptRecordException(f"a record batch of {len(data)} bytes")
    magic = data[16]
    if magic >= 2:
        return DefaultRecordBatch(data) if data[22] & _CONTROL else RecordBatch(data)
    if data[17] & _CODEC and (problem := _legacy_problem(data, 26 if magic else 18)):
        return _LegacyRefused(data, problem)
    return LegacyRecordBatch(data, magic)


@dataclass(frozen=True, slots=True)
class _Stub:
    """A record as batches give it, for one or several that are not kept; `checksum` says what is missing."""

    offset: int
    timestamp: int | None
    timestamp_type: int
    key: bytes | None
    value: bytes | None
    checksum: Cut
    headers: tuple[()] = ()


class RecordBatch:
    """A batch of records, compressed or not: they come out of pieces, whole ones by the client's own reader."""

    def __init__(self, packed: memoryview) -> None:
        head = DefaultRecordBatch(packed)
        self.validate_crc = head.validate_crc
        self.base_offset, self.next_offset = head.base_offset, head.next_offset
        self.producer_id, self.is_transactional = head.producer_id, head.is_transactional
        self.is_control_batch = head.is_control_batch
        self._attributes = head.attributes
        self._times = head.first_timestamp, head.max_timestamp
        self._packed = packed
        self._left: int = struct.unpack_from(">i", packed, _HEAD - 4)[0]
        self._next = self.base_offset
        self._source: Source | None = None
        self._unpacked = self._portion = 0
        self._buffer = bytearray()
        self._records = self._unpack()

    @property
    def weight(self) -> int:
        """The bytes of memory that it takes, about."""
        return len(self._buffer) + self._portion + (0 if self._source is None else self._source.memory)

    def __iter__(self) -> "RecordBatch":
        return self

    def __next__(self) -> Any:
        record = next(self._records)
        if record is None:
            raise MoreToUnpackError
        return record

    def close(self) -> None:
        """Let go of what is unpacked."""
        self._records.close()

    def _unpack(self) -> Generator[Any, None, None]:
        """The records; None where others are to have their turn first.

        The client has compared the batch with its checksum: what cannot be unpacked, its producer has sent so.
        """
        try:
            yield from self._wait()
            _bounds.open[self] = None
            if self._left > 0:
                self._source = Source(self._attributes & _CODEC, self._packed[_HEAD:])
            # What follows the last record is not looked at: the broker does not look at it either.
            while self._left > 0:
                yield from self._next_records()
        except TooMuchError as error:
            yield self._rest(f"too large: {error}")
        except CorruptRecordException as error:
            if self._next < self.next_offset:
                yield self._rest(f"unreadable: {error.args[0]}")
        finally:
            _bounds.open.pop(self, None)
            self._source, self._buffer, self._portion = None, bytearray(), 0

    def _wait(self) -> Generator[None, None, None]:
        while not _bounds.allow(self):
            yield None

    def _next_records(self) -> Generator[Any, None, None]:
        count, end = _whole_records(self._buffer, self._left)
        if count:
            yield from self._whole(count, end)
            return
        length = _varint(self._buffer, 0)
        if length is None or length[0] <= MOST_RECORD_BYTES:
            yield from self._more()
        else:
            yield self._passed((yield from self._too_large()))

    def _whole(self, count: int, end: int) -> Generator[Any, None, None]:
        """The next records, which are there; a stub for each that the client cannot read."""
        portion = bytes(memoryview(self._buffer)[:end])
        del self._buffer[:end]
        self._portion = end
        if count == self._left:
            # Let go before the last records are.
            self._source = None
        _bounds.left -= count * _RECORD_BYTES
        done = 0
        with suppress(Exception):
            for record in self._read_by_client(portion, count):
                done += 1
                yield self._passed(record)
        yield from self._singly(memoryview(portion), done, count)

    def _singly(self, portion: memoryview, done: int, count: int) -> Generator[Any, None, None]:
        """Those of some records that are not `done`, each read by itself."""
        _, at = _whole_records(portion, done)
        for _ in range(count - done):
            _bounds.left -= _SINGLE_BYTES
            yield from self._wait()
            _, length = _whole_records(portion[at:], 1)
            data = bytes(portion[at : at + length])
            at += length
            try:
                record = next(self._read_by_client(data, 1))
            except Exception as error:
                record = self._unreadable(data, error)
            yield self._passed(record)

    def _passed(self, record: Any) -> Any:
        self._left -= 1
        self._next = record.offset + 1
        return record

    def _read_by_client(self, data: bytes, count: int) -> Iterator[Any]:
        head = bytearray(self._packed[:_HEAD])
        head[22] &= ~_CODEC & 0xFF
        struct.pack_into(">i", head, _HEAD - 4, count)
        return iter(DefaultRecordBatch(b"".join((head, data))))

    def _more(self) -> Generator[None, None, None]:
        """Unpack one more piece; there has to be one."""
        yield from self._wait()
        assert self._source is not None
        piece = self._source.read(_PIECE_BYTES)
        if not piece:
            raise CorruptRecordException("a batch ends before its last record")
        self._buffer += piece
        self._unpacked += len(piece)
        _bounds.left -= len(piece)
        if self._unpacked > MOST_UNPACKED_BYTES:
            raise TooMuchError(f"it unpacks to more than {MOST_UNPACKED_BYTES} bytes")

    def _too_large(self) -> Generator[None, None, _Stub]:
        length = yield from self._take_varint()
        begun = self._unpacked - len(self._buffer)
        yield from self._take_varint()  # attributes
        delta = yield from self._take_varint()
        offset = self.base_offset + (yield from self._take_varint())
        key, _, _ = yield from self._take((yield from self._take_varint()))
        value, size, digest = yield from self._take((yield from self._take_varint()))
        left = length - (self._unpacked - len(self._buffer) - begun)
        if left < 0:
            raise CorruptRecordException(f"a record of {length} bytes is {-left} bytes longer")
        yield from self._take(left)
        timestamp, kind = self._time(delta)
        return _Stub(offset, timestamp, kind, key, value, Cut(too_large(length), size, digest))

    def _take_varint(self) -> Generator[None, None, int]:
        while (found := _varint(self._buffer, 0)) is None:
            yield from self._more()
        del self._buffer[: found[1]]
        return found[0]

    def _take(self, length: int) -> Generator[None, None, tuple[bytes | None, int, bytes]]:
        """Pass so many bytes by: the first of them, how many there were, and their hash; none for a negative length."""
        digest, kept, left = sha256(), b"", length
        while left > 0:
            if not self._buffer:
                yield from self._more()
            part = bytes(memoryview(self._buffer)[:left])
            del self._buffer[:left]
            left -= len(part)
            digest.update(part)
            kept += part[: KEPT_BYTES - len(kept)]
        return (None if length < 0 else kept), max(0, length), digest.digest()

    def _time(self, delta: int) -> tuple[int, int]:
        first, last = self._times
        return (last, 1) if self._attributes & _LOG_APPEND_TIME else (first + delta, 0)

    def _unreadable(self, data: bytes, error: Exception) -> _Stub:
        """A record whose length is right and nothing else."""
        problem = f"unreadable: a record of {len(data)} bytes: {type(error).__name__}"
        timestamp, kind = self._time(0)
        cut = Cut(problem, len(data), sha256(data).digest())
        return _Stub(self._next, timestamp, kind, None, data[:KEPT_BYTES], cut)

    def _rest(self, problem: str) -> _Stub:
        """One record for all that are left: it lies at the last offset, so that the position passes them by."""
        packed = self._packed[_HEAD:]
        problem = f"{problem}; all that is left of the batch, {len(packed)} bytes as sent"
        cut = Cut(problem, len(packed), sha256(packed).digest(), self._next, max(1, self._left))
        timestamp, kind = self._time(0)
        return _Stub(self.next_offset - 1, timestamp, kind, None, bytes(packed[:KEPT_BYTES]), cut)


class _LegacyRefused:
    """A compressed message set of before Kafka 0.11 that cannot be unpacked: one stub, at its last offset."""

    is_control_batch = is_transactional = False
    producer_id = None

    def __init__(self, packed: memoryview, problem: str) -> None:
        head = LegacyRecordBatch(packed, packed[16])
        self.validate_crc, self.next_offset = head.validate_crc, head.next_offset
        self.base_offset = self.next_offset - 1
        self._packed, self._problem = packed, problem

    def __iter__(self) -> Iterator[_Stub]:
        cut = Cut(f"{self._problem}: all of it up to here", len(self._packed), sha256(self._packed).digest())
        timestamp = struct.unpack_from(">q", self._packed, 18)[0] if self._packed[16] else None
        kept = bytes(self._packed[:KEPT_BYTES])
        return iter([_Stub(self.base_offset, timestamp, 0, None, kept, cut)])


def _legacy_problem(data: memoryview, key_at: int) -> str | None:
    try:
        value_at = key_at + 8 + max(0, struct.unpack_from(">i", data, key_at)[0])
        source, unpacked = Source(data[17] & _CODEC, data[value_at:]), 0
        while unpacked <= MOST_LEGACY_BYTES and (piece := source.read(_PIECE_BYTES)):
            unpacked += len(piece)
    except TooMuchError:
        unpacked = MOST_LEGACY_BYTES + 1
    except CorruptRecordException as error:
        return f"unreadable: {error.args[0]}"
    if unpacked <= MOST_LEGACY_BYTES:
        return None
    return f"too large: a message set unpacks to more than {MOST_LEGACY_BYTES} bytes"


def _varint(data: bytearray | memoryview, at: int) -> tuple[int, int] | None:
    """The number at a place, and where it ends; none where its end is not there yet."""
    value = shift = 0
    for place in range(at, len(data)):
        value |= (data[place] & 0x7F) << shift
        if data[place] < 0x80:
            return (value >> 1) ^ -(value & 1), place + 1
        shift += 7
        if shift > 63:
            raise CorruptRecordException("a number that is too long")
    return None


def _whole_records(data: bytearray | memoryview, most: int) -> tuple[int, int]:
    """Number of leading records that are complete and of bounded length, and the offset at which the last ends."""
    count = end = 0
    # Most lengths take two bytes.
    beyond = len(data) - 1
    try:
        while count < most:
            if end < beyond and data[end] & 0x81 == 0x80 and data[end + 1] < 0x80:
                length, begin = (data[end] & 0x7E) >> 1 | data[end + 1] << 6, end + 2
            elif (found := _varint(data, end)) is not None:
                length, begin = found
            else:
                break
            if length > MOST_RECORD_BYTES or begin + length > len(data):
                break
            if length < 0:
                raise CorruptRecordException(f"a record of {length} bytes")
            count, end = count + 1, begin + length
    except CorruptRecordException:
        # Those before it come out first.
        if not count:
            raise
    return count, end
