"""Amounts as they travel: decimal strings in the major unit, counted in micros (millionths of it)."""

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from iso4217 import Currency as _Iso

MICRO_PLACES: Final = 6

PLACES: Final[Mapping[str, int]] = MappingProxyType(
    {iso.code: iso.exponent for iso in _Iso if iso.exponent is not None}
)
"""Decimals of every ISO 4217 currency that has a minor unit (JPY 0, EUR 2, KWD 3)."""


@lru_cache(maxsize=8_192)
def micros(amount: str) -> int:
    """Millionths of the major unit in a decimal string of at most six decimals."""
    whole, _, fraction = amount.partition(".")
    return int(whole + fraction.ljust(MICRO_PLACES, "0"))


def places_of(amount: str) -> int:
    """How many decimals a decimal string is written with."""
    return len(amount.partition(".")[2])
