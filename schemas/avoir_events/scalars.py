"""Single values in messages: ids, texts, times, amounts, currencies."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from pydantic import (
    AfterValidator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    StringConstraints,
    ValidationError,
    ValidatorFunctionWrapHandler,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from avoir_events.amounts import DECIMALS, micros
from avoir_events.patterns import AMOUNT, CURRENCY, NO_NUL, TIME, WORDINGS
from avoir_events.problems import problem

MAX_ID: Final = 200
MAX_TEXT: Final = 2_000
# The largest integer up to which JavaScript holds all of them exactly.
MAX_INTEGER: Final = 2**53 - 1
EARLIEST_YEAR: Final = 1900
LATEST_YEAR: Final = 9998
"""Years outside this range are placeholders such as 0001-01-01 and 9999-12-31; leave the field out instead."""


def _with_minor_unit(code: str) -> str:
    if code not in DECIMALS:
        raise problem("not an ISO 4217 code of a currency with a minor unit")
    return code


def _above_zero(amount: str) -> str:
    if micros(amount) <= 0:
        raise problem("must be above zero")
    return amount


def _at_least_zero(amount: str) -> str:
    if micros(amount) < 0:
        raise problem("must be at least zero")
    return amount


def _at_most_zero(amount: str) -> str:
    if micros(amount) > 0:
        raise problem("must be at most zero on a line of kind credit")
    return amount


def _in_utc(value: Any, read: ValidatorFunctionWrapHandler) -> datetime:
    time: datetime = _leap_second(value, read) or read(value)
    # The limits exclude placeholders for "always" and "never": databases and time zones don't handle them safely.
    try:
        in_utc = time.astimezone(UTC)
    except OverflowError:
        in_utc = datetime.max
    if not EARLIEST_YEAR <= in_utc.year <= LATEST_YEAR:
        raise problem(f"not in the years {EARLIEST_YEAR} to {LATEST_YEAR} in UTC")
    return in_utc


def _leap_second(value: object, read: ValidatorFunctionWrapHandler) -> datetime | None:
    """The last microsecond before the day ends, for a second 60 there in UTC: a datetime has no such second."""
    if not isinstance(value, str) or value[17:19] != "60":
        return None
    try:
        second_before: datetime = read(f"{value[:17]}59{value[19:]}").astimezone(UTC)
    except (ValidationError, OverflowError):
        return None
    if (second_before.hour, second_before.minute) != (23, 59):
        return None
    return second_before.replace(microsecond=999_999)


def _text_or_time(value: object) -> object:
    if isinstance(value, datetime) or (isinstance(value, str) and re.fullmatch(TIME, value)):
        return value
    raise problem(WORDINGS[TIME])


class _Rfc3339:
    """Makes pydantic accept only RFC 3339 strings from JSON, and from Python also aware datetimes."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        aware = core_schema.datetime_schema(tz_constraint="aware", strict=False)
        in_utc = core_schema.no_info_wrap_validator_function(_in_utc, aware)
        text = core_schema.chain_schema([core_schema.str_schema(strict=True, pattern=TIME), in_utc])
        either = core_schema.no_info_before_validator_function(_text_or_time, in_utc)
        return core_schema.json_or_python_schema(json_schema=text, python_schema=either)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"type": "string", "format": "date-time", "pattern": TIME}


def _not_matching(pattern: str) -> Mapping[str, Any]:
    return {"not": {"pattern": pattern}}


Id = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=MAX_ID, pattern=NO_NUL)]
Text = Annotated[str, StringConstraints(strict=True, max_length=MAX_TEXT, pattern=NO_NUL)]
Revision = Annotated[int, Field(strict=True, ge=0, le=MAX_INTEGER)]
SequenceNumber = Annotated[int, Field(strict=True, ge=1, le=MAX_INTEGER)]
SequenceNumberOrZero = Annotated[int, Field(strict=True, ge=0, le=MAX_INTEGER)]
Time = Annotated[datetime, _Rfc3339]
Currency = Annotated[str, StringConstraints(strict=True, pattern=CURRENCY), AfterValidator(_with_minor_unit)]

Amount = Annotated[str, StringConstraints(strict=True, pattern=AMOUNT)]
AboveZero = Annotated[
    Amount, AfterValidator(_above_zero), Field(json_schema_extra={**_not_matching(r"^-|^0(\.0+)?$")})
]
AtLeastZero = Annotated[
    Amount, AfterValidator(_at_least_zero), Field(json_schema_extra={**_not_matching(r"^-.*[1-9]")})
]
AtMostZero = Annotated[
    Amount, AfterValidator(_at_most_zero), Field(json_schema_extra={**_not_matching(r"^[^-].*[1-9]|^[1-9]")})
]
