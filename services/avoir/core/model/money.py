"""Amounts of money as integers, in millionths of the currency's major unit (micros)."""

from functools import cache, lru_cache

from iso4217 import Currency

MICROS_PER_MAJOR = 1_000_000

MOST_MICROS = 10**18 - 1
"""Maximum amount of an account: what an amount in a message can express (twelve digits, six decimals)."""


class OverLimitError(ValueError):
    """A message would exceed a limit, such as the most that an account can hold: it is rejected."""


@cache
def exponent(currency: str) -> int:
    """Number of decimals of an ISO 4217 currency (EUR 2, JPY 0, KWD 3)."""
    decimals: int | None = Currency(currency).exponent
    if decimals is None:
        raise ValueError(f"{currency} has no minor unit")
    return decimals


@cache
def minor_unit(currency: str) -> int:
    """One minor unit of a currency (one cent), in micros."""
    return MICROS_PER_MAJOR // int(10 ** exponent(currency))


def round_half_even(numerator: int, denominator: int) -> int:
    """`numerator / denominator` rounded to the nearest integer, a half to the even one; denominator above zero."""
    quotient, remainder = divmod(numerator, denominator)
    twice = 2 * remainder
    if twice > denominator or (twice == denominator and quotient % 2):
        quotient += 1
    return quotient


def share(amount: int, part: int, whole: int, currency: str) -> int:
    """`amount * part / whole` in micros, rounded half to even to the currency's minor unit."""
    unit = minor_unit(currency)
    return round_half_even(amount * part, whole * unit) * unit


def round_down(amount: int, currency: str) -> int:
    """The whole minor units in an amount of zero or more, in micros."""
    return amount - amount % minor_unit(currency)


def round_up(amount: int, currency: str) -> int:
    """An amount of zero or more in micros, rounded up to whole minor units."""
    return amount + -amount % minor_unit(currency)


@lru_cache(maxsize=8_192)
def parse_decimal(text: str) -> int:
    """Parse a decimal string of the wire (at most six decimals) into micros."""
    whole, _, fraction = text.partition(".")
    micros = int(whole) * MICROS_PER_MAJOR
    if fraction:
        part = int(fraction.ljust(6, "0"))
        micros += -part if text.startswith("-") else part
    return micros


@lru_cache(maxsize=8_192)
def format_decimal(micros: int, currency: str) -> str:
    """An amount in micros as a decimal string: at least the currency's decimals, at most six."""
    whole, fraction = divmod(abs(micros), MICROS_PER_MAJOR)
    decimals = exponent(currency)
    digits = f"{fraction:06d}"
    kept = digits[:decimals] + digits[decimals:].rstrip("0")
    return f"{'-' if micros < 0 else ''}{whole}{'.' if kept else ''}{kept}"
