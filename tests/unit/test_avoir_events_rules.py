"""The rules of the contract that concern more than one field, and amounts of money."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from avoir_events import COMMANDS, FACTS, Part, describe, read
from avoir_events.amounts import DECIMALS, micros
from avoir_events.examples import EXAMPLES
from avoir_events.json_schemas import json_schema

UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
MODELS: dict[str, type[Part]] = {**FACTS, **COMMANDS}
INVOICE = EXAMPLES["invoice-finalized"]
BOOKING_LINE, PLAN_LINE, PREPAID_LINE, CREDIT_LINE, OTHER_LINE = INVOICE["lines"]
PERIOD = {"start": "2026-05-30T09:00:00Z", "end": "2026-05-30T13:00:00Z"}
PRICES = {"billed_price": "121.00", "remaining_price": "60.50", "currency": "EUR"}
PERIODS = {"billed_period": PERIOD, "remaining_period": PERIOD}
SHORTENED = {name: value for name, value in EXAMPLES["booking-shortened"].items() if name not in PRICES}


def without(message: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in message.items() if name not in names}


def accepted(topic: str, message: Any) -> Any:
    return read(MODELS[topic], json.dumps(message).encode())


def refusal(topic: str, message: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        accepted(topic, message)
    return describe(caught.value)


def invoice(*lines: dict[str, Any], total: str, **more: Any) -> dict[str, Any]:
    return INVOICE | {"lines": list(lines), "total": total} | more


@pytest.mark.parametrize(
    ("amount", "value"),
    [("0", 0), ("-0", 0), ("12.50", 12_500_000), ("-0.01", -10_000), ("999999999999.999999", 10**18 - 1)],
)
def test_amounts_are_decimal_strings(amount: str, value: int) -> None:
    assert micros(amount) == value


BAD_AMOUNTS = [
    "",
    "1.",
    ".5",
    "01",
    "+1",
    "1e3",
    "1,00",
    "1.1234567",
    "1000000000000",
    " 1",
    "1\n",
    "NaN",
    "١",
]


@pytest.mark.parametrize("amount", BAD_AMOUNTS)
def test_other_strings_are_no_amounts(amount: str) -> None:
    assert refusal("draw-credit", EXAMPLES["draw-credit"] | {"amount": amount}).startswith("amount: not a")


@pytest.mark.parametrize("amount", [1, 1.5, True, None, ["1"], {"value": "1"}])
def test_a_number_is_no_amount(amount: Any) -> None:
    assert refusal("draw-credit", EXAMPLES["draw-credit"] | {"amount": amount}).startswith(
        "amount: must be a string"
    )


@pytest.mark.parametrize(
    ("currency", "amount", "fits"),
    [
        ("JPY", "100", True),
        ("JPY", "100.00", True),
        ("JPY", "100.1", False),
        ("JPY", "0.000001", False),
        ("EUR", "1.23", True),
        ("EUR", "1.230000", True),
        ("EUR", "1.2301", False),
        ("EUR", "1.205", False),
        ("KWD", "1.234", True),
        ("KWD", "1.2340", True),
        ("KWD", "1.2345", False),
    ],
)
def test_an_amount_has_at_most_the_decimals_of_its_currency(currency: str, amount: str, fits: bool) -> None:
    message = EXAMPLES["payment-recorded"] | {"currency": currency, "amount": amount}
    if fits:
        assert accepted("payment-recorded", message)
    else:
        expected = f'amount: more decimals than {currency} has ({DECIMALS[currency]}): "{amount}"'
        assert refusal("payment-recorded", message) == expected


def test_only_a_draw_may_have_six_decimals() -> None:
    assert accepted("draw-credit", EXAMPLES["draw-credit"] | {"currency": "JPY", "amount": "0.000001"})


@pytest.mark.parametrize(
    ("topic", "change", "place"),
    [
        ("booking-cancelled", {"fee": "1.234"}, "fee"),
        ("booking-shortened", {"billed_price": "1.234"}, "billed_price"),
        ("booking-shortened", {"remaining_price": "1.234"}, "remaining_price"),
        ("payment-reversed", {"amount": "1.234"}, "amount"),
        ("grant-credit", {"amount": "1.234"}, "amount"),
        ("apply-credit", {"amount": "1.234"}, "amount"),
        ("refund-credit", {"amount": "1.234"}, "amount"),
        (
            "set-credit-policy",
            {"policy": {"refill_amount": "1.234", "currency": "EUR"}},
            "policy.refill_amount",
        ),
        (
            "invoice-finalized",
            {"lines": [BOOKING_LINE | {"amount": "1.234", "tax": "0"}], "total": "1.234"},
            "lines.0.amount",
        ),
        ("invoice-finalized", {"amount_paid": "1.001"}, "amount_paid"),
    ],
)
def test_too_many_decimals_are_refused_wherever_they_stand(
    topic: str, change: dict[str, Any], place: str
) -> None:
    assert refusal(topic, EXAMPLES[topic] | change).startswith(f"{place}: more decimals than EUR has (2)")


@pytest.mark.parametrize("code", ["XAU", "XXX", "XTS", "EURO", "eur", "", "ABC", "E R"])
def test_a_currency_is_an_iso_4217_code_with_a_minor_unit(code: str) -> None:
    assert refusal("payment-recorded", EXAMPLES["payment-recorded"] | {"currency": code}).startswith(
        "currency: not an ISO 4217 code"
    )


ABOVE_ZERO = [
    ("payment-recorded", "amount"),
    ("payment-reversed", "amount"),
    ("booking-shortened", "billed_price"),
    ("grant-credit", "amount"),
    ("apply-credit", "amount"),
    ("refund-credit", "amount"),
    ("draw-credit", "amount"),
]
AT_LEAST_ZERO = [
    ("booking-cancelled", "fee"),
    ("booking-shortened", "remaining_price"),
    ("invoice-finalized", "amount_paid"),
]


@pytest.mark.parametrize(("topic", "name"), ABOVE_ZERO)
def test_some_amounts_are_above_zero(topic: str, name: str) -> None:
    for amount in ("0", "-0.00", "-1.00"):
        assert refusal(topic, EXAMPLES[topic] | {name: amount}).startswith(f"{name}: must be above zero")
    assert accepted(topic, EXAMPLES[topic] | {name: "0.01"})


@pytest.mark.parametrize(("topic", "name"), AT_LEAST_ZERO)
def test_some_amounts_are_at_least_zero(topic: str, name: str) -> None:
    assert refusal(topic, EXAMPLES[topic] | {name: "-0.01"}).startswith(f"{name}: must be at least zero")
    for amount in ("0", "-0.00", "0.01"):
        assert accepted(topic, EXAMPLES[topic] | {name: amount})


@UNHURRIED
@given(st.from_regex(r"\A-?(0|[1-9][0-9]{0,2})(\.[0-9]{1,2})?\Z"), st.sampled_from(["a", "b", "c"]))
def test_model_and_schema_agree_on_the_sign_of_an_amount(amount: str, which: str) -> None:
    topic, message = {
        "a": ("payment-recorded", EXAMPLES["payment-recorded"] | {"amount": amount}),
        "b": ("booking-cancelled", EXAMPLES["booking-cancelled"] | {"fee": amount}),
        "c": ("invoice-finalized", invoice(CREDIT_LINE | {"amount": amount}, total=amount)),
    }[which]
    by_schema = Draft202012Validator(json_schema(topic)).is_valid(message)
    try:
        accepted(topic, message)
    except ValidationError:
        assert not by_schema
    else:
        assert by_schema


@pytest.mark.parametrize("end", [PERIOD["start"], "2026-05-30T08:00:00Z", "2026-05-30T11:00:00+02:00"])
def test_a_period_starts_before_it_ends(end: str) -> None:
    line = BOOKING_LINE | {"period": PERIOD | {"end": end}}
    assert refusal("invoice-finalized", invoice(line, total="121.00")).startswith(
        "lines.0.period.end: must be after start"
    )


def test_total_is_the_sum_of_all_lines_with_tax() -> None:
    assert refusal("invoice-finalized", INVOICE | {"total": "380.91"}) == (
        'total: not the sum of all lines: "380.91"'
    )
    assert accepted("invoice-finalized", INVOICE | {"total": "380.9"})
    assert accepted("invoice-finalized", invoice(total="0"))


def test_a_negative_total_makes_a_credit_note_on_which_nothing_is_paid() -> None:
    line = OTHER_LINE | {"amount": "-30.00", "tax": "0"}
    assert accepted("invoice-finalized", invoice(line, total="-30.00"))
    message = invoice(line, total="-30.00", amount_paid="0.01")
    assert refusal("invoice-finalized", message).startswith("amount_paid: more than total")


def test_no_more_is_paid_than_the_total() -> None:
    assert accepted("invoice-finalized", INVOICE | {"amount_paid": "380.90"})
    message = INVOICE | {"amount_paid": "380.91"}
    assert refusal("invoice-finalized", message) == 'amount_paid: more than total: "380.91"'


def test_a_line_id_is_unique_in_its_invoice() -> None:
    message = invoice(BOOKING_LINE, BOOKING_LINE, total="242.00")
    assert refusal("invoice-finalized", message) == 'lines.1.line_id: not unique in its invoice: "l1"'


@pytest.mark.parametrize(
    ("line", "name"),
    [
        (BOOKING_LINE, "booking_id"),
        (PLAN_LINE, "plan_id"),
        (PLAN_LINE, "period"),
        (BOOKING_LINE, "line_id"),
        (BOOKING_LINE, "amount"),
        (BOOKING_LINE, "kind"),
    ],
)
def test_what_a_line_must_have(line: dict[str, Any], name: str) -> None:
    message = invoice(without(line, name), total="1.00")
    assert refusal("invoice-finalized", message).startswith(f"lines.0.{name}: missing")


@pytest.mark.parametrize("line", [BOOKING_LINE, PREPAID_LINE, CREDIT_LINE, OTHER_LINE])
def test_what_a_line_may_leave_out(line: dict[str, Any]) -> None:
    bare = without(line, "period", "tax", "credit_line_id", "expires_at")
    message = accepted("invoice-finalized", invoice(bare, total=bare["amount"]))
    assert message.lines[0].tax == "0"
    assert message.lines[0].period is None


def test_both_amounts_of_a_credit_line_are_at_most_zero() -> None:
    for name in ("amount", "tax"):
        message = invoice(CREDIT_LINE | {name: "0.01"}, total="0")
        assert refusal("invoice-finalized", message).startswith(f"lines.0.{name}: must be at most zero")


def test_an_unknown_kind_of_line_is_named() -> None:
    assert refusal("invoice-finalized", invoice(BOOKING_LINE | {"kind": "gift"}, total="1")) == (
        "lines.0.kind: must be one of 'booking', 'plan', 'prepaid', 'credit', 'other'"
    )


def test_an_invoice_has_at_most_ten_thousand_lines() -> None:
    lines = [{"line_id": f"l{n}", "kind": "other", "amount": "0"} for n in range(10_001)]
    assert accepted("invoice-finalized", invoice(*lines[:-1], total="0"))
    assert refusal("invoice-finalized", invoice(*lines, total="0")) == "lines: more than 10000 items"


def test_a_fee_needs_its_currency() -> None:
    message = without(EXAMPLES["booking-cancelled"], "currency")
    assert refusal("booking-cancelled", message) == "currency: missing: required with fee"
    assert accepted("booking-cancelled", without(message, "fee"))


@pytest.mark.parametrize(
    "form", [PRICES, PERIODS, PERIODS | {"currency": "EUR"}, PRICES | {"billed_period": None}]
)
def test_a_shortening_is_told_by_prices_or_by_periods(form: dict[str, Any]) -> None:
    assert accepted("booking-shortened", SHORTENED | form)
    assert Draft202012Validator(json_schema("booking-shortened")).is_valid(SHORTENED | form)


@pytest.mark.parametrize(
    ("form", "problem"),
    [
        ({}, "billed_period: missing: two periods or two prices are required"),
        (PRICES | PERIODS, "billed_price: must not stand beside billed_period"),
        (PERIODS | {"remaining_price": "1.00"}, "remaining_price: must not stand beside billed_period"),
        (without(PRICES, "currency"), "currency: missing: required with billed_price"),
        (without(PRICES, "billed_price"), "billed_price: missing: required with remaining_price"),
        (without(PRICES, "remaining_price"), "remaining_price: missing: required with billed_price"),
        (without(PERIODS, "billed_period"), "billed_period: missing: required with remaining_period"),
        (without(PERIODS, "remaining_period"), "remaining_period: missing: required with billed_period"),
    ],
)
def test_never_by_both_never_by_neither_never_by_half(form: dict[str, Any], problem: str) -> None:
    assert refusal("booking-shortened", SHORTENED | form) == problem
    assert not Draft202012Validator(json_schema("booking-shortened")).is_valid(SHORTENED | form)


def test_what_remains_may_be_more_than_what_was_billed() -> None:
    assert accepted("booking-shortened", SHORTENED | PRICES | {"remaining_price": "200.00"})


def test_granted_credit_expires_after_it_takes_effect() -> None:
    message = EXAMPLES["grant-credit"]
    for effective_at, expires_at in [
        (None, message["occurred_at"]),
        ("2026-07-01T00:00:00Z", "2026-07-01T02:00:00+02:00"),
    ]:
        change = {"effective_at": effective_at, "expires_at": expires_at}
        assert refusal("grant-credit", message | change).startswith("expires_at: must be after effective_at")
    assert accepted("grant-credit", message | {"expires_at": None})


@pytest.mark.parametrize("priority", [-1, 2**31, "50", None, 1.0, True])
def test_a_priority_is_an_integer_from_zero(priority: Any) -> None:
    message = EXAMPLES["grant-credit"] | {"priority": priority}
    assert refusal("grant-credit", message).startswith("priority")
