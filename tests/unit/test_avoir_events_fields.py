"""Which fields a message must have, which it may leave out, and of which type they are."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from avoir_events import COMMANDS, EVENTS, FACTS, InvoiceFinalized, OtherLine, Owner, Part, describe, read
from avoir_events.examples import EXAMPLES
from avoir_events.json_schemas import json_schema

MODELS: dict[str, type[Part]] = {**FACTS, **COMMANDS, **EVENTS}
INCOMING = [*FACTS, *COMMANDS]

CHANGE = {"revision": None, "create_credit": None}
OPTIONAL: dict[str, dict[str, Any]] = {
    "invoice-finalized": {"auto_apply_credit": None, "amount_paid": "0"},
    "booking-cancelled": {**CHANGE, "channel": None, "fee": None, "currency": None},
    "booking-shortened": {
        **CHANGE,
        "channel": None,
        "billed_period": None,
        "remaining_period": None,
        "billed_price": None,
        "remaining_price": None,
        "currency": None,
    },
    "plan-cancelled": CHANGE,
    "payment-recorded": {"invoice_ids": ()},
    "grant-credit": {
        "note": None,
        "priority": 50,
        "effective_at": None,
        "expires_at": None,
        "reference": None,
    },
    **{topic: {"voids_from": None} for topic in EVENTS},
    "credit-issued": {"voids_from": None, "document": None, "overtakes": ()},
    "credit-declined": {"voids_from": None, "final": None},
    "credit-voided": {"voids_from": None, "source": None, "document": None},
    "credit-expired": {"voids_from": None, "source": None, "document": None},
    "credit-dead-letter": {"sha256": None, "length": None, "dead_letter_id": None, "first_offset": None},
}
REQUIRED = [
    (topic, name)
    for topic, example in EXAMPLES.items()
    for name in example
    if name not in OPTIONAL.get(topic, {})
]


def refusal(topic: str, message: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        read(MODELS[topic], json.dumps(message).encode())
    return describe(caught.value)


def test_the_contract_has_eight_facts_seven_commands_and_fourteen_events() -> None:
    assert (len(FACTS), len(COMMANDS), len(EVENTS)) == (8, 7, 14)
    assert list(EXAMPLES) == [*FACTS, *COMMANDS, *EVENTS]


@pytest.mark.parametrize("topic", MODELS)
def test_every_example_is_read_and_written_again_the_same(topic: str) -> None:
    message = read(MODELS[topic], json.dumps(EXAMPLES[topic]).encode())
    assert read(MODELS[topic], message.model_dump_json().encode()) == message


@pytest.mark.parametrize(("topic", "name"), REQUIRED)
def test_a_required_field_that_is_missing_is_named(topic: str, name: str) -> None:
    message = {key: value for key, value in EXAMPLES[topic].items() if key != name}
    assert f"{name}: missing" in refusal(topic, message)


@pytest.mark.parametrize("topic", MODELS)
def test_optional_fields_and_their_defaults_are_those_of_the_contract(topic: str) -> None:
    fields = MODELS[topic].model_fields
    optional = {name: field.default for name, field in fields.items() if not field.is_required()}
    assert optional == OPTIONAL.get(topic, {})


@pytest.mark.parametrize("topic", INCOMING)
def test_every_field_of_a_wrong_type_is_refused(topic: str) -> None:
    for name, value in EXAMPLES[topic].items():
        wrong: Any = 7 if isinstance(value, str) or value is None or isinstance(value, bool) else "7"
        assert refusal(topic, EXAMPLES[topic] | {name: wrong}).startswith(name)


@pytest.mark.parametrize("topic", INCOMING)
def test_unknown_fields_are_ignored(topic: str) -> None:
    known = read(MODELS[topic], json.dumps(EXAMPLES[topic]).encode())
    more = EXAMPLES[topic] | {"shade": {"of": ["green", 1.5, None]}}
    assert read(MODELS[topic], json.dumps(more).encode()) == known


def test_messages_are_frozen() -> None:
    message = read(FACTS["invoice-voided"], json.dumps(EXAMPLES["invoice-voided"]).encode())
    with pytest.raises(ValidationError):
        message.event_id = "e2"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"event_id": ""}, "event_id: must have at least 1 character(s)"),
        ({"event_id": "x" * 201}, "event_id: must have at most 200 characters"),
        ({"tenant_id": "a\0"}, "tenant_id: must not hold NUL"),
        ({"tenant_id": None}, "tenant_id: must be a string"),
        ({"reason": "a\0b"}, "reason: must not hold NUL"),
        ({"reason": "x" * 2001}, "reason: must have at most 2000 characters"),
        ({"invoice_id": True}, "invoice_id: must be a string"),
    ],
)
def test_ids_and_texts_have_bounds(change: dict[str, Any], problem: str) -> None:
    assert refusal("invoice-voided", EXAMPLES["invoice-voided"] | change).startswith(problem)


def test_ids_may_be_of_any_script_up_to_200_characters() -> None:
    example = EXAMPLES["invoice-voided"] | {"event_id": "𝄞" * 200, "reason": ""}
    assert read(FACTS["invoice-voided"], json.dumps(example).encode()).event_id == "𝄞" * 200


@pytest.mark.parametrize("revision", [0, 2**53 - 1])
def test_a_revision_is_an_integer_that_every_language_can_hold(revision: int) -> None:
    example = EXAMPLES["booking-cancelled"] | {"revision": revision}
    assert read(FACTS["booking-cancelled"], json.dumps(example).encode()).model_dump()["revision"] == revision


@pytest.mark.parametrize("revision", [-1, 2**53, 10**300, 1.0, True, "1"])
def test_anything_else_is_no_revision(revision: Any) -> None:
    assert refusal("booking-cancelled", EXAMPLES["booking-cancelled"] | {"revision": revision}).startswith(
        "revision"
    )


@pytest.mark.parametrize(
    ("written", "in_utc"),
    [
        ("2026-06-01T00:00:00Z", "2026-06-01T00:00:00+00:00"),
        ("2026-06-01t02:00:00.5+02:00", "2026-06-01T00:00:00.500000+00:00"),
        ("2026-05-31T20:30:00.123456-03:30", "2026-06-01T00:00:00.123456+00:00"),
        ("2026-06-01T00:00:00.1234567Z", "2026-06-01T00:00:00.123456+00:00"),
        ("2026-05-31T23:59:59.999999999Z", "2026-05-31T23:59:59.999999+00:00"),
        ("2016-12-31T23:59:60Z", "2016-12-31T23:59:59.999999+00:00"),
        ("2016-12-31t23:59:60.5z", "2016-12-31T23:59:59.999999+00:00"),
        ("2016-12-31T15:59:60-08:00", "2016-12-31T23:59:59.999999+00:00"),
        ("2017-01-01T05:29:60.123456789+05:30", "2016-12-31T23:59:59.999999+00:00"),
    ],
)
def test_times_are_read_with_any_offset_and_kept_in_utc(written: str, in_utc: str) -> None:
    message = read(
        FACTS["plan-cancelled"],
        json.dumps(EXAMPLES["plan-cancelled"] | {"effective_at": written}).encode(),
    )
    assert message.model_dump()["effective_at"].isoformat() == in_utc


@pytest.mark.parametrize(
    "written",
    [
        "2026-06-01T00:00:00",
        "2026-06-01",
        "2026-06-01 00:00:00Z",
        "2026-06-01T00:00Z",
        "2026-06-01T00:00:00.1234567891Z",
        "2026-06-01T00:00:00.Z",
        "2026-02-30T00:00:00Z",
        "2026-06-01T24:00:00Z",
        "2026-06-01T00:00:60Z",
        "2026-06-30T23:59:60+02:00",
        "2026-06-31T23:59:60Z",
        "2026-06-30T23:59:61Z",
        "1899-12-31T23:59:60Z",
        "9999-12-31T15:59:60-08:00",
        "9999-12-31T23:59:60-14:00",
        "2026-06-30T23:59:60",
        "2026-06-01T00:00:00+24:00",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+02:00",
        "9999-12-31T23:59:59-02:00",
        "0001-01-01T00:00:00Z",
        "1899-12-31T23:59:59Z",
        "9999-01-01T00:00:00Z",
        "9999-12-31T23:59:59.999999Z",
        "1780272000",
        1780272000,
        1780272000.5,
        "",
        "2026-06-01T00:00:00Z\n",
    ],
)
def test_other_times_are_refused(written: Any) -> None:
    assert refusal("plan-cancelled", EXAMPLES["plan-cancelled"] | {"effective_at": written}).startswith(
        "effective_at: "
    )


@pytest.mark.parametrize("written", ["2026-06-30T22:59:60Z", "2026-06-31T23:59:60Z"])
def test_a_second_60_elsewhere_is_refused_as_it_was_written(written: str) -> None:
    message = EXAMPLES["plan-cancelled"] | {"effective_at": written}
    assert refusal("plan-cancelled", message) == f'effective_at: no such time: "{written}"'


@pytest.mark.parametrize("written", ["2026-06-01T00:00:00.123456789Z", "2016-12-31T23:59:60Z"])
def test_the_schema_takes_nine_digits_and_leap_seconds_as_the_models_do(written: str) -> None:
    schema, message = Draft202012Validator(json_schema("plan-cancelled")), EXAMPLES["plan-cancelled"]
    assert schema.is_valid(message | {"effective_at": written})
    assert not schema.is_valid(message | {"effective_at": "2026-06-01T00:00:00.1234567891Z"})


def test_a_message_can_be_built_from_python_values() -> None:
    invoice = InvoiceFinalized(
        event_id="e1",
        tenant_id="t1",
        occurred_at=datetime(2026, 6, 1, tzinfo=UTC),
        invoice_id="i1",
        number="1",
        owner=Owner(type="user", id="u1"),
        currency="JPY",
        finalization="manual",
        lines=(OtherLine(line_id="l1", kind="other", amount="100"),),
        total="100",
    )
    assert read(InvoiceFinalized, invoice.model_dump_json().encode()) == invoice
    with pytest.raises(ValidationError):
        InvoiceFinalized.model_validate(invoice.model_dump() | {"occurred_at": datetime(2026, 6, 1)})
