"""Records in: what is read, what is refused and why, and which contents count as the same."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from avoir.core.model import facts
from avoir.core.model.message import Message
from avoir.record import Record
from avoir.wire.incoming import AMOUNTS, ParsedRecord, UnreadableRecord, ahead, contents_hash, parse
from avoir.wire.topics import SUBSCRIBED
from avoir_events import COMMANDS, FACTS, Part, SetCreditPolicy, read
from avoir_events.examples import EXAMPLES
from avoir_events.patterns import AMOUNT

UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
MAX_BYTES = 900 * 1024
PAYMENT = EXAMPLES["payment-recorded"]
OWNER = facts.Owner("user", "u1")
JUNE = datetime(2026, 6, 1, tzinfo=UTC)


def record(topic: str, value: Any, *headers: tuple[str, bytes | None]) -> Record:
    raw = value if isinstance(value, bytes | None) else json.dumps(value).encode()
    return Record(topic, 0, 41, 1_780_000_000_000, None, raw, headers)


def message(topic: str, value: Any, *headers: tuple[str, bytes | None]) -> Message:
    parsed = parse(record(topic, value, *headers), MAX_BYTES)
    assert isinstance(parsed, ParsedRecord), parsed
    return parsed.message


def refusal(topic: str, value: Any, *headers: tuple[str, bytes | None]) -> UnreadableRecord:
    parsed = parse(record(topic, value, *headers), MAX_BYTES)
    assert isinstance(parsed, UnreadableRecord)
    return parsed


def without(value: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: each for name, each in value.items() if name not in names}


@pytest.mark.parametrize("topic", SUBSCRIBED)
def test_every_example_of_a_message_in_is_read(topic: str) -> None:
    read_message = message(topic, EXAMPLES[topic])
    assert (read_message.tenant_id, read_message.topic, read_message.event_id) == ("t1", topic, "e1")
    assert len(read_message.contents) == 32


def test_an_invoice_with_every_kind_of_line() -> None:
    fact = message("invoice-finalized", EXAMPLES["invoice-finalized"]).body
    assert isinstance(fact, facts.InvoiceFinalized)
    assert (fact.invoice_id, fact.owner, fact.currency) == ("i1", OWNER, "EUR")
    assert (fact.automatic, fact.auto_apply, fact.total, fact.amount_paid) == (True, None, 380_900_000, 0)
    booking, plan, prepaid, credit, other = fact.lines
    assert booking == facts.InvoiceLine(
        line_id="l1",
        kind="booking",
        subject_id="b1",
        period=facts.Period(datetime(2026, 5, 30, 9, tzinfo=UTC), datetime(2026, 5, 30, 13, tzinfo=UTC)),
        amount=100_000_000,
        tax=21_000_000,
    )
    assert (plan.kind, plan.subject_id) == ("plan", "p1")
    assert plan.period == facts.Period(
        datetime(2026, 5, 31, 22, tzinfo=UTC), datetime(2026, 6, 30, 22, tzinfo=UTC)
    )
    assert prepaid.expires_at == datetime(2027, 6, 1, tzinfo=UTC)
    assert (credit.amount, credit.credit_line_id) == (-20_000_000, EXAMPLES["credit-issued"]["grant_id"])
    assert (other.amount, other.tax, other.subject_id, other.period) == (-10_000_000, -2_100_000, None, None)


def test_changes_payments_and_the_rest() -> None:
    cancelled = message("booking-cancelled", EXAMPLES["booking-cancelled"]).body
    assert cancelled == facts.BookingCancelled("b1", OWNER, "customer", 3, None, 10_000_000, "EUR")
    shortened = message("booking-shortened", EXAMPLES["booking-shortened"]).body
    assert shortened == facts.BookingShortened(
        "b1", OWNER, "customer", 2, None, None, None, 121_000_000, 60_500_000, "EUR"
    )
    ended = message("plan-cancelled", EXAMPLES["plan-cancelled"]).body
    effective_at = datetime(2026, 6, 16, tzinfo=UTC)
    assert ended == facts.PlanCancelled("p1", OWNER, "admin", effective_at, "whole_periods", 1, True)
    paid = message("payment-recorded", PAYMENT).body
    assert paid == facts.PaymentRecorded("pay1", OWNER, 121_000_000, "EUR", ("i1",))
    reversed_ = message("payment-reversed", EXAMPLES["payment-reversed"]).body
    assert reversed_ == facts.PaymentReversed("r1", "pay1", 121_000_000, "EUR", "refund")
    voided = message("invoice-voided", EXAMPLES["invoice-voided"]).body
    assert voided == facts.InvoiceVoided("i1", "issued twice")
    rejected = EXAMPLES["credit-application-rejected"]
    assert message("credit-application-rejected", rejected).body == facts.ApplicationRejected(
        rejected["application_id"], "invoice already closed"
    )


def test_a_currency_without_an_amount_does_not_count() -> None:
    cancelled = message("booking-cancelled", without(EXAMPLES["booking-cancelled"], "fee")).body
    assert cancelled == facts.BookingCancelled("b1", OWNER, "customer", 3, None, 0, None)


def test_what_is_refused_keeps_the_ids_that_can_be_read() -> None:
    refused = refusal("payment-recorded", PAYMENT | {"amount": "1.234"})
    assert refused.problem == 'amount: more decimals than EUR has (2): "1.234"'
    assert (refused.tenant_id, refused.event_id) == ("t1", "e1")
    refused = refusal("payment-recorded", {"tenant_id": "a\0", "event_id": "x" * 201})
    assert (refused.tenant_id, refused.event_id) == ("", "")


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (None, "a tombstone: the value is null"),
        (b"{" + b" " * MAX_BYTES, f"too large: {MAX_BYTES + 1} bytes, at most {MAX_BYTES}"),
        (b"", "not one JSON object: EOF while parsing a value at line 1 column 0"),
        (b"[]", "must be an object"),
        (b"\xff", "not one JSON object: expected value at line 1 column 1"),
    ],
)
def test_what_is_no_message(value: bytes | None, problem: str) -> None:
    refused = refusal("payment-recorded", value)
    assert (refused.problem, refused.tenant_id, refused.event_id) == (problem, "", "")


def test_a_message_may_be_as_large_as_the_limit() -> None:
    raw = json.dumps(PAYMENT).encode()
    assert message("payment-recorded", raw + b" " * (MAX_BYTES - len(raw))).event_id == "e1"


def test_a_topic_that_is_not_read_is_named() -> None:
    assert refusal("credit-issued", PAYMENT).problem == "no message is read from topic credit-issued"


BARE = without(PAYMENT, "event_id", "occurred_at")
CE = (("ce_id", b"e1"), ("ce_time", b"2026-06-01T02:00:00+02:00"))
HYPHENS = (("ce-id", b"e1"), ("ce-time", b"2026-06-01T02:00:00+02:00"))


@pytest.mark.parametrize(
    "value",
    [PAYMENT, BARE, without(PAYMENT, "event_id"), without(PAYMENT, "occurred_at")],
)
@pytest.mark.parametrize("headers", [CE, HYPHENS, (*CE, *HYPHENS), (*HYPHENS, *CE)])
def test_headers_may_stand_in_for_id_and_time(
    headers: tuple[tuple[str, bytes], ...], value: dict[str, Any]
) -> None:
    assert message("payment-recorded", value, *headers) == message("payment-recorded", PAYMENT)


def test_headers_that_stand_in_must_agree() -> None:
    refused = refusal("payment-recorded", BARE, *CE, ("ce-id", b"e2"))
    assert (refused.problem, refused.event_id) == ('ce-id: another value than event_id: "e2"', "e1")


@pytest.mark.parametrize(
    ("headers", "problem"),
    [
        ([("ce_id", b"e2")], 'ce_id: another value than event_id: "e2"'),
        ([("ce_id", b"e1"), ("ce_id", b"e2")], 'ce_id: another value than event_id: "e2"'),
        (
            [("ce_time", b"2026-06-01T00:00:00.000001Z")],
            'ce_time: another moment than occurred_at: "2026-06-01T00:00:00.000001Z"',
        ),
        (
            [("ce_time", b"yesterday")],
            'ce_time: not an RFC 3339 time with offset and at most nine digits after the second: "yesterday"',
        ),
        ([("ce_id", b"\xff")], "header ce_id: not UTF-8"),
        ([("ce-id", b"e2")], 'ce-id: another value than event_id: "e2"'),
        ([("ce-time", b"\xff")], "header ce-time: not UTF-8"),
    ],
)
def test_headers_that_say_something_else_are_refused(headers: list[tuple[str, bytes]], problem: str) -> None:
    refused = refusal("payment-recorded", PAYMENT, *headers)
    assert (refused.problem, refused.tenant_id, refused.event_id) == (problem, "t1", "e1")


def test_other_headers_may_hold_anything() -> None:
    plain = message("payment-recorded", PAYMENT)
    more = [("trace", b"\xff\x00"), ("ce_id", None), ("ce_type", b"\xff\xfe"), ("ce_source", b"\xff")]
    types = [("content-type", b"text/plain"), ("content-type", b"\xff")]
    assert message("payment-recorded", PAYMENT, *more, *types) == plain


def test_a_header_that_stands_in_is_checked_as_the_field_is() -> None:
    refused = refusal("payment-recorded", BARE, ("ce_id", b""), ("ce_time", b"2026-06-01"))
    assert refused.problem.startswith("event_id: must have at least 1 character(s)")
    assert "occurred_at: not an RFC 3339 time" in refused.problem


ENVELOPE = {
    "specversion": "1.0",
    "id": "e1",
    "time": "2026-06-01T00:00:00Z",
    "type": "x",
    "source": "/billing",
}
STRUCTURED = ("content-type", b"application/cloudevents+json; charset=UTF-8")


@pytest.mark.parametrize("data", [PAYMENT, BARE])
@pytest.mark.parametrize("headers", [[], [STRUCTURED], list(CE)])
def test_an_envelope_holds_the_message(data: dict[str, Any], headers: list[tuple[str, bytes]]) -> None:
    assert message("payment-recorded", ENVELOPE | {"data": data}, *headers) == message(
        "payment-recorded", PAYMENT
    )


@pytest.mark.parametrize(
    ("envelope", "problem"),
    [
        ({"id": "e2", "data": PAYMENT}, 'id: another value than event_id: "e2"'),
        ({"id": 7, "data": PAYMENT}, "id: must be a string"),
        (
            {"time": "2026-06-02T00:00:00Z", "data": PAYMENT},
            'time: another moment than occurred_at: "2026-06-02T00:00:00Z"',
        ),
        ({"data": None}, "must be an object: null"),
        ({"data": [PAYMENT]}, "must be an object"),
        ({}, "data: missing"),
    ],
)
def test_an_envelope_that_is_wrong_is_refused(envelope: dict[str, Any], problem: str) -> None:
    assert refusal("payment-recorded", ENVELOPE | envelope, STRUCTURED).problem == problem


def test_an_announced_envelope_must_be_one() -> None:
    assert refusal("payment-recorded", b"[]", STRUCTURED).problem.startswith("must be a CloudEvents envelope")


def test_a_message_may_not_come_from_too_far_ahead() -> None:
    incoming = parse(record("payment-recorded", PAYMENT), MAX_BYTES)
    assert isinstance(incoming, ParsedRecord)
    day = timedelta(days=1)
    assert ahead(incoming, JUNE - day, day) is None
    refused = ahead(incoming, JUNE - day - timedelta(microseconds=1), day)
    assert refused is not None
    assert refused.problem.startswith("occurred_at: more than 1 day, 0:00:00 ahead of the clock")
    assert (refused.tenant_id, refused.event_id) == ("t1", "e1")


def contents(topic: str, value: Any) -> bytes:
    return message(topic, value).contents


def test_the_event_id_is_no_part_of_the_contents() -> None:
    assert contents("payment-recorded", PAYMENT | {"event_id": "e2"}) == contents("payment-recorded", PAYMENT)


@pytest.mark.parametrize("topic", SUBSCRIBED)
def test_every_other_field_is(topic: str) -> None:
    example = EXAMPLES[topic]
    changed: dict[str, Any] = {
        "tenant_id": "t2",
        "occurred_at": "2026-06-01T00:00:01Z",
        "reason": {"payment-reversed": "failed", "grant-credit": "goodwill"}.get(topic, "another"),
        "number": "INV-2",
        "channel": "api",
        "method": "cash",
        "revision": 9,
        "create_credit": False,
        "changed_by": "admin" if example.get("changed_by") == "customer" else "customer",
        "auto_apply_credit": False,
        "amount_paid": "0.01",
        "fee": "0.01",
        "owner": {"type": "team", "id": "u1"},
        "invoice_ids": [],
        "actor": {"type": "service", "id": "s1"},
        "amount": "0.01",
        "note": None,
        "priority": 7,
        "effective_at": "2026-06-02T00:00:00Z",
        "expires_at": None,
        "reference": "another",
        "invoice_id": "i9",
        "grant_id": "g9",
        "application_id": "a9",
        "allow_partial": example.get("allow_partial") is not True,
        "scope": {"owner": {"type": "user", "id": "u9"}},
        "policy": {"auto_apply": None},
    }
    known = contents(topic, example)
    for name in example.keys() & changed.keys():
        assert contents(topic, example | {name: changed[name]}) != known, name


def test_a_field_at_its_default_is_the_same_as_one_left_out() -> None:
    bare = without(PAYMENT, "invoice_ids")
    assert contents("payment-recorded", bare) == contents("payment-recorded", PAYMENT | {"invoice_ids": []})
    cancelled = without(EXAMPLES["booking-cancelled"], "create_credit")
    assert contents("booking-cancelled", cancelled) == contents(
        "booking-cancelled", EXAMPLES["booking-cancelled"]
    )
    assert contents("booking-cancelled", cancelled | {"unheard_of": 1}) == contents(
        "booking-cancelled", cancelled
    )


amounts = st.tuples(st.integers(0, 10**12 - 1), st.integers(0, 99)).map(
    lambda parts: f"{parts[0]}.{parts[1]:02d}"
)


@UNHURRIED
@given(amounts, st.integers(0, 4))
def test_an_amount_counts_by_its_value(amount: str, zeros: int) -> None:
    short = amount.rstrip("0").rstrip(".")
    amount += "0" * zeros
    total = {"lines": [{"line_id": "l1", "kind": "other", "amount": amount}], "total": amount}
    same = {"lines": [{"line_id": "l1", "kind": "other", "amount": short, "tax": "-0.00"}], "total": short}
    invoice = EXAMPLES["invoice-finalized"]
    assert contents("invoice-finalized", invoice | total) == contents("invoice-finalized", invoice | same)


@pytest.mark.parametrize(
    ("currency", "short", "long"),
    [("EUR", "5.00", "5.000"), ("JPY", "5", "5.00"), ("KWD", "5.000", "5.000000")],
)
def test_zeros_beyond_the_decimals_of_the_currency_change_nothing(
    currency: str, short: str, long: str
) -> None:
    def with_amount(amount: str) -> Message:
        return message("payment-recorded", PAYMENT | {"currency": currency, "amount": amount})

    assert with_amount(long) == with_amount(short)


@UNHURRIED
@given(st.datetimes(datetime(1990, 1, 1), datetime(2090, 1, 1)), st.integers(-23 * 60, 23 * 60))
def test_a_time_counts_by_its_value(moment: datetime, offset_minutes: int) -> None:
    at_utc = moment.replace(tzinfo=UTC)
    hours, minutes = divmod(abs(offset_minutes), 60)
    local = moment + timedelta(minutes=offset_minutes)
    written = f"{local.isoformat()}{'-' if offset_minutes < 0 else '+'}{hours:02d}:{minutes:02d}"
    here = message("plan-cancelled", EXAMPLES["plan-cancelled"] | {"effective_at": written})
    there = message(
        "plan-cancelled",
        EXAMPLES["plan-cancelled"] | {"effective_at": at_utc.isoformat().replace("+00:00", "Z")},
    )
    assert here == there


def test_contents_of_a_policy_tell_null_from_left_out() -> None:
    command = EXAMPLES["set-credit-policy"]
    hashes = {
        contents_hash(read(SetCreditPolicy, json.dumps(command | {"policy": policy}).encode()))
        for policy in ({}, {"auto_apply": None}, {"auto_apply": True}, {"credit_as": None})
    }
    assert len(hashes) == 4


def holds_amount(annotation: Any) -> bool:
    return getattr(annotation, "pattern", None) == AMOUNT or any(
        holds_amount(each) for each in get_args(annotation)
    )


def parts(annotation: Any) -> set[type[Part]]:
    if isinstance(annotation, type) and issubclass(annotation, Part):
        inner = (field.annotation for field in annotation.model_fields.values())
        return {annotation}.union(*(parts(each) for each in inner))
    return set().union(*(parts(each) for each in get_args(annotation)))


def test_the_amounts_named_are_those_of_the_contract() -> None:
    models = set().union(*(parts(model) for model in (*FACTS.values(), *COMMANDS.values())))
    found: set[str] = set()
    others: set[str] = set()
    for model in models:
        for name, field in model.model_fields.items():
            is_amount = holds_amount(field.annotation) or any(holds_amount(each) for each in field.metadata)
            (found if is_amount else others).add(name)
    assert found == AMOUNTS
    assert not found & others


header_values = st.none() | st.binary(max_size=20) | st.sampled_from([b"e1", b"application/cloudevents+json"])
headers = st.lists(
    st.tuples(st.sampled_from(["ce_id", "ce_time", "content-type", "x"]), header_values), max_size=4
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@UNHURRIED
@given(st.sampled_from(SUBSCRIBED), st.none() | st.binary(max_size=100), headers)
def test_parsing_any_bytes_never_raises(
    topic: str, value: bytes | None, given_headers: list[tuple[str, bytes | None]]
) -> None:
    parsed = parse(record(topic, value, *given_headers), MAX_BYTES)
    assert isinstance(parsed, UnreadableRecord)
    assert 0 < len(parsed.problem) <= 700


@UNHURRIED
@given(st.sampled_from(SUBSCRIBED), st.data(), headers, st.booleans())
def test_parsing_odd_values_never_raises(
    topic: str, data: st.DataObject, given_headers: list[tuple[str, bytes | None]], wrap: bool
) -> None:
    name = data.draw(st.sampled_from([*EXAMPLES[topic], "specversion", "data"]))
    value: Any = EXAMPLES[topic] | {name: data.draw(json_values)}
    parsed = parse(record(topic, ENVELOPE | {"data": value} if wrap else value, *given_headers), MAX_BYTES)
    assert isinstance(parsed, ParsedRecord) or 0 < len(parsed.problem) <= 700


def test_the_record_is_kept_as_it_came() -> None:
    as_it_came = replace(record("payment-recorded", b"{}", ("x", b"\xff")), key=b"\xff")
    parsed = parse(as_it_came, MAX_BYTES)
    assert parsed.record is as_it_came
