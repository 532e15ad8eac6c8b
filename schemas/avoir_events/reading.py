"""Reads a message's bytes: one JSON object in UTF-8, without extensions such as NaN.

A leading byte order mark is skipped.
"""

from codecs import BOM_UTF8
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import InitErrorDetails, from_json

from avoir_events.parts import Part

Message = TypeVar("Message", bound=Part)
_LARGE_BYTES = 64 * 1024


def read(model: type[Message], body: bytes) -> Message:
    """The message in these bytes; raises ValidationError. If a key is repeated, its last value counts."""
    body = body.removeprefix(BOM_UTF8)
    if len(body) > _LARGE_BYTES:
        _refuse_incomplete(model, read_json(body, model.__name__))
    elif b"NaN" in body or b"Infinity" in body:
        # model_validate_json accepts these in unknown fields.
        read_json(body, model.__name__)
    return model.model_validate_json(body)


def read_json(body: bytes, title: str = "message") -> Any:
    """The JSON value in these bytes, of any type; raises pydantic's ValidationError."""
    try:
        return from_json(body.removeprefix(BOM_UTF8), allow_inf_nan=False)
    except ValueError as error:
        detail = InitErrorDetails(type="json_invalid", ctx={"error": str(error)}, input=body)
        raise ValidationError.from_exception_data(title, [detail]) from None


def _refuse_incomplete(model: type[Part], value: Any) -> None:
    """Report missing fields of a large message here: pydantic's errors copy the whole message for each of them."""
    if isinstance(value, dict):
        required = [name for name, field in model.model_fields.items() if field.is_required()]
        missing = [
            InitErrorDetails(type="missing", loc=(name,), input=None)
            for name in required
            if name not in value
        ]
        if missing:
            raise ValidationError.from_exception_data(model.__name__, missing)
