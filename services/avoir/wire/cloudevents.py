"""Reads CloudEvents 1.0, which producers may use: an id and a time in headers, or an envelope around the message."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

STRUCTURED = b"application/cloudevents+json"
MARK = b'"specversion"'
"""Bytes that every envelope contains, unless the content type announces it."""

# With an underscore as CloudEvents has it for Kafka, or with a hyphen as it has it for HTTP.
_IDS = frozenset({"ce_id", "ce-id"})
_TIMES = frozenset({"ce_time", "ce-time"})


class ProblemError(ValueError):
    """Raised for a record that is no message; the text names the field or header, and the problem."""


class Attribute(NamedTuple):
    """A value, with the header or field of the envelope that it comes from."""

    source: str
    value: str


@dataclass(frozen=True, slots=True)
class Attributes:
    """Attributes of a record besides its message; `structured` if the content type announces an envelope."""

    # A header and the envelope can each give one: all of them must agree with the message.
    ids: tuple[Attribute, ...] = ()
    times: tuple[Attribute, ...] = ()
    structured: bool = False


PLAIN = Attributes()


def from_headers(headers: Iterable[tuple[str, bytes | None]]) -> Attributes:
    """The attributes in a record's headers; other headers may hold any bytes. Raises ProblemError."""
    attributes = PLAIN
    for name, raw in headers:
        if raw is None:
            continue
        if name in _IDS:
            attributes = replace(attributes, ids=(*attributes.ids, _header(name, raw)))
        elif name in _TIMES:
            attributes = replace(attributes, times=(*attributes.times, _header(name, raw)))
        elif name == "content-type" and raw.partition(b";")[0].strip().lower() == STRUCTURED:
            attributes = replace(attributes, structured=True)
    return attributes


def unwrapped(body: Any, attributes: Attributes) -> tuple[Any, Attributes]:
    """The message in a body, which may be an envelope's `data`, and the attributes of envelope and headers.

    Raises ProblemError for an envelope that is none.
    """
    is_envelope = isinstance(body, dict) and "specversion" in body and "data" in body
    if not (attributes.structured or is_envelope):
        return body, attributes
    if not isinstance(body, dict):
        raise ProblemError("must be a CloudEvents envelope, as the content type says")
    if "data" not in body:
        raise ProblemError("data: missing")
    ids = (*attributes.ids, *_attribute(body, "id"))
    times = (*attributes.times, *_attribute(body, "time"))
    return body["data"], replace(attributes, ids=ids, times=times)


def completed(message: Any, attributes: Attributes) -> Any:
    """A message with the `event_id` and `occurred_at` of the attributes, if it lacks them."""
    if not isinstance(message, dict):
        return message
    defaults = {}
    if attributes.ids:
        defaults["event_id"] = attributes.ids[0].value
    if attributes.times:
        defaults["occurred_at"] = attributes.times[0].value
    return defaults | message


def _header(name: str, raw: bytes) -> Attribute:
    try:
        return Attribute(name, raw.decode())
    except UnicodeDecodeError:
        raise ProblemError(f"header {name}: not UTF-8") from None


def _attribute(envelope: dict[str, Any], name: str) -> tuple[Attribute, ...]:
    value = envelope.get(name)
    if value is None:
        return ()
    if not isinstance(value, str):
        raise ProblemError(f"{name}: must be a string")
    return (Attribute(name, value),)
