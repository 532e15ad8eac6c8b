"""Commands that are malformed: refused as they are read, with the field and the problem."""

import json
from typing import Any

import pytest

from avoir.record import Record
from avoir.wire.incoming import ParsedRecord, UnreadableRecord, parse
from avoir_events import COMMANDS
from avoir_events.examples import EXAMPLES

AMOUNTS = ("grant-credit", "apply-credit", "refund-credit", "draw-credit")


def read(topic: str, **fields: Any) -> ParsedRecord | UnreadableRecord:
    """The example of a command with other fields; `...` leaves one out."""
    value = {name: value for name, value in (EXAMPLES[topic] | fields).items() if value is not ...}
    return parse(Record(topic, 0, 0, 0, None, json.dumps(value).encode(), ()), 900 * 1024)


def problem(topic: str, **fields: Any) -> str:
    found = read(topic, **fields)
    assert isinstance(found, UnreadableRecord), found
    return found.problem


@pytest.mark.parametrize("topic", AMOUNTS)
@pytest.mark.parametrize(
    "amount",
    ["0", "0.00", "-5.00", "-0.01", "1000000000000.00", "0.0000001", "1e3", "05.00", "+5", "", 5, 5.0],
)
def test_an_amount_that_is_not_above_zero_or_no_decimal_string_is_malformed(topic: str, amount: Any) -> None:
    assert "amount" in problem(topic, amount=amount, currency="EUR")


@pytest.mark.parametrize("topic", ["grant-credit", "apply-credit", "refund-credit"])
@pytest.mark.parametrize(("amount", "currency"), [("0.001", "EUR"), ("0.5", "JPY"), ("0.0001", "KWD")])
def test_an_amount_below_the_minor_unit_is_malformed_where_nothing_is_drawn(
    topic: str, amount: str, currency: str
) -> None:
    assert "amount" in problem(topic, amount=amount, currency=currency)


@pytest.mark.parametrize("currency", ["EUR", "JPY", "KWD"])
def test_a_draw_goes_down_to_the_millionth_in_every_currency(currency: str) -> None:
    assert isinstance(read("draw-credit", amount="0.000001", currency=currency), ParsedRecord)


@pytest.mark.parametrize("topic", AMOUNTS)
def test_the_largest_amount_is_read(topic: str) -> None:
    assert isinstance(read(topic, amount="999999999999.99", currency="EUR"), ParsedRecord)


@pytest.mark.parametrize("topic", AMOUNTS)
@pytest.mark.parametrize("currency", ["XXX", "eur", "EURO", "", None])
def test_a_currency_that_is_none_is_malformed(topic: str, currency: Any) -> None:
    assert "currency" in problem(topic, amount="5", currency=currency)


@pytest.mark.parametrize("topic", COMMANDS)
@pytest.mark.parametrize("field", ["actor", "event_id", "tenant_id", "occurred_at"])
def test_a_command_without_what_every_command_has_is_malformed(topic: str, field: str) -> None:
    assert field in problem(topic, **{field: ...})


MISSING = [
    *(("grant-credit", field) for field in ("owner", "amount", "currency", "reason")),
    *(("apply-credit", field) for field in ("owner", "invoice_id", "currency")),
    *(("reinstate-credit", field) for field in ("application_id", "reason")),
    *(("void-credit", field) for field in ("grant_id", "reason")),
    *(("refund-credit", field) for field in ("owner", "amount", "currency", "reference")),
    *(("draw-credit", field) for field in ("owner", "amount", "currency", "allow_partial", "reference")),
    *(("set-credit-policy", field) for field in ("scope", "policy")),
]


@pytest.mark.parametrize(("topic", "field"), MISSING)
def test_a_command_that_leaves_out_what_it_needs_is_malformed(topic: str, field: str) -> None:
    assert field in problem(topic, **{field: ...})


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"reason": "birthday"}, "reason"),
        ({"priority": -1}, "priority"),
        ({"priority": 1.5}, "priority"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ({"effective_at": "2030-01-01T00:00:00Z", "expires_at": "2030-01-01T00:00:00Z"}, "expires_at"),
        ({"effective_at": "tomorrow"}, "effective_at"),
    ],
)
def test_a_grant_that_cannot_be(fields: dict[str, Any], named: str) -> None:
    assert named in problem("grant-credit", **fields)


USER = {"owner": {"type": "user", "id": "u1"}}


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"scope": {}}, "scope"),
        ({"scope": {"tenant": True} | USER}, "scope"),
        ({"scope": {"tenant": False}}, "scope"),
        ({"scope": {"invoice_id": "i1"}, "policy": {"credit_as": "line_item"}}, "policy"),
        ({"policy": {"credit_as": "cash"}}, "credit_as"),
        ({"policy": {"expires_after_days": 0}}, "expires_after_days"),
        ({"policy": {"time_zone": "Mars/Olympus"}}, "time_zone"),
        ({"policy": {"refill_threshold": "10.00", "refill_amount": "50.00"}}, "currency"),
        ({"policy": {"refill_threshold": "-1.00", "currency": "EUR"}}, "refill_threshold"),
        ({"policy": {"refill_amount": "0", "currency": "EUR"}}, "refill_amount"),
    ],
)
def test_a_policy_that_cannot_be(fields: dict[str, Any], named: str) -> None:
    assert named in problem("set-credit-policy", **fields)
