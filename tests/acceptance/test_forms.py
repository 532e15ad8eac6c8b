"""The same facts in every form that producers may choose: plain JSON, CloudEvents binary and structured.

Then grants in forms that few producers choose.
"""

import json
from codecs import BOM_UTF8
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.facts import body, fact
from tests.acceptance.publishing import Sending
from tests.acceptance.service import Service

INVOICE, CANCELLED, GRANT = "invoice-finalized", "booking-cancelled", "grant-credit"
UNUSUAL_TENANT = "unusual"
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


@pytest.fixture(scope="module")
def sent(service: Service) -> None:
    """In a tenant for each form: a cancellation in it, and once that is handled, the same one in every form."""
    tenants = {form: f"form-{form.__name__}" for form in FORMS}
    service.publish(fact(INVOICE, tenant, "billed") for tenant in tenants.values())
    service.publish(form(body(CANCELLED, tenant, "c")) for form, tenant in tenants.items())
    service.settle()
    service.publish(form(body(CANCELLED, tenant, "c")) for tenant in tenants.values() for form in FORMS)
    service.settle()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.usefixtures("sent")
def test_every_form_is_read_and_the_same_fact_in_another_form_is_a_duplicate(
    form: Any, service: Service
) -> None:
    tenant = f"form-{form.__name__}"
    (issued,) = service.events.of(tenant, "credit-issued")
    assert issued.body["caused_by"] == {"topic": CANCELLED, "event_id": "c", "by": None}
    assert issued.body["occurred_at"] == "2025-06-02T00:00:00Z"
    decisions = service.ask("explain", "c", "--tenant", tenant)["decisions"]
    assert [each["outcome"] for each in decisions] == ["issued", *["duplicate"] * len(FORMS)]


def granted(event_id: str, **fields: Any) -> Sending:
    """A grant that says by its event id what is unusual about it."""
    return fact(GRANT, UNUSUAL_TENANT, event_id, **fields)


def marked(sending: Sending) -> Sending:
    """The same value, with a byte order mark before it."""
    return replace(sending, value=BOM_UTF8 + (sending.value or b""))


def hyphens(value: dict[str, Any]) -> Sending:
    """Binary mode as HTTP spells it, which a bridge to Kafka may leave as it is."""
    headers = (("ce-id", value.pop("event_id").encode()), ("ce-time", value.pop("occurred_at").encode()))
    return Sending(GRANT, json.dumps(value).encode(), headers=headers)


UNUSUAL = {
    "header-bytes": replace(granted("header-bytes"), headers=(("ce_type", b"\xff"), ("ce_source", b"\xfe"))),
    "hyphens": hyphens(body(GRANT, UNUSUAL_TENANT, "hyphens")),
    "leap-second": granted("leap-second", occurred_at="2016-12-31T15:59:60-08:00"),
    "byte-order-mark": marked(granted("byte-order-mark")),
    "nine-digits": granted("nine-digits", occurred_at="2016-12-31T23:59:59.999999999Z"),
    "zeros": granted("zeros", amount="100.000"),
}


@pytest.fixture(scope="module")
def issued(service: Service) -> dict[str, dict[str, Any]]:
    """What `credit-issued` says of each unusual grant, by event id."""
    service.publish(UNUSUAL.values())
    service.settle()
    bodies = [each.body for each in service.events.of(UNUSUAL_TENANT, "credit-issued")]
    return {body["caused_by"]["event_id"]: body for body in bodies}


@pytest.mark.parametrize("event_id", UNUSUAL)
def test_a_message_in_an_unusual_form_is_taken(event_id: str, issued: dict[str, dict[str, Any]]) -> None:
    assert issued[event_id]["amount"] == "100.00"


@pytest.mark.parametrize("event_id", ["leap-second", "nine-digits"])
def test_a_time_is_kept_to_the_microsecond(event_id: str, issued: dict[str, dict[str, Any]]) -> None:
    assert issued[event_id]["effective_at"] == "2016-12-31T23:59:59.999999Z"


@pytest.mark.usefixtures("issued")
def test_zeros_at_the_end_of_an_amount_are_no_other_contents(service: Service) -> None:
    service.publish([granted("zeros", amount="100.00"), granted("zeros", amount="100")])
    service.settle()
    decisions = service.ask("explain", "zeros", "--tenant", UNUSUAL_TENANT)["decisions"]
    assert [each["outcome"] for each in decisions] == ["issued", "duplicate", "duplicate"]


def test_the_command_line_sends_what_is_right_and_nothing_of_what_is_not(
    service: Service, tmp_path: Path
) -> None:
    tenant, file = "sent", tmp_path / "messages.jsonl"
    messages = [{"topic": topic, "value": body(topic, tenant, topic)} for topic in (INVOICE, CANCELLED)]
    wrong = {"topic": CANCELLED, "value": body(CANCELLED, tenant, "wrong", changed_by="nobody")}
    file.write_text("\n".join(map(json.dumps, (*messages, wrong))))
    service.deployment.call("send", "-", str(file), code=1)
    file.write_text("\n".join(map(json.dumps, messages)))
    assert service.ask("send", "-", str(file))["by_topic"] == {INVOICE: 1, CANCELLED: 1}
    (issued,) = service.events.until(lambda: service.events.of(tenant, "credit-issued"), "the credit")
    assert issued.body["amount"] == "121.00"
