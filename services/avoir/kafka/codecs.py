"""Unpacks what the codecs of Kafka packed, as it is read and no further: in little memory, whatever comes out."""

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import cramjam
import lz4.frame
import zstandard
from aiokafka.errors import CorruptRecordException, KafkaError, UnsupportedCodecError

MOST_WINDOW_BYTES = 128 * 1024 * 1024
"""The largest window of zstd that a client of Kafka writes with, at level 22."""
MOST_BLOCK_BYTES = 32 * 1024 * 1024
"""The largest block of snappy; one of a megabyte unpacks to 22."""

_INPUT_BYTES = 64 * 1024
_NONE, _GZIP, _SNAPPY, _LZ4, _ZSTD = 0, 1, 2, 3, 4
_XERIAL = b"\x82SNAPPY\x00"
_FAULTS = (
    EOFError,
    OSError,
    RuntimeError,
    ValueError,
    zlib.error,
    zstandard.ZstdError,
    cramjam.DecompressionError,
)


class TooMuchError(Exception):
    """Compressed data can't be unpacked within the bound; the text says why."""


class _Unpacking(Protocol):
    def read1(self, size: int, /) -> bytes:
        """At most so many of the next bytes, as soon as there are some; none at the end."""
        ...


class Source:
    """Packed data, unpacked as it is read, and looked at no further than what was read needs.

    So a fault behind some bytes is met after them. Raises TooMuchError, CorruptRecordException and
    UnsupportedCodecError, now or when it is read.
    """

    def __init__(self, codec: int, data: memoryview) -> None:
        with _unpacking():
            self._unpacking, self._window = _opened(codec, data)
        self._unpacked = 0

    @property
    def memory(self) -> int:
        """The bytes of memory that unpacking takes now, about."""
        if isinstance(self._unpacking, _Snappy):
            return self._unpacking.memory
        if isinstance(self._unpacking, _Lz4):
            return self._window
        # No more of a window than was written to it.
        return min(self._unpacked, self._window)

    def read(self, size: int) -> bytes:
        """At most so many of the next bytes; none at the end."""
        with _unpacking():
            piece = self._unpacking.read1(size)
        self._unpacked += len(piece)
        return piece


@contextmanager
def _unpacking() -> Iterator[None]:
    """The errors of all libraries as those of the client."""
    try:
        yield
    except KafkaError:
        raise
    except _FAULTS as error:
        if "too much memory" in str(error):
            raise TooMuchError("a zstd window is too large") from error
        raise CorruptRecordException(f"what cannot be unpacked: {type(error).__name__}: {error}") from error


def _opened(codec: int, data: memoryview) -> tuple[_Unpacking, int]:
    if codec == _NONE:
        return io.BytesIO(data), 0
    if codec == _GZIP:
        return gzip.GzipFile(fileobj=io.BytesIO(data)), _INPUT_BYTES
    if codec == _SNAPPY:
        return _Snappy(data), MOST_BLOCK_BYTES
    if codec == _LZ4:
        return _Lz4(data), 2 * int(lz4.frame.get_frame_info(data)["block_size"])
    if codec == _ZSTD:
        # No later frame may have a larger window than the first, or than a megabyte.
        window = max(1024 * 1024, zstandard.get_frame_parameters(data).window_size)
        if window > MOST_WINDOW_BYTES:
            raise TooMuchError(f"a zstd window of {window} bytes")
        unpacking = zstandard.ZstdDecompressor(max_window_size=window)
        return unpacking.stream_reader(data, read_across_frames=True), window
    raise UnsupportedCodecError(f"Unknown compression codec {codec:#04x}")


class _Lz4:
    """One frame of lz4."""

    def __init__(self, data: memoryview) -> None:
        self._parts = _lz4_parts(data)
        self._unpacking = lz4.frame.LZ4FrameDecompressor()

    def read1(self, size: int) -> bytes:
        """At most so many of the next bytes; none at the end."""
        while not self._unpacking.eof:
            packed = next(self._parts, b"") if self._unpacking.needs_input else b""
            if self._unpacking.needs_input and not packed:
                raise EOFError("lz4 frame ends early")
            piece: bytes = self._unpacking.decompress(packed, max_length=size)
            if piece:
                return piece
        return b""


def _lz4_parts(data: memoryview) -> Iterator[memoryview]:
    """The head of a frame, each of its blocks, and its end: the library gives nothing out of a part with a fault."""
    flags = data[4]
    end = 7 + (8 if flags & 0x08 else 0) + (4 if flags & 0x01 else 0)
    yield data[:end]
    checksum = 4 if flags & 0x10 else 0
    while length := int.from_bytes(data[end : end + 4], "little") & 0x7FFFFFFF:
        begin, end = end, end + 4 + length + checksum
        yield data[begin:end]
    yield data[end:]


class _Snappy:
    """One raw block of snappy, or many in the framing of xerial."""

    def __init__(self, data: memoryview) -> None:
        self._blocks = _xerial_blocks(data[16:]) if data[:8] == _XERIAL else iter([data])
        self._block = memoryview(b"")
        self.memory = 0

    def read1(self, size: int) -> bytes:
        """At most so many of the next bytes; none at the end."""
        while not self._block:
            packed = next(self._blocks, None)
            if packed is None:
                return b""
            length = cramjam.snappy.decompress_raw_len(packed)
            if length > MOST_BLOCK_BYTES:
                raise TooMuchError(f"a snappy block of {length} bytes")
            self.memory, block = length, bytearray(length)
            cramjam.snappy.decompress_raw_into(packed, block)
            self._block = memoryview(block)
        piece, self._block = self._block[:size], self._block[size:]
        return bytes(piece)


def _xerial_blocks(data: memoryview) -> Iterator[memoryview]:
    while data:
        length = int.from_bytes(data[:4], "big")
        if len(data) < 4 + length:
            raise EOFError("snappy block ends early")
        yield data[4 : 4 + length]
        data = data[4 + length :]
