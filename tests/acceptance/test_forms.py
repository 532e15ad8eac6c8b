"""The same facts in every form that producers may choose: plain JSON, CloudEvents binary and structured."""

import json
from typing import Any

import pytest

from tests.acceptance.facts import body, fact
from tests.acceptance.publishing import Sending
from tests.acceptance.service import Service

INVOICE, CANCELLED = "invoice-finalized", "booking-cancelled"
STRUCTURED = "application/cloudevents+json; charset=utf-8"


def plain(value: dict[str, Any]) -> Sending:
    """Plain JSON, with fields that Avoir does not know yet, and spelled in another way."""
    text = json.dumps({**value, "colour": "blue", "nested": {"also": ["unknown"]}}, indent=2)
    return Sending(CANCELLED, text.replace("b1", "\\u0062\\u0031").encode(), headers=(("x", b"\xff"),))


def binary(value: dict[str, Any]) -> Sending:
    """Binary mode: id and time stand in headers only."""
    headers = (
        ("ce_specversion", b"1.0"),
        ("ce_type", b"booking.cancelled"),
        ("ce_source", b"/bookings"),
        ("ce_id", value.pop("event_id").encode()),
        ("ce_time", value.pop("occurred_at").encode()),
        ("content-type", b"application/json"),
    )
    return Sending(CANCELLED, json.dumps(value).encode(), headers=headers)


def structured(value: dict[str, Any]) -> Sending:
    """Structured mode: an envelope around the message, which repeats the id and leaves out the time."""
    time = value.pop("occurred_at")
    envelope = {
        "specversion": "1.0",
        "type": "booking.cancelled",
        "source": "/bookings",
        "id": value["event_id"],
        "time": time,
        "datacontenttype": "application/json",
        "data": value,
    }
    headers = (("content-type", STRUCTURED.encode()),)
    return Sending(CANCELLED, json.dumps(envelope).encode(), headers=headers)


FORMS = (plain, binary, structured)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_read_and_the_same_fact_in_another_form_is_a_duplicate(
    form: Any, service: Service
) -> None:
    tenant = f"form-{form.__name__}"
    service.publish([fact(INVOICE, tenant, "billed")])
    service.publish([form(body(CANCELLED, tenant, "c"))])
    service.settle()
    (issued,) = service.events.of(tenant, "credit-issued")
    assert issued.body["caused_by"] == {"topic": CANCELLED, "event_id": "c"}
    assert issued.body["occurred_at"] == "2025-06-02T00:00:00Z"
    service.publish([other(body(CANCELLED, tenant, "c")) for other in FORMS])
    service.settle()
    decisions = service.ask("explain", "c", "--tenant", tenant)["decisions"]
    assert [each["outcome"] for each in decisions] == ["issued", *["duplicate"] * len(FORMS)]
