"""Batches unpacked piece by piece, for every codec: what comes out, what is a stub, and how much at a time."""

import struct
from collections.abc import Callable, Iterator
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
GZIP, SNAPPY, LZ4, ZSTD = 1, 2, 3, 4
CODECS: dict[str, tuple[int, Encode]] = {
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
    values: list[bytes | None], key: bytes | None = b"k", first_offset: int = 7, **more: Any
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


@every_codec
@pytest.mark.parametrize("harm", ["cut off", "garbage", "nothing", "more records than there are", "fewer"])
def test_malformed_data_is_a_corrupt_record(codec: int, encode: Encode, harm: str) -> None:
    batch = plain([bytes(100_000), b"x" * 1000, bytes(range(256)) * 40])
    data = encode(bytes(batch[61:]))
    if harm == "more records than there are":
        struct.pack_into(">i", batch, 57, 4)
    elif harm == "fewer":
        struct.pack_into(">i", batch, 57, 2)
    else:
        data = {"cut off": data[: len(data) * 2 // 3], "garbage": b"\xff" * 300, "nothing": b""}[harm]
    with pytest.raises(CorruptRecordException):
        read(packed(batch, codec, data))


@pytest.mark.parametrize(
    "record",
    [
        b"\x7f\x00\x00\x00",
        b"\x0a" + b"\xff" * 12,
        b"\x01",
        b"\x06\0\0\0\x01",
        b"\x0c\0\0\0\x01\xff\xff\xff\x7f",
    ],
)
def test_a_record_of_wrong_lengths_is_a_corrupt_one(record: bytes) -> None:
    with pytest.raises(CorruptRecordException):
        read(packed(plain([b"x"]), ZSTD, zstandard.ZstdCompressor().compress(record)))


def test_a_giant_that_is_shorter_than_its_parts_is_corrupt() -> None:
    batch = plain([bytes(2_000_000), b"after"])
    inner = bytes(batch[61:]).replace(struct.pack("B", 0), b"\0", 1)
    length = inner.index(b"k") - 1
    wrong = b"\x80\x92\xf4\x01" + inner[4:length] + inner[length:]
    with pytest.raises(CorruptRecordException):
        read(packed(batch, ZSTD, zstandard.ZstdCompressor().compress(wrong)))


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


def test_a_message_set_of_old_that_cannot_be_unpacked_is_corrupt() -> None:
    data = legacy(1, GZIP, [b"x" * 1000])
    with pytest.raises(CorruptRecordException):
        read(data[:-300] + bytes(300))


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


def test_a_fetch_goes_on_where_its_turn_ended(monkeypatch: pytest.MonkeyPatch) -> None:
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
