"""Converts a Kafka record to a core message: the only place that knows the input's wire names."""

import json
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

import msgspec
from pydantic import TypeAdapter, ValidationError

import avoir_events as wire
from avoir.core.model.message import Message
from avoir.core.model.money import parse_decimal
from avoir.record import Record
from avoir.wire import cloudevents
from avoir.wire.cloudevents import Attributes, ProblemError
from avoir.wire.commands import command_of
from avoir.wire.facts import fact_of
from avoir_events.scalars import Time

AMOUNTS = frozenset(
    {
        "amount",
        "amount_paid",
        "billed_price",
        "fee",
        "refill_amount",
        "refill_threshold",
        "remaining_price",
        "tax",
        "total",
    }
)
"""Fields of facts and commands that hold an amount, by name at any depth: they are hashed as integers."""

_CANONICAL = msgspec.json.Encoder(order="sorted")
_MAX_ID = 200
_MAX_ECHO = 80
_TIME: TypeAdapter[datetime] = TypeAdapter(Time)


@dataclass(frozen=True, slots=True)
class ParsedRecord:
    """A record and the message in it."""

    record: Record
    message: Message


@dataclass(frozen=True, slots=True)
class UnreadableRecord:
    """A record that is no message, and why; its ids are empty if they can't be read.

    `message` is set if it was read, and refused for another reason than its form.
    """

    record: Record
    problem: str
    tenant_id: str
    event_id: str
    message: Message | None = None


def parse(record: Record, max_bytes: int) -> ParsedRecord | UnreadableRecord:
    """Read a record of a subscribed topic; never raises, whatever its bytes are."""
    try:
        model = _read(record, max_bytes)
    except ValidationError as error:
        return _unreadable(record, wire.describe(error), max_bytes)
    except ProblemError as error:
        return _unreadable(record, str(error), max_bytes)
    message = Message(
        tenant_id=model.tenant_id,
        topic=record.topic,
        event_id=model.event_id,
        occurred_at=model.occurred_at,
        contents=contents_hash(model),
        body=command_of(model) if isinstance(model, wire.Command) else fact_of(model),
    )
    return ParsedRecord(record, message)


def ahead(parsed: ParsedRecord, now: datetime, max_future: timedelta) -> UnreadableRecord | None:
    """The refusal of a message whose time is too far ahead of `now`, the database clock; None if it is not."""
    message = parsed.message
    if message.occurred_at - now <= max_future:
        return None
    problem = f'occurred_at: more than {max_future} ahead of the clock: "{message.occurred_at.isoformat()}"'
    return UnreadableRecord(parsed.record, problem, message.tenant_id, message.event_id, message)


def contents_hash(message: wire.Incoming) -> bytes:
    """SHA-256 of a message's contents: the same for equal values, whatever their spelling and the event id.

    The bytes hashed are compact JSON with sorted keys: all known fields but `event_id`, defaults filled in,
    amounts as integer millionths, times in UTC.
    """
    # Stored, and compared with the hash of later repetitions: it must never change.
    contents = message.model_dump(exclude={"event_id"})
    _to_canonical(contents)
    return sha256(_CANONICAL.encode(contents)).digest()


def _to_canonical(fields: dict[str, Any]) -> None:
    for name, value in fields.items():
        kind = type(value)
        if kind is str:
            if name in AMOUNTS:
                fields[name] = parse_decimal(value)
        elif kind is dict:
            _to_canonical(value)
        elif kind is tuple:
            for item in value:
                if type(item) is dict:
                    _to_canonical(item)


def _read(record: Record, max_bytes: int) -> wire.Incoming:
    model = wire.FACTS.get(record.topic) or wire.COMMANDS.get(record.topic)
    if model is None:
        raise ProblemError(f"no message is read from topic {record.topic}")
    if record.cut is not None:
        raise ProblemError(record.cut.problem)
    if record.value is None:
        raise ProblemError("a tombstone: the value is null")
    if len(record.value) > max_bytes:
        raise ProblemError(f"too large: {len(record.value)} bytes, at most {max_bytes}")
    attributes = cloudevents.from_headers(record.headers)
    # The usual case: pydantic reads the bytes itself, without Python objects in between.
    if attributes is cloudevents.PLAIN and cloudevents.MARK not in record.value:
        return wire.read(model, record.value)
    return _read_cloudevent(model, wire.read_json(record.value), attributes)


def _read_cloudevent(model: type[wire.Incoming], body: Any, attributes: Attributes) -> wire.Incoming:
    data, attributes = cloudevents.unwrapped(body, attributes)
    message = model.model_validate(cloudevents.completed(data, attributes))
    for given in attributes.ids:
        if given.value != message.event_id:
            raise ProblemError(f"{given.source}: another value than event_id: {_echo(given.value)}")
    for given in attributes.times:
        if _time(given) != message.occurred_at:
            raise ProblemError(f"{given.source}: another moment than occurred_at: {_echo(given.value)}")
    return message


def _time(given: cloudevents.Attribute) -> datetime:
    try:
        return _TIME.validate_python(given.value)
    except ValidationError as error:
        raise ProblemError(f"{given.source}: {wire.describe(error)}") from None


def _echo(text: str) -> str:
    return json.dumps(text[:_MAX_ECHO])


def _unreadable(record: Record, problem: str, max_bytes: int) -> UnreadableRecord:
    fields = _readable_fields(record, max_bytes)
    return UnreadableRecord(record, problem, _id(fields.get("tenant_id")), _id(fields.get("event_id")))


def _readable_fields(record: Record, max_bytes: int) -> dict[str, Any]:
    body: Any = {}
    attributes = cloudevents.PLAIN
    with suppress(ValidationError):
        if record.value is not None and record.cut is None and len(record.value) <= max_bytes:
            body = wire.read_json(record.value)
    with suppress(ProblemError):
        attributes = cloudevents.from_headers(record.headers)
        body, attributes = cloudevents.unwrapped(body, attributes)
    fields = cloudevents.completed(body, attributes)
    return fields if isinstance(fields, dict) else {}


def _id(value: object) -> str:
    is_id = isinstance(value, str) and 0 < len(value) <= _MAX_ID and "\0" not in value
    return str(value) if is_id else ""
