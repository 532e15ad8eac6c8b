"""Times count in UTC: what lies outside of the years 1900 to 9998 there is refused in every field."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import TypeAdapter, ValidationError

from avoir.core.worth.proration import LATEST
from avoir.record import Record
from avoir.wire.incoming import ParsedRecord, UnreadableRecord, parse
from avoir_events import describe, read
from avoir_events.scalars import EARLIEST_YEAR, LATEST_YEAR, Time
from tests.unit.time_fields import MODELS, TimeField, declared, found_in_messages, time_fields

OUTSIDE = (
    "1900-01-01T00:00:00+14:00",
    "1900-01-01T00:00:00+00:01",
    "9998-12-31T23:59:59-12:00",
    "9998-12-31T23:59:59.999999-00:01",
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-14:00",
)
INSIDE = {
    "1900-01-01T00:00:00Z": "1900-01-01T00:00:00+00:00",
    "1899-12-31T12:00:00-12:00": "1900-01-01T00:00:00+00:00",
    "9998-12-31T23:59:59.999999Z": "9998-12-31T23:59:59.999999+00:00",
    "9999-01-01T13:59:59.999999+14:00": "9998-12-31T23:59:59.999999+00:00",
    "9998-12-31T23:59:60Z": "9998-12-31T23:59:59.999999+00:00",
}
PROBLEM = "not in the years 1900 to 9998 in UTC"


def test_every_time_of_the_models_is_looked_at() -> None:
    assert declared() == found_in_messages()
    assert len(time_fields()) >= len(MODELS)


@pytest.mark.parametrize("written", OUTSIDE)
@pytest.mark.parametrize("field", time_fields(), ids=lambda field: f"{field.topic} {field.name}")
def test_a_time_outside_after_conversion_is_refused_in_every_field(field: TimeField, written: str) -> None:
    with pytest.raises(ValidationError) as refused:
        read(MODELS[field.topic], json.dumps(field.holding(written)).encode())
    assert describe(refused.value) == f"{field.name}: {PROBLEM}: {json.dumps(written)}"


@pytest.mark.parametrize(("written", "in_utc"), INSIDE.items())
def test_a_time_inside_after_conversion_is_taken(written: str, in_utc: str) -> None:
    assert TypeAdapter(Time).validate_python(written).isoformat() == in_utc


def test_a_time_from_python_is_held_to_the_same() -> None:
    early = datetime.fromisoformat(OUTSIDE[0])
    with pytest.raises(ValidationError, match=PROBLEM):
        TypeAdapter(Time).validate_python(early)


CANCELLED = {"tenant_id": "t1", "booking_id": "b1", "changed_by": "customer"} | {
    "owner": {"type": "user", "id": "u1"}
}


def taken(value: object, *headers: tuple[str, bytes | None]) -> ParsedRecord | UnreadableRecord:
    return parse(Record("booking-cancelled", 0, 0, 0, None, json.dumps(value).encode(), headers), 10_000)


@pytest.mark.parametrize("written", OUTSIDE)
def test_the_time_of_a_cloud_event_is_held_to_the_same(written: str) -> None:
    plain = taken(CANCELLED, ("ce_id", b"e1"), ("ce_time", written.encode()))
    envelope = taken({"specversion": "1.0", "id": "e1", "time": written, "data": CANCELLED})
    beside = {**CANCELLED, "event_id": "e1", "occurred_at": "2026-06-01T00:00:00Z"}
    other = taken(beside, ("ce_time", written.encode()))
    assert isinstance(plain, UnreadableRecord)
    assert isinstance(envelope, UnreadableRecord)
    assert isinstance(other, UnreadableRecord)
    assert plain.problem == envelope.problem == f"occurred_at: {PROBLEM}: {json.dumps(written)}"
    assert other.problem == f"ce_time: {PROBLEM}: {json.dumps(written)}"


@pytest.mark.parametrize(
    ("header", "body"),
    [
        ("2016-12-31T23:59:60Z", "2016-12-31T15:59:60-08:00"),
        ("2016-12-31T23:59:60Z", "2016-12-31T23:59:59.999999Z"),
        ("2016-12-31T23:59:59.123456789Z", "2016-12-31T23:59:59.123456Z"),
    ],
)
def test_moments_that_are_kept_as_one_agree(header: str, body: str) -> None:
    message = {**CANCELLED, "event_id": "e1", "occurred_at": body}
    plain, beside = taken(message), taken(message, ("ce_time", header.encode()))
    assert isinstance(plain, ParsedRecord)
    assert isinstance(beside, ParsedRecord)
    assert plain.message == beside.message


def test_the_latest_moment_that_is_computed_is_the_latest_that_can_be_told() -> None:
    assert TypeAdapter(Time).validate_python(LATEST) == LATEST
    with pytest.raises(ValidationError):
        TypeAdapter(Time).validate_python(LATEST + timedelta(microseconds=1))
    assert datetime(EARLIEST_YEAR, 1, 1, tzinfo=UTC) < LATEST < datetime(LATEST_YEAR + 1, 1, 1, tzinfo=UTC)
