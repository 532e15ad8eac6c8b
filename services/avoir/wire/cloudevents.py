"""CloudEvents 1.0 as producers may use them: an id and a time in headers, or an envelope around the message."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

STRUCTURED = "application/cloudevents+json"
MARK = b'"specversion"'
"""Without these bytes in it a body is no envelope, unless the content type says so."""


class ProblemError(ValueError):
    """A record that is no message; the text says why and names the field or header."""


class Said(NamedTuple):
    """A value, and the header or field of the envelope that holds it."""

    place: str
    value: str


@dataclass(frozen=True, slots=True)
class Attributes:
    """What a record says besides its message; `structured` where the content type announces an envelope."""

    ids: tuple[Said, ...] = ()
    times: tuple[Said, ...] = ()
    structured: bool = False


PLAIN = Attributes()


def from_headers(headers: Iterable[tuple[str, bytes | None]]) -> Attributes:
    """The attributes in a record's headers; other headers may hold any bytes."""
    attributes = PLAIN
    for name, raw in headers:
        if raw is None or not (name.startswith("ce_") or name == "content-type"):
            continue
        value = _text(name, raw)
        if name == "ce_id":
            attributes = replace(attributes, ids=(*attributes.ids, Said(name, value)))
        elif name == "ce_time":
            attributes = replace(attributes, times=(*attributes.times, Said(name, value)))
        elif name == "content-type" and value.partition(";")[0].strip().lower() == STRUCTURED:
            attributes = replace(attributes, structured=True)
    return attributes


def unwrapped(body: Any, attributes: Attributes) -> tuple[Any, Attributes]:
    """The message in a body, which may be an envelope's `data`, with all that envelope and headers say."""
    looks_so = isinstance(body, dict) and "specversion" in body and "data" in body
    if not (attributes.structured or looks_so):
        return body, attributes
    if not isinstance(body, dict):
        raise ProblemError("must be a CloudEvents envelope, as the content type says")
    if "data" not in body:
        raise ProblemError("data: missing")
    ids = (*attributes.ids, *_attribute(body, "id"))
    times = (*attributes.times, *_attribute(body, "time"))
    return body["data"], replace(attributes, ids=ids, times=times)


def completed(message: Any, attributes: Attributes) -> Any:
    """A message in which the attributes stand in for an `event_id` and `occurred_at` that it lacks."""
    if not isinstance(message, dict):
        return message
    stand_ins = {}
    if attributes.ids:
        stand_ins["event_id"] = attributes.ids[0].value
    if attributes.times:
        stand_ins["occurred_at"] = attributes.times[0].value
    return stand_ins | message


def _text(header: str, raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise ProblemError(f"header {header}: not UTF-8") from None


def _attribute(envelope: dict[str, Any], name: str) -> tuple[Said, ...]:
    value = envelope.get(name)
    if value is None:
        return ()
    if not isinstance(value, str):
        raise ProblemError(f"{name}: must be a string")
    return (Said(name, value),)
