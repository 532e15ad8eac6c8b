"""Describes what is wrong with a message in one short line that names the field."""

import json
from collections.abc import Sequence
from typing import Any, Final, NoReturn

from pydantic import ValidationError
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

from avoir_events.patterns import WORDINGS

MAX_TEXT: Final = 500
MAX_ECHO: Final = 80
MAX_PROBLEMS: Final = 10

_BY_TYPE: Final = {
    "missing": "missing",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "dict_type": "must be an object",
    "tuple_type": "must be an array",
    "string_type": "must be a string",
    "string_unicode": "must be valid Unicode, without lone surrogates",
    "int_type": "must be an integer",
    "int_from_float": "must be an integer",
    "bool_type": "must be true or false",
    "datetime_parsing": "no such time",
    "datetime_from_date_parsing": "no such time",
    "string_too_short": "must have at least {min_length} character(s)",
    "string_too_long": "must have at most {max_length} characters",
    "too_long": "more than {max_length} items",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "literal_error": "must be {expected}",
    "union_tag_invalid": "must be one of {expected_tags}",
    "union_tag_not_found": "missing",
    "json_invalid": "not one JSON object: {error}",
}
_ECHOED: Final = (str, int, float, bool, type(None))
_LINE_KINDS: Final = frozenset({"booking", "plan", "prepaid", "credit", "other"})


def problem(text: str) -> PydanticCustomError:
    """An error of one field, to be raised by that field's own validator."""
    return PydanticCustomError("contract", text)


def refuse(title: str, location: tuple[str | int, ...], text: str, value: object = ...) -> NoReturn:
    """Raise ValidationError for a field that is wrong only together with others; `value`, if given, is echoed."""
    detail = InitErrorDetails(type=problem(text), loc=location, input=value)
    raise ValidationError.from_exception_data(title, [detail])


def describe(error: ValidationError) -> str:
    """The first ten problems of a message on one line of at most 500 characters, each with its field."""
    lines = [_line(detail) for detail in error.errors(include_url=False)[:MAX_PROBLEMS]]
    text = "; ".join(lines)
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 3] + "..."


def _line(detail: ErrorDetails) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    location = _location(detail["loc"])
    if kind.startswith("union_tag"):
        location = f"{location}.{str(context['discriminator']).strip(chr(39))}"
    wording = _pattern_wording(context) if kind == "string_pattern_mismatch" else _BY_TYPE.get(kind)
    text = wording.format(**context) if wording else detail["msg"]
    echo = "" if kind in ("missing", "json_invalid") else _echo(detail["input"])
    return ": ".join(part for part in (location, text, echo) if part)


def _pattern_wording(context: dict[str, Any]) -> str:
    return WORDINGS.get(context["pattern"], "not of the form it must have")


def _location(loc: Sequence[str | int]) -> str:
    return ".".join(
        str(part)
        for before, part in zip(("", *loc), loc, strict=False)
        if not (isinstance(before, int) and part in _LINE_KINDS)
    )


def _echo(value: object) -> str:
    if not isinstance(value, _ECHOED):
        return ""
    # Python takes quadratic time to write a huge integer, and fails above 4,300 digits.
    if isinstance(value, int) and value.bit_length() > MAX_ECHO:
        return "a huge number"
    text = json.dumps(value[:MAX_ECHO] if isinstance(value, str) else value)
    return text if len(text) <= MAX_ECHO else text[: MAX_ECHO - 3] + "..."
