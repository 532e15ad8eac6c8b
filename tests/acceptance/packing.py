"""Compressed batches as they lie on a broker, with records of any length, made and published in little memory."""

import asyncio
import struct
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256

import cramjam
import lz4.frame
import zstandard
from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.record.util import calc_crc32c, encode_varint

NONE, GZIP, SNAPPY, LZ4, ZSTD = 0, 1, 2, 3, 4
ZEROS = bytes(1024 * 1024)
BLOCK = 32 * 1024
SEND_TIMEOUT_S = 60
NOT_LEADER = 6
"""The broker's answer while it doesn't lead a partition yet: the topic is new."""

Value = bytes | int
"""The bytes of a value, or how many zeros it has."""


def hash_of(value: Value) -> str:
    """SHA-256 of a value in hexadecimal."""
    digest = sha256()
    for part in _parts(value):
        digest.update(part)
    return digest.hexdigest()


Pack = Callable[[Iterable[bytes]], Iterator[bytes]]


def batch(
    values: Iterable[Value], codec: int, timestamp_ms: int | None = None, pack: Pack | None = None
) -> bytes:
    """A batch of records without keys and headers; its first offset is the broker's to say."""
    count = 0

    def counted() -> Iterator[bytes]:
        nonlocal count
        for value in values:
            yield from _record(count, value)
            count += 1

    data = b"".join((pack or _PACK[codec])(counted()))
    return batch_of(data, codec, count, timestamp_ms)


def records(values: Iterable[bytes], first: int = 0) -> bytes:
    """Records without keys and headers as they lie in a batch before they are compressed."""
    return b"".join(part for n, value in enumerate(values, first) for part in _record(n, value))


def batch_of(data: bytes, codec: int, count: int, timestamp_ms: int | None = None) -> bytes:
    """A batch of compressed data, whatever is in it."""
    now = int(time.time() * 1000) if timestamp_ms is None else timestamp_ms
    body = struct.pack(">hiqqqhii", codec, count - 1, now, now, -1, -1, -1, count) + data
    head = struct.pack(">qiibI", 0, len(body) + 9, -1, 2, calc_crc32c(body))
    return head + body


def publish(kafka: str, topic: str, batches: Iterable[tuple[int, bytes]]) -> list[int]:
    """Publish batches, each to a partition, one after the other; the offsets of their first records."""
    return asyncio.run(_publish(kafka, topic, list(batches)))


async def _publish(kafka: str, topic: str, batches: list[tuple[int, bytes]]) -> list[int]:
    client = AIOKafkaClient(bootstrap_servers=kafka, request_timeout_ms=SEND_TIMEOUT_S * 1000)
    async with asyncio.timeout(SEND_TIMEOUT_S * len(batches)):
        await client.bootstrap()
        try:
            await client.set_topics([topic])
            return [await _send(client, topic, partition, data) for partition, data in batches]
        finally:
            await client.close()


async def _send(client: AIOKafkaClient, topic: str, partition: int, data: bytes) -> int:
    node = client.cluster.available_partitions_for_topic(topic) and client.cluster.brokers()
    assert node
    request = ProduceRequest(None, -1, SEND_TIMEOUT_S * 1000, [(topic, [(partition, data)])])
    error = NOT_LEADER
    while error == NOT_LEADER:
        answer = await client.send(next(iter(node)).nodeId, request)
        ((_, ((_, error, offset, *_),)),) = answer.topics
    assert not error, f"the broker refused a batch: {error}"
    return int(offset)


def _parts(value: Value) -> Iterator[bytes]:
    if isinstance(value, bytes):
        yield value
    else:
        for at in range(0, value, len(ZEROS)):
            yield ZEROS[: value - at]


def _record(number: int, value: Value) -> Iterator[bytes]:
    length = value if isinstance(value, int) else len(value)
    head = b"\0\0" + _varint(number) + b"\x01" + _varint(length)
    yield _varint(len(head) + length + 1) + head
    yield from _parts(value)
    yield b"\0"


def _varint(value: int) -> bytes:
    made = bytearray()
    encode_varint(value, made.append)
    return bytes(made)


def _gzip(parts: Iterable[bytes]) -> Iterator[bytes]:
    packing = zlib.compressobj(wbits=31)
    for part in parts:
        yield packing.compress(part)
    yield packing.flush()


def _zstd(parts: Iterable[bytes]) -> Iterator[bytes]:
    packing = zstandard.ZstdCompressor().compressobj()
    for part in parts:
        yield packing.compress(part)
    yield packing.flush()


def zstd_of_the_largest_window(parts: Iterable[bytes]) -> Iterator[bytes]:
    """What the unpacker has to keep 128 MiB for."""
    parameters = zstandard.ZstdCompressionParameters.from_level(1, window_log=27)
    packing = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    for part in parts:
        yield packing.compress(part)
    yield packing.flush()


def lz4_of_the_largest_blocks(parts: Iterable[bytes]) -> Iterator[bytes]:
    """Blocks of 4 MiB."""
    packing = lz4.frame.LZ4FrameCompressor(block_linked=False, block_size=lz4.frame.BLOCKSIZE_MAX4MB)
    yield packing.begin()
    for part in parts:
        yield packing.compress(part)
    yield packing.flush()


def snappy_of_one_block(parts: Iterable[bytes]) -> Iterator[bytes]:
    """A batch that is unpacked whole."""
    yield bytes(cramjam.snappy.compress_raw(b"".join(parts)))


def _lz4(parts: Iterable[bytes]) -> Iterator[bytes]:
    packing = lz4.frame.LZ4FrameCompressor(block_linked=False)
    yield packing.begin()
    for part in parts:
        yield packing.compress(part)
    yield packing.flush()


def _snappy(parts: Iterable[bytes]) -> Iterator[bytes]:
    yield b"\x82SNAPPY\0" + struct.pack(">ii", 1, 1)
    for part in parts:
        for at in range(0, len(part), BLOCK):
            block = bytes(cramjam.snappy.compress_raw(part[at : at + BLOCK]))
            yield struct.pack(">i", len(block)) + block


_PACK: dict[int, Pack] = {
    GZIP: _gzip,
    SNAPPY: _snappy,
    LZ4: _lz4,
    ZSTD: _zstd,
}
