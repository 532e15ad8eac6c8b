"""Reading a message's bytes: one JSON object in UTF-8, and nothing that JSON does not have."""

from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import InitErrorDetails, from_json

from avoir_events.parts import Part

Message = TypeVar("Message", bound=Part)


def read(model: type[Message], body: bytes) -> Message:
    """The message in these bytes; raises ValidationError. Of a repeated key the last one counts."""
    if b"NaN" in body or b"Infinity" in body:
        read_json(body, model.__name__)
    return model.model_validate_json(body)


def read_json(body: bytes, title: str = "message") -> Any:
    """The JSON value in these bytes, whatever it is; raises pydantic's ValidationError."""
    try:
        return from_json(body, allow_inf_nan=False)
    except ValueError as error:
        detail = InitErrorDetails(type="json_invalid", ctx={"error": str(error)}, input=body)
        raise ValidationError.from_exception_data(title, [detail]) from None
