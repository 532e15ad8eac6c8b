"""Amounts on the wire: decimal strings in the major unit, counted in micros (millionths)."""

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from iso4217 import Currency as _Iso

MICRO_DECIMALS: Final = 6

DECIMALS: Final[Mapping[str, int]] = MappingProxyType(
    {iso.code: iso.exponent for iso in _Iso if iso.exponent is not None}
)
"""Decimals of every ISO 4217 currency that has a minor unit (JPY 0, EUR 2, KWD 3)."""


@lru_cache(maxsize=8_192)
def micros(amount: str) -> int:
    """Millionths of the major unit in a decimal string of at most six decimals."""
    whole, _, fraction = amount.partition(".")
    return int(whole + fraction.ljust(MICRO_DECIMALS, "0"))


def decimals_of(amount: str) -> int:
    """Number of decimals in a decimal string, without zeros at the end: `5.000` has none."""
    return len(amount.partition(".")[2].rstrip("0"))
