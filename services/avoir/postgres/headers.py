"""The headers of a record to publish as one value of a column: a MessagePack array of names and values in turn."""

from collections.abc import Iterable
from itertools import chain
from typing import Any

import msgspec

_PACK = msgspec.msgpack.Encoder()
_UNPACK = msgspec.msgpack.Decoder(list[Any])


def packed(headers: Iterable[tuple[str, bytes | None]]) -> bytes:
    """Headers as the column holds them."""
    return _PACK.encode(list(chain.from_iterable(headers)))


def unpacked(column: bytes) -> list[tuple[str, bytes | None]]:
    """The headers that a column holds."""
    flat = _UNPACK.decode(column)
    return list(zip(flat[::2], flat[1::2], strict=True))
