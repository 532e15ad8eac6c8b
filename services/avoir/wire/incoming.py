"""From a Kafka record to a message of the core: the one place that knows the wire names of what comes in."""

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

import msgspec
from pydantic import TypeAdapter, ValidationError

import avoir_events as wire
from avoir.core.model import facts
from avoir.core.model.commands import Command
from avoir.core.model.message import Message
from avoir.core.model.money import parse_decimal
from avoir.record import Record
from avoir.wire import cloudevents
from avoir.wire.cloudevents import Attributes, ProblemError
from avoir.wire.commands import command_of
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
"""The fields, in all messages in, that hold an amount."""

_CANONICAL = msgspec.json.Encoder(order="sorted")
_MAX_ID = 200
_MAX_ECHO = 80
_TIME: TypeAdapter[datetime] = TypeAdapter(Time)


@dataclass(frozen=True, slots=True)
class Incoming:
    """A record and the message in it."""

    record: Record
    message: Message


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A record that is no message, and why; its ids as far as they can be read, else empty.

    `message` is what was read of one that is refused for another reason than its form.
    """

    record: Record
    problem: str
    tenant_id: str
    event_id: str
    message: Message | None = None


def parse(record: Record, max_bytes: int) -> Incoming | Unreadable:
    """Read a record of a topic that is subscribed to; never raises, whatever its bytes are."""
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
        body=_body(model),
    )
    return Incoming(record, message)


def ahead(incoming: Incoming, now: datetime, max_future: timedelta) -> Unreadable | None:
    """The refusal of a message that claims to have happened too far ahead of `now`, the database clock."""
    message = incoming.message
    if message.occurred_at - now <= max_future:
        return None
    problem = f'occurred_at: more than {max_future} ahead of the clock: "{message.occurred_at.isoformat()}"'
    return Unreadable(incoming.record, problem, message.tenant_id, message.event_id, message)


def contents_hash(message: wire.Incoming) -> bytes:
    """SHA-256 of a message's contents: equal for equal values, whatever the spelling and the event id.

    The bytes hashed are compact JSON with sorted keys: all known fields but `event_id`, defaults filled in,
    amounts as integer millionths, times in UTC.
    """
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
    if attributes is cloudevents.PLAIN and cloudevents.MARK not in record.value:
        return wire.read(model, record.value)
    return _read_cloudevent(model, wire.read_json(record.value), attributes)


def _read_cloudevent(model: type[wire.Incoming], body: Any, attributes: Attributes) -> wire.Incoming:
    data, attributes = cloudevents.unwrapped(body, attributes)
    message = model.model_validate(cloudevents.completed(data, attributes))
    for said in attributes.ids:
        if said.value != message.event_id:
            raise ProblemError(f"{said.place}: another value than event_id: {_echo(said.value)}")
    for said in attributes.times:
        if _time(said) != message.occurred_at:
            raise ProblemError(f"{said.place}: another moment than occurred_at: {_echo(said.value)}")
    return message


def _time(said: cloudevents.Said) -> datetime:
    try:
        return _TIME.validate_python(said.value)
    except ValidationError as error:
        raise ProblemError(f"{said.place}: {wire.describe(error)}") from None


def _echo(text: str) -> str:
    return json.dumps(text[:_MAX_ECHO])


def _unreadable(record: Record, problem: str, max_bytes: int) -> Unreadable:
    fields = _as_far_as_readable(record, max_bytes)
    return Unreadable(record, problem, _id(fields.get("tenant_id")), _id(fields.get("event_id")))


def _as_far_as_readable(record: Record, max_bytes: int) -> dict[str, Any]:
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


def _body(message: wire.Incoming) -> facts.Fact | Command:
    if type(message) in _FACT_OF:
        return _FACT_OF[type(message)](message)
    if isinstance(message, wire.Command):
        return command_of(message)
    raise TypeError(f"{type(message).__name__} is no message in")


def _invoice_finalized(message: wire.InvoiceFinalized) -> facts.InvoiceFinalized:
    return facts.InvoiceFinalized(
        invoice_id=message.invoice_id,
        number=message.number,
        owner=_owner(message.owner),
        currency=message.currency,
        automatic=message.finalization == "automatic",
        auto_apply=message.auto_apply_credit,
        lines=tuple(_line(line) for line in message.lines),
        total=parse_decimal(message.total),
        amount_paid=parse_decimal(message.amount_paid),
    )


def _line(line: wire.AnyLine) -> facts.InvoiceLine:
    # By kind: `match` asks each of pydantic's classes in turn, which takes as long as all the rest.
    subject_id = credit_line_id = expires_at = None
    if line.kind == "booking":
        subject_id = line.booking_id
    elif line.kind == "plan":
        subject_id = line.plan_id
    elif line.kind == "credit":
        credit_line_id = line.credit_line_id
    elif line.kind == "prepaid":
        expires_at = line.expires_at
    return facts.InvoiceLine(
        line_id=line.line_id,
        kind=line.kind,
        subject_id=subject_id,
        period=_period(line.period),
        amount=parse_decimal(line.amount),
        tax=parse_decimal(line.tax),
        credit_line_id=credit_line_id,
        expires_at=expires_at,
    )


def _booking_cancelled(message: wire.BookingCancelled) -> facts.BookingCancelled:
    return facts.BookingCancelled(
        booking_id=message.booking_id,
        owner=_owner(message.owner),
        changed_by=message.changed_by,
        revision=message.revision,
        create_credit=message.create_credit,
        fee=_micros(message.fee) or 0,
        currency=message.currency if message.fee is not None else None,
    )


def _booking_shortened(message: wire.BookingShortened) -> facts.BookingShortened:
    return facts.BookingShortened(
        booking_id=message.booking_id,
        owner=_owner(message.owner),
        changed_by=message.changed_by,
        revision=message.revision,
        create_credit=message.create_credit,
        billed_period=_period(message.billed_period),
        remaining_period=_period(message.remaining_period),
        billed_price=_micros(message.billed_price),
        remaining_price=_micros(message.remaining_price),
        currency=message.currency if message.billed_price is not None else None,
    )


def _plan_cancelled(message: wire.PlanCancelled) -> facts.PlanCancelled:
    return facts.PlanCancelled(
        plan_id=message.plan_id,
        owner=_owner(message.owner),
        changed_by=message.changed_by,
        effective_at=message.effective_at,
        unused=message.unused,
        revision=message.revision,
        create_credit=message.create_credit,
    )


def _payment_recorded(message: wire.PaymentRecorded) -> facts.PaymentRecorded:
    return facts.PaymentRecorded(
        payment_id=message.payment_id,
        owner=_owner(message.owner),
        amount=parse_decimal(message.amount),
        currency=message.currency,
        invoice_ids=message.invoice_ids,
    )


def _payment_reversed(message: wire.PaymentReversed) -> facts.PaymentReversed:
    return facts.PaymentReversed(
        reversal_id=message.reversal_id,
        payment_id=message.payment_id,
        amount=parse_decimal(message.amount),
        currency=message.currency,
        reason=message.reason,
    )


def _invoice_voided(message: wire.InvoiceVoided) -> facts.InvoiceVoided:
    return facts.InvoiceVoided(message.invoice_id, message.reason)


def _application_rejected(message: wire.CreditApplicationRejected) -> facts.ApplicationRejected:
    return facts.ApplicationRejected(message.application_id, message.reason)


def _owner(owner: wire.Owner) -> facts.Owner:
    return facts.Owner(owner.type, owner.id)


def _period(period: wire.Period | None) -> facts.Period | None:
    return facts.Period(period.start, period.end) if period is not None else None


def _micros(amount: str | None) -> int | None:
    return parse_decimal(amount) if amount is not None else None


_FACT_OF: dict[type[wire.Incoming], Callable[[Any], facts.Fact]] = {
    wire.InvoiceFinalized: _invoice_finalized,
    wire.BookingCancelled: _booking_cancelled,
    wire.BookingShortened: _booking_shortened,
    wire.PlanCancelled: _plan_cancelled,
    wire.PaymentRecorded: _payment_recorded,
    wire.PaymentReversed: _payment_reversed,
    wire.InvoiceVoided: _invoice_voided,
    wire.CreditApplicationRejected: _application_rejected,
}
