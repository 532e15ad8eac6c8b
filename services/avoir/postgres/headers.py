"""Encodes record headers as one column value: a MessagePack array of alternating names and values."""

from collections.abc import Iterable
from itertools import chain
from typing import Any

import msgspec

_PACK = msgspec.msgpack.Encoder()
_UNPACK = msgspec.msgpack.Decoder(list[Any])


def packed(headers: Iterable[tuple[str, bytes | None]]) -> bytes:
    """The column value of headers."""
    return _PACK.encode(list(chain.from_iterable(headers)))


def unpacked(column: bytes) -> list[tuple[str, bytes | None]]:
    """The headers in a column value."""
    flat = _UNPACK.decode(column)
    return list(zip(flat[::2], flat[1::2], strict=True))
