"""Regular expressions of the contract, valid in Rust, ECMAScript and Python, and their error texts."""

from typing import Final

# [0-9], not \d, which also matches the digits of other scripts in Rust and Python.
# Twelve digits before the point, counted in millionths, fit into a `bigint` of Postgres.
NO_NUL: Final = r"^[^\u0000]*$"
CURRENCY: Final = r"^[A-Z]{3}$"
AMOUNT: Final = r"^-?(0|[1-9][0-9]{0,11})(\.[0-9]{1,6})?$"
TIME: Final = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})$"
)
HASH: Final = r"^[0-9a-f]{64}$"

WORDINGS: Final = {
    NO_NUL: "must not hold NUL",
    CURRENCY: "not an ISO 4217 code",
    AMOUNT: "not a decimal string of at most 12 digits and six decimals",
    TIME: "not an RFC 3339 time with offset and at most nine digits after the second",
    HASH: "not a SHA-256 in lower-case hexadecimal",
}
