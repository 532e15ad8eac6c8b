"""What is no message at all, and how problems are reported."""

import json
from codecs import BOM_UTF8
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from avoir_events import InvoiceFinalized, InvoiceVoided, describe, read, read_json
from avoir_events.examples import EXAMPLES

UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
VOIDED = json.dumps(EXAMPLES["invoice-voided"]).encode()


def refusal(body: bytes, model: Any = InvoiceVoided) -> str:
    with pytest.raises(ValidationError) as caught:
        read(model, body)
    return describe(caught.value)


def test_a_leading_byte_order_mark_is_skipped_in_messages_of_any_size() -> None:
    large = with_field(b'"' + b"x" * 100_000 + b'"')
    for body in (VOIDED, large, with_field(b'"NaN"')):
        assert read(InvoiceVoided, BOM_UTF8 + body) == read(InvoiceVoided, VOIDED)
        assert read_json(BOM_UTF8 + body) == read_json(body)


def with_field(text: bytes) -> bytes:
    return VOIDED[:-1] + b', "more": ' + text + b"}"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"null",
        b"[]",
        b"[" + VOIDED + b"]",
        b'"text"',
        b"7",
        VOIDED + b"x",
        VOIDED + VOIDED,
        VOIDED + b"\x00",
        VOIDED[:-1],
        BOM_UTF8 + BOM_UTF8 + VOIDED,
        VOIDED[:1] + BOM_UTF8 + VOIDED[1:],
        VOIDED + BOM_UTF8,
        BOM_UTF8,
        VOIDED.decode().encode("utf-16"),
        VOIDED.replace(b"twice", b"tw\xffce"),
        VOIDED.replace(b"twice", b"\\ud800"),
        with_field(b"NaN"),
        with_field(b"-Infinity"),
        with_field(b'[{"deep": Infinity}]'),
        with_field(b'"\\udc00"'),
        with_field(b'"\xff"'),
        with_field(b"01"),
        with_field(b"'x'"),
        with_field(b"[1,]"),
        with_field(b"[" * 100_000 + b"]" * 100_000),
        with_field(b'{"a":' * 100_000 + b"1" + b"}" * 100_000),
        with_field(b"9" * 100_000),
        b"[" * 500_000,
    ],
)
def test_what_is_no_json_object_is_refused(body: bytes) -> None:
    assert refusal(body).startswith(("not one JSON object", "must be an object"))


@pytest.mark.parametrize(
    "more",
    [b"9" * 4000, b"-1e400", b"1e-400", b"0." + b"3" * 5000, b'"NaN and Infinity"', b"[" * 100 + b"]" * 100],
)
def test_odd_values_of_unknown_fields_do_no_harm(more: bytes) -> None:
    assert read(InvoiceVoided, with_field(more)) == read(InvoiceVoided, VOIDED)


def test_huge_numbers_in_known_fields_are_refused_without_being_echoed() -> None:
    text = VOIDED.replace(b'"i1"', b"9" * 4000)
    assert refusal(text) == "invoice_id: must be a string: a huge number"


def test_nul_is_refused_in_known_fields() -> None:
    assert refusal(VOIDED.replace(b"twice", b"\\u0000")).startswith("reason: must not hold NUL")


def test_of_a_repeated_key_the_last_one_counts_whoever_reads() -> None:
    body = VOIDED[:-1] + b', "invoice_id": "i2"}'
    assert read(InvoiceVoided, body).invoice_id == "i2"
    assert read_json(body)["invoice_id"] == "i2"


def description(body: bytes) -> str | None:
    try:
        read(InvoiceFinalized, body)
    except ValidationError as error:
        return describe(error)
    return None


@UNHURRIED
@given(st.binary(max_size=200))
def test_reading_any_bytes_ends_in_a_message_or_a_described_error(body: bytes) -> None:
    text = description(body)
    assert text is None or 0 < len(text) <= 500


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@UNHURRIED
@given(st.sampled_from(sorted(EXAMPLES["invoice-finalized"])), json_values)
def test_any_value_in_any_field_ends_in_a_message_or_a_described_error(name: str, value: Any) -> None:
    body = json.dumps(EXAMPLES["invoice-finalized"] | {name: value}).encode()
    text = description(body)
    assert text is None or (0 < len(text) <= 500 and "\0" not in text and text.encode())


def test_a_description_is_short_and_echoes_little() -> None:
    lines = [{"line_id": "x" * 50_000, "kind": "other", "amount": "y" * 50_000}] * 3
    body = json.dumps(EXAMPLES["invoice-finalized"] | {"lines": lines, "total": "z" * 50_000}).encode()
    text = refusal(body, InvoiceFinalized)
    assert len(text) <= 500
    assert "lines.0.line_id: must have at most 200 characters" in text
    assert "x" * 81 not in text


def test_all_missing_fields_are_named_at_once() -> None:
    assert refusal(b"{}") == (
        "event_id: missing; tenant_id: missing; occurred_at: missing; invoice_id: missing; reason: missing"
    )


@pytest.mark.parametrize("size", [10, 100_000])
def test_missing_fields_are_named_in_a_message_of_any_size(size: int) -> None:
    body = json.dumps({"lines": [{}] * size, "owner": {}, "event_id": "e"}).encode()
    text = refusal(body, InvoiceFinalized)
    assert text.startswith("tenant_id: missing; occurred_at: missing; invoice_id: missing; number: missing")
    assert "event_id" not in text


def test_a_large_message_is_read_as_a_small_one_is() -> None:
    example = EXAMPLES["invoice-finalized"]
    large = json.dumps(example | {"unknown": "x" * 100_000}).encode()
    assert read(InvoiceFinalized, large) == read(InvoiceFinalized, json.dumps(example).encode())
    assert refusal(large.replace(b'"x', b'NaN, "more": "x', 1), InvoiceFinalized).startswith(
        "not one JSON object"
    )


def test_no_more_than_ten_problems_are_told() -> None:
    body = json.dumps(
        {"lines": [{}], "owner": {}} | dict.fromkeys(["total", "number", "currency"], 1)
    ).encode()
    assert refusal(body, InvoiceFinalized).count(";") < 10
