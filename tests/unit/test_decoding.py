"""Batches unpacked piece by piece, for every codec: what comes out, what is a stub, and how much at a time."""

import asyncio
import struct
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from typing import Any

import lz4.frame
import pytest
import zstandard
from aiokafka import TopicPartition
from aiokafka.codec import gzip_encode, lz4_encode, snappy_encode
from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException, UnsupportedCodecError
from aiokafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder
from aiokafka.record.legacy_records import LegacyRecordBatchBuilder

from avoir.kafka import batches
from avoir.kafka.batches import MoreToUnpackError, begin_turn
from avoir.kafka.decoding import BoundedFetch, BoundedRecords, bound_decoding
from avoir.record import KEPT_BYTES, MOST_RECORD_BYTES

Encode = Callable[[bytes], bytes]
NONE, GZIP, SNAPPY, LZ4, ZSTD = 0, 1, 2, 3, 4
CODECS: dict[str, tuple[int, Encode]] = {
    "none": (NONE, lambda data: data),
    "gzip": (GZIP, gzip_encode),
    "snappy": (SNAPPY, lambda data: bytes(snappy_encode(data))),
    "snappy, one raw block": (SNAPPY, lambda data: bytes(snappy_encode(data, xerial_compatible=False))),
    "lz4": (LZ4, lambda data: bytes(lz4_encode(data))),
    "lz4, blocks of 4 MB": (LZ4, lambda data: bytes(lz4.frame.compress(data, block_size=7))),
    "zstd": (ZSTD, lambda data: zstandard.ZstdCompressor().compress(data)),
    "zstd, level 22": (ZSTD, lambda data: zstandard.ZstdCompressor(level=22).compress(data)),
}
every_codec = pytest.mark.parametrize(("codec", "encode"), CODECS.values(), ids=CODECS)


def plain(
    values: Sequence[bytes | None], key: bytes | None = b"k", first_offset: int = 7, **more: Any
) -> bytearray:
    """An uncompressed batch as it lies on the broker."""
    builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 1 << 31)
    for n, value in enumerate(values):
        assert builder.append(n, 1_750_000_000_000 + n, key, value, more.get("headers", [("h", b"v")]))
    batch: bytearray = builder.build()
    struct.pack_into(">q", batch, 0, first_offset)
    return batch


def packed(batch: bytearray, codec: int, data: bytes) -> bytes:
    """A batch with other, compressed data in it, but for its checksum."""
    made = bytearray(batch[:61]) + data
    struct.pack_into(">i", made, 8, len(made) - 12)
    made[22] = codec
    return bytes(made)


def records_of(batch: Any, most_waits: int = 1_000) -> Iterator[Any]:
    """All records of a batch, turn by turn."""
    for _ in range(most_waits):
        try:
            yield from batch
            return
        except MoreToUnpackError:
            begin_turn()
    raise AssertionError("it does not end")


def read(data: bytes) -> list[Any]:
    begin_turn()
    source = BoundedRecords(data)
    found = []
    while source.has_next():
        found += list(records_of(source.next_batch()))
    return found


def same(found: Any, wanted: Any) -> bool:
    names = ("offset", "timestamp", "timestamp_type", "key", "value", "headers", "checksum")
    return all(getattr(found, name) == getattr(wanted, name) for name in names)


def stub_of(value: bytes) -> tuple[int, bytes, bytes]:
    return len(value), sha256(value).digest(), value[:KEPT_BYTES]


@every_codec
def test_what_comes_out_is_what_the_client_makes_of_it(codec: int, encode: Encode) -> None:
    values = [b"", None, b"x" * 127, *(bytes([n % 251]) * (n % 3_000) for n in range(500)), b"y" * 900_000]
    batch = plain(values)
    found = read(packed(batch, codec, encode(bytes(batch[61:]))) + bytes(batch))
    wanted = list(DefaultRecordBatch(bytes(batch)))
    assert len(found) == 2 * len(wanted)
    assert all(same(one, other) for one, other in zip(found, [*wanted, *wanted], strict=True))


@every_codec
def test_a_giant_passes_by_as_a_stub_and_its_neighbours_come_out(codec: int, encode: Encode) -> None:
    giant = b"begin" + bytes(20_000_000)
    batch = plain([b"before", giant, b"between", giant[:MOST_RECORD_BYTES], b"after"])
    before, first, between, second, after = read(packed(batch, codec, encode(bytes(batch[61:]))))
    assert [each.value for each in (before, between, after)] == [b"before", b"between", b"after"]
    assert [each.offset for each in (before, first, between, second, after)] == [7, 8, 9, 10, 11]
    for stub, value in ((first, giant), (second, giant[:MOST_RECORD_BYTES])):
        assert (stub.checksum.length, stub.checksum.sha256, stub.value) == stub_of(value)
        assert (stub.key, stub.timestamp_type, stub.headers) == (b"k", 0, ())
        assert stub.timestamp == 1_750_000_000_000 + stub.offset - 7
        assert str(MOST_RECORD_BYTES) in stub.checksum.problem


@pytest.mark.parametrize(
    ("key", "value", "headers"),
    [
        (b"k" * 3_000_000, b"v", []),
        (None, b"v", [("h", b"x" * 3_000_000)]),
        (b"k" * 600_000, b"v" * 600_000, []),
        (b"k", None, [("h" * 600_000, b"x" * 600_000)]),
    ],
    ids=["key", "headers", "key and value", "a header's name, and no value"],
)
def test_what_makes_a_record_too_large_may_be_any_part_of_it(
    key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes]]
) -> None:
    batch = plain([value, b"after"], key, headers=headers)
    data = zstandard.ZstdCompressor().compress(bytes(batch[61:]))
    stub, *others = read(packed(batch, ZSTD, data))
    assert stub.checksum.length == len(value or b"")
    assert stub.checksum.sha256 == sha256(value or b"").digest()
    assert stub.key == (None if key is None else key[:KEPT_BYTES])
    assert stub.value == (None if value is None else value[:KEPT_BYTES])
    assert [each.offset for each in others] == [8]


@every_codec
def test_no_more_than_a_turn_is_unpacked_before_others_have_theirs(
    codec: int, encode: Encode, monkeypatch: pytest.MonkeyPatch
) -> None:
    turn = 2 * 1024 * 1024
    monkeypatch.setattr(batches, "TURN_BYTES", turn)
    batch = plain([bytes(12 * turn), b"after"])
    source = BoundedRecords(packed(batch, codec, encode(bytes(batch[61:]))))
    opened = source.next_batch()
    begin_turn()
    turns = 1
    found = []
    while True:
        before = opened._unpacked
        try:
            found += list(opened)
            break
        except MoreToUnpackError:
            assert opened._unpacked - before <= turn + 256 * 1024
            assert begin_turn()
            turns += 1
    assert turns >= 12
    assert [each.offset for each in found] == [7, 8]
    assert not begin_turn()


def test_more_than_is_followed_is_one_stub_for_all_that_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "MOST_UNPACKED_BYTES", 5_000_000)
    batch = plain([b"before", bytes(4_000_000), b"between", bytes(4_000_000), b"lost", b"lost"])
    data = zstandard.ZstdCompressor().compress(bytes(batch[61:]))
    before, giant, between, rest = read(packed(batch, ZSTD, data))
    assert (before.offset, giant.offset, between.offset) == (7, 8, 9)
    cut = rest.checksum
    assert (rest.offset, cut.first_offset, cut.messages) == (12, 10, 3)
    assert (cut.length, cut.sha256, rest.value) == stub_of(data)


def too_large_window() -> tuple[int, bytes]:
    parameters = zstandard.ZstdCompressionParameters(window_log=28)
    packing = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    return ZSTD, packing.compress(b"x") + packing.flush()


def too_large_later_window() -> tuple[int, bytes]:
    parameters = zstandard.ZstdCompressionParameters(window_log=24)
    small = zstandard.ZstdCompressor().compress(b"")
    packing = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    return ZSTD, small + packing.compress(bytes(plain([b"x", b"y"])[61:])) + packing.flush()


def too_large_block() -> tuple[int, bytes]:
    return SNAPPY, b"\x80\x80\x80\x80\x04" + bytes(40)


@pytest.mark.parametrize("make", [too_large_window, too_large_later_window, too_large_block])
def test_what_cannot_be_unpacked_under_the_bound_is_one_stub(make: Callable[[], tuple[int, bytes]]) -> None:
    codec, data = make()
    (stub,) = read(packed(plain([b"x", b"y"]), codec, data))
    assert (stub.offset, stub.checksum.first_offset, stub.checksum.messages) == (8, 7, 2)
    assert (stub.checksum.length, stub.checksum.sha256, stub.value) == stub_of(data)


def check_rest(stub: Any, data: bytes, first: int, last: int, messages: int) -> None:
    """A stub stands for all that is left of a batch."""
    cut = stub.checksum
    assert (cut.first_offset, stub.offset, cut.messages) == (first, last, messages)
    assert (cut.length, cut.sha256, stub.value) == stub_of(data)
    assert cut.problem.startswith("unreadable: ")
    assert cut.problem.endswith(f"all that is left of the batch, {len(data)} bytes as sent")


@every_codec
@pytest.mark.parametrize("harm", ["cut off", "garbage", "nothing"])
def test_what_cannot_be_unpacked_is_one_stub_behind_the_records_before_it(
    codec: int, encode: Encode, harm: str
) -> None:
    values = [b"first", bytes(range(256)) * 1_200, *(bytes([n]) * 4_000 for n in range(100))]
    batch = plain(values)
    whole = encode(bytes(batch[61:]))
    data = {"cut off": whole[: len(whole) * 9 // 10], "garbage": b"\xff" * 300, "nothing": b""}[harm]
    *before, rest = read(packed(batch, codec, data))
    assert [each.value for each in before] == values[: len(before)]
    check_rest(rest, data, 7 + len(before), 7 + len(values) - 1, len(values) - len(before))
    in_one_block = encode in [CODECS[name][1] for name in ("snappy, one raw block", "lz4, blocks of 4 MB")]
    assert bool(before) is (harm == "cut off" and not in_one_block)


@every_codec
def test_more_records_than_there_are_leave_a_stub_and_fewer_end_there(codec: int, encode: Encode) -> None:
    batch = plain([b"a", b"b", b"c"])
    data = encode(bytes(batch[61:]))
    more, fewer = bytearray(batch), bytearray(batch)
    struct.pack_into(">i", more, 57, 5)
    struct.pack_into(">i", more, 23, 4)
    *whole, rest = read(packed(more, codec, data))
    assert [each.value for each in whole] == [b"a", b"b", b"c"]
    check_rest(rest, data, 10, 11, 2)
    struct.pack_into(">i", fewer, 57, 2)
    struct.pack_into(">i", fewer, 23, 1)
    assert [each.value for each in read(packed(fewer, codec, data))] == [b"a", b"b"]


def lz4_with(data: bytes, end: Callable[[bytes], bytes]) -> tuple[int, bytes]:
    packing = lz4.frame.LZ4FrameCompressor(block_linked=False, content_checksum=True)
    return LZ4, end(packing.begin() + packing.compress(data) + packing.flush())


def xerial(data: bytes, end: bytes) -> tuple[int, bytes]:
    block = bytes(snappy_encode(data, xerial_compatible=False))
    return SNAPPY, b"\x82SNAPPY\0" + struct.pack(">iii", 1, 1, len(block)) + block + end


BEHIND: dict[str, Callable[[bytes], tuple[int, bytes]]] = {
    "lz4, a wrong checksum": lambda data: lz4_with(data, lambda made: made[:-1] + bytes([made[-1] ^ 1])),
    "lz4, no end": lambda data: lz4_with(data, lambda made: made[:-4]),
    "lz4, bytes behind its end": lambda data: lz4_with(data, lambda made: made + b"garbage"),
    "lz4, a wrong checksum and bytes behind it": lambda data: lz4_with(
        data, lambda made: made[:-2] + b"garbage"
    ),
    "lz4, two frames": lambda data: (LZ4, lz4.frame.compress(data) + lz4.frame.compress(data)),
    "gzip, bytes behind its end": lambda data: (GZIP, gzip_encode(data) + b"garbage"),
    "gzip, a wrong checksum": lambda data: (GZIP, gzip_encode(data)[:-8] + b"\1" * 8),
    "gzip, no end": lambda data: (GZIP, gzip_encode(data)[:-8]),
    "gzip, two members": lambda data: (GZIP, gzip_encode(data[:50]) + gzip_encode(data[50:])),
    "snappy, bytes behind its end": lambda data: xerial(data, b"\0\0"),
    "snappy, a block that is none behind its end": lambda data: xerial(data, b"\0\0\0\x05garbage"),
    "zstd, bytes behind its end": lambda data: (ZSTD, zstandard.compress(data) + b"garbage"),
    "zstd, two frames": lambda data: (ZSTD, zstandard.compress(data[:50]) + zstandard.compress(data[50:])),
    "zstd, an empty frame and bytes behind its end": lambda data: (
        ZSTD,
        zstandard.compress(data) + zstandard.compress(b"") + b"garbage",
    ),
}


@pytest.mark.parametrize("size", [10, 30_000])
@pytest.mark.parametrize("make", BEHIND.values(), ids=BEHIND)
def test_what_is_behind_the_last_record_is_not_looked_at(
    make: Callable[[bytes], tuple[int, bytes]], size: int
) -> None:
    values = [bytes([n % 256]) * size for n in range(20)]
    batch = plain(values)
    found = read(packed(batch, *make(bytes(batch[61:]))))
    assert [each.value for each in found] == values


RECORD = b"\x0e\0\0\0\x01\x02x\0"
MALFORMED: dict[str, bytes] = {
    "parts that are longer": b"\x0c\0\0\x02\x01\x7fx",
    "no parts": b"\x06\0\0\x02",
    "no length at all": b"\0",
    "a number that does not end": b"\x14" + b"\xff" * 10,
    "a header's name that is not UTF-8": b"\x16\0\0\x02\x01\x02x\x02\x02\xff\x02v",
    "fewer than no headers": b"\x0e\0\0\x02\x01\x02x\x03",
    "more headers than there are": b"\x0e\0\0\x02\x01\x02x\x7e",
}


@every_codec
@pytest.mark.parametrize("record", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_record_is_a_stub_and_its_neighbours_come_out(
    record: bytes, codec: int, encode: Encode
) -> None:
    batch = plain([b"x", b"y", b"z"])
    last = RECORD[:3] + b"\x04" + RECORD[4:]
    before, stub, after = read(packed(batch, codec, encode(RECORD + record + last)))
    assert [(each.offset, each.value) for each in (before, after)] == [(7, b"x"), (9, b"x")]
    assert (stub.offset, stub.checksum.first_offset, stub.checksum.messages) == (8, None, 1)
    assert (stub.checksum.length, stub.checksum.sha256, stub.value) == stub_of(record)
    assert stub.checksum.problem.startswith(f"unreadable: a record of {len(record)} bytes: ")


@pytest.mark.parametrize(
    "record", [b"\x01", b"\xff" * 12, b"\x0e\0\0"], ids=["negative", "too long", "cut off"]
)
def test_where_a_record_ends_nowhere_all_that_is_left_is_one_stub(record: bytes) -> None:
    data = zstandard.ZstdCompressor().compress(RECORD + record)
    before, rest = read(packed(plain([b"x", b"y", b"z"]), ZSTD, data))
    assert (before.offset, before.value) == (7, b"x")
    check_rest(rest, data, 8, 9, 2)


def test_a_giant_that_is_shorter_than_its_parts_is_in_the_rest() -> None:
    batch = plain([bytes(2_000_000), b"after"])
    inner = bytes(batch[61:])
    length = inner.index(b"k") - 1
    data = zstandard.ZstdCompressor().compress(b"\x80\x92\xf4\x01" + inner[4:length] + inner[length:])
    check_rest(read(packed(batch, ZSTD, data))[-1], data, 7, 8, 2)


def test_an_unknown_codec_is_told_as_the_client_tells_it() -> None:
    with pytest.raises(UnsupportedCodecError):
        read(packed(plain([b"x"]), 6, b"x" * 40))


@pytest.mark.parametrize("data", [b"\0" * 40, struct.pack(">qi", 0, 30) + b"\0" * 4 + b"\x02" + b"\0" * 25])
def test_a_batch_too_short_for_its_head_is_corrupt(data: bytes) -> None:
    with pytest.raises(CorruptRecordException):
        read(data)


def test_a_batch_that_was_cut_off_by_the_fetch_is_none() -> None:
    batch = bytes(plain([b"x"]))
    source = BoundedRecords(batch + batch[:-1])
    source.next_batch()
    assert not source.has_next()
    assert source.size_in_bytes() == 2 * len(batch) - 1


def legacy(magic: int, codec: int, values: list[bytes]) -> bytes:
    builder = LegacyRecordBatchBuilder(magic, codec, 1 << 31)
    for n, value in enumerate(values):
        assert builder.append(n, 1_750_000_000_000, b"k", value)
    batch = builder.build()
    struct.pack_into(">q", batch, 0, 41 + len(values))
    return bytes(batch)


LEGACY = [(0, 0), (1, 0), (0, GZIP), (1, GZIP), (0, SNAPPY), (1, SNAPPY), (1, LZ4)]


@pytest.mark.parametrize(("magic", "codec"), LEGACY)
def test_message_sets_of_old_are_read_as_the_client_reads_them(magic: int, codec: int) -> None:
    values = [b"a" * 1000, b"b" * 1000] if codec else [b"a"]
    found = read(legacy(magic, codec, values))
    assert [each.value for each in found] == values


@pytest.mark.parametrize(("magic", "codec"), [each for each in LEGACY if each[1]])
def test_a_message_set_of_old_that_unpacks_to_too_much_is_one_stub(magic: int, codec: int) -> None:
    data = legacy(magic, codec, [b"before", bytes(5_000_000), b"after"])
    (stub,) = read(data)
    assert (stub.offset, stub.timestamp) == (44, 0 if magic else None)
    assert (stub.checksum.length, stub.checksum.sha256, stub.value) == stub_of(data)


def test_a_message_set_of_old_that_cannot_be_unpacked_is_one_stub() -> None:
    data = legacy(1, GZIP, [b"x" * 1000])
    data = data[:-30] + bytes(30)
    (stub,) = read(data)
    assert (stub.offset, stub.checksum.problem[:12]) == (42, "unreadable: ")
    assert (stub.checksum.length, stub.checksum.sha256, stub.value) == stub_of(data)


def test_batches_that_are_open_share_the_memory_and_the_first_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(batches, "MOST_OPEN_BYTES", 4_000_000)
    batch = plain([bytes([n % 256]) * 500_000 for n in range(40)])
    data = packed(batch, ZSTD, zstandard.ZstdCompressor().compress(bytes(batch[61:])))
    begin_turn()
    open_ones = [BoundedRecords(data).next_batch() for _ in range(20)]
    heaviest = 0
    counts = [0] * 20
    while min(counts) < 40:
        begin_turn()
        for n, each in enumerate(open_ones):
            try:
                next(each)
                counts[n] += 1
            except (MoreToUnpackError, StopIteration):
                pass
            heaviest = max(heaviest, sum(every.weight for every in open_ones))
    assert counts == [40] * 20
    assert heaviest < 2 * 4_000_000
    for each in open_ones:
        each.close()


def wide(values: Sequence[bytes | None], window_log: int = 23) -> bytes:
    """A batch whose window of zstd is filled as it is unpacked."""
    batch = plain(values)
    parameters = zstandard.ZstdCompressionParameters.from_level(1, window_log=window_log)
    packing = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    return packed(batch, ZSTD, packing.compress(bytes(batch[61:])) + packing.flush())


@pytest.fixture
def small_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "MOST_OPEN_BYTES", 4_000_000)
    monkeypatch.setattr(batches, "MOST_SHARE_BYTES", 1_000_000)


def unpacked_as_far_as_may_be(data: bytes) -> BoundedRecords:
    """A batch in its midst: after 15 records, or fewer where it may not go on."""
    source = BoundedRecords(data)
    opened = source.next_batch()
    for _ in range(15):
        begin_turn()
        try:
            next(opened)
        except MoreToUnpackError:
            break
    return source


@pytest.mark.parametrize("large", [1, 2, 4])
def test_large_batches_that_are_open_leave_room_for_small_ones(large: int, small_bounds: None) -> None:
    values = [bytes([n]) * 900_000 for n in range(10)]
    open_ones = [unpacked_as_far_as_may_be(wide([*values, *values])) for _ in range(large)]
    small = plain([b"x"] * 1_000)
    found = read(packed(small, ZSTD, zstandard.ZstdCompressor().compress(bytes(small[61:]))))
    assert len(found) == 1_000
    for each in open_ones:
        assert len(list(records_of(each._batch))) > 0
        each.close()


ONE_BLOCK = {name: CODECS[name] for name in ("snappy, one raw block", "lz4, blocks of 4 MB")}


@pytest.mark.parametrize(("codec", "encode"), ONE_BLOCK.values(), ids=ONE_BLOCK)
def test_a_block_counts_whole_as_soon_as_it_is_there(codec: int, encode: Encode) -> None:
    batch = plain([bytes(900_000)] * 10)
    source = BoundedRecords(packed(batch, codec, encode(bytes(batch[61:]))))
    begin_turn()
    opened = source.next_batch()
    next(opened)
    assert opened.weight > 8_000_000
    source.close()


def test_a_partition_that_is_not_read_any_more_lets_go_of_what_is_unpacked() -> None:
    fetch, assigned = fetched(wide([bytes(900_000)] * 5))
    begin_turn()
    assert fetch.getall(max_records=1)
    opened = fetch._source._batch
    assert opened in batches._bounds.open
    assigned.paused = True
    assert fetch.getall(max_records=1) == []
    assert opened.weight == 0
    assert opened not in batches._bounds.open


async def test_tiny_records_that_were_passed_take_turns_too() -> None:
    """A fetch from the middle of a batch passes by what comes before, without a record to give out."""
    count = 100_000
    batch = plain([b"x"] * count, None, headers=[])
    fetch, assigned = fetched(packed(batch, ZSTD, zstandard.ZstdCompressor().compress(bytes(batch[61:]))))
    assigned.position = fetch._partition_records.next_fetch_offset = 7 + count - 1
    found, passed, most = [], 7, 0
    while fetch.has_more():
        begin_turn()
        found += fetch.getall()
        most = max(most, fetch._source._batch._next - passed)
        passed = fetch._source._batch._next
    assert [each.offset for each in found] == [7 + count - 1]
    assert most < 50_000


def test_the_client_reads_by_it() -> None:
    bound_decoding()
    assert fetcher.MemoryRecords is BoundedRecords
    assert fetcher.FetchResult.__module__ == "avoir.kafka.decoding"


class Assigned:
    """A partition that is read, as the client's fetcher knows it."""

    active, paused, position = True, False, 7

    def state_value(self, _: object) -> "Assigned":
        return self

    def consumed_to(self, position: int) -> None:
        self.position = position


def fetched(data: bytes) -> tuple[BoundedFetch, Assigned]:
    assigned, place = Assigned(), TopicPartition("t", 0)
    records = fetcher.PartitionRecords(place, BoundedRecords(data), None, 7, None, None, False, 1)
    return BoundedFetch(place, assignment=assigned, partition_records=records, backoff=0), assigned


def test_records_are_given_out_in_portions_and_the_position_follows() -> None:
    batch = plain([bytes(100_000)] * 20)
    fetch, assigned = fetched(packed(batch, ZSTD, zstandard.ZstdCompressor().compress(bytes(batch[61:]))))
    begin_turn()
    portions = []
    while fetch.has_more():
        portions.append(len(fetch.getall(max_records=1_000)))
        assert assigned.position == 7 + sum(portions)
    assert portions == [3] * 6 + [2]


async def test_a_fetch_goes_on_where_its_turn_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "TURN_BYTES", 300_000)
    batch = plain([b"before", bytes(3_000_000), b"after"])
    fetch, assigned = fetched(packed(batch, ZSTD, zstandard.ZstdCompressor().compress(bytes(batch[61:]))))
    found, turns = [], 0
    while fetch.has_more():
        begin_turn()
        turns += 1
        found += fetch.getall()
    assert [(each.offset, each.checksum is None) for each in found] == [(7, True), (8, False), (9, True)]
    assert turns > 5
    assert assigned.position == 10


async def test_a_turn_that_nobody_begins_begins_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "TURN_BYTES", 300_000)
    begin_turn()
    fetch, _ = fetched(wide([bytes(400_000)] * 5))
    found = []
    while fetch.has_more():
        found += fetch.getall()
        await asyncio.sleep(0)
    assert [each.offset for each in found] == [7, 8, 9, 10, 11]


def test_what_is_unpacked_is_let_go_with_its_fetch() -> None:
    batch = plain([bytes(900_000)] * 5)
    fetch, _ = fetched(packed(batch, ZSTD, zstandard.ZstdCompressor().compress(bytes(batch[61:]))))
    begin_turn()
    fetch.getall(max_records=1)
    opened = fetch._source._batch
    assert opened.weight > 0
    del fetch
    assert opened.weight == 0
    assert opened not in batches._bounds.open


@pytest.mark.parametrize("codec", [0, ZSTD])
def test_a_record_without_a_time_has_one_below_all_others(codec: int) -> None:
    batch = plain([b"x"])
    struct.pack_into(">q", batch, 27, -1)
    data = zstandard.ZstdCompressor().compress(bytes(batch[61:]))
    fetch, _ = fetched(packed(batch, codec, data) if codec else bytes(batch))
    (record,) = fetch.getall()
    assert record.timestamp == -1


def test_a_record_of_nothing_but_headers_is_too_large_by_their_number() -> None:
    fetch, _ = fetched(bytes(plain([b"v"], headers=[("", b"")] * 10_000)))
    (record,) = fetch.getall()
    assert (record.headers, record.checksum.length) == ((), 1)
