"""What a line cost, what a change leaves of it, and how both are rounded."""

from fractions import Fraction

import pytest
from msgspec.structs import replace

from avoir.core.handlers.changes import to_change
from avoir.core.model.events import CreditIssued
from avoir.core.model.facts import InvoiceLine, Owner, Period
from avoir.core.model.money import parse_decimal
from avoir.core.model.policy import Policy
from avoir.core.model.rows import InvoiceKey
from avoir.core.worth.proration import unused_by_days
from avoir.core.worth.targets import Billed, costs, worths
from tests.unit.core.world import (
    EURO,
    World,
    at,
    cancelled,
    given,
    invoice,
    line,
    message,
    plan_cancelled,
    shortened,
    voided,
)

HOURS = ("06-10T09:00", "06-10T13:00")


def total(amount: str, kind: str = "booking") -> InvoiceLine:
    return line("x", amount, kind=kind)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([total("100.00")], [100]),
        ([total("100.00"), total("-20.00", "other")], [80, 0]),
        ([total("-20.00", "plan"), total("100.00")], [0, 80]),
        ([total("60.00"), total("40.00"), total("-10.00", "other")], [54, 36, 0]),
        ([total("60.00"), total("40.00"), total("-6.00", "other"), total("-4.00", "other")], [54, 36, 0, 0]),
        ([total("30.00"), total("-50.00", "other")], [0, 0]),
        ([total("100.00"), total("-20.00", "credit")], [100, 0]),
        ([total("100.00"), total("-20.00", "credit"), total("-10.00", "other")], [90, 0, 0]),
        ([total("-10.00", "other")], [0]),
        ([total("0.00"), total("10.00"), total("-1.00", "other")], [0, 9, 0]),
    ],
)
def test_discounts_are_shared_over_the_positive_lines_and_credit_lines_are_none(
    lines: list[InvoiceLine], expected: list[float]
) -> None:
    assert [cost.amount / EURO for cost in costs(lines, "EUR")] == expected


def test_three_equal_lines_share_a_cent_without_losing_or_gaining_one() -> None:
    for discount in ("0.01", "0.02", "10.00"):
        lines = [total("33.33"), total("33.33"), total("33.33"), total(f"-{discount}", "other")]
        assert sum(cost.amount for cost in costs(lines, "EUR")) == parse_decimal("99.99") - parse_decimal(
            discount
        )


@pytest.mark.parametrize(
    ("currency", "amount", "discount", "expected"),
    [("JPY", "1001", "-3", [500 * EURO, 499 * EURO]), ("KWD", "1.001", "-0.003", None)],
)
def test_shares_are_whole_minor_units_of_the_currency(
    currency: str, amount: str, discount: str, expected: list[int] | None
) -> None:
    found = costs(
        [total("501" if currency == "JPY" else "0.501"), total("501"), total(discount, "other")], currency
    )
    unit = EURO if currency == "JPY" else EURO // 1000
    assert all(cost.amount % unit == 0 for cost in found)


@pytest.mark.parametrize(
    ("lines", "net", "tax"),
    [
        ([("10.00", "1.90")] * 3 + [("-1.00", "-0.19")], [9.67, 9.66, 9.67], [1.84, 1.83, 1.84]),
        ([("10.00", "1.90"), ("100.00", "0.00"), ("-11.00", "-0.19")], [9.00, 90.00], [1.71, 0.00]),
        ([("10.00", "1.00"), ("-1.00", "0.00")], [9.00], [1.00]),
        ([("0.01", "0.01"), ("0.01", "0.01"), ("-0.01", "-0.01")], [0.01, 0.00], [0.01, 0.00]),
    ],
)
def test_discounts_lower_net_by_net_and_tax_by_tax(
    lines: list[tuple[str, str]], net: list[float], tax: list[float]
) -> None:
    found = costs([line("x", amount, tax=of_tax) for amount, of_tax in lines], "EUR")[: len(net)]
    assert [(cost.amount - (cost.tax or 0)) / EURO for cost in found] == net
    assert [(cost.tax or 0) / EURO for cost in found] == tax


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([("10.00", "1.00"), ("20.00", "2.00"), ("-1.00", "-10.00")], [7.33, 14.67, 0]),
        ([("10.00", "1.00"), ("-11.50", "0.50")], [0, 0]),
        ([("10.00", "-1.00"), ("-1.00", "0.00")], [8, 0]),
    ],
)
def test_totals_are_lowered_where_net_or_tax_alone_can_not_be(
    lines: list[tuple[str, str]], expected: list[float]
) -> None:
    found = costs([line("x", amount, tax=tax) for amount, tax in lines], "EUR")
    assert [cost.amount / EURO for cost in found] == expected
    assert [cost.tax for cost in found] == [None] * len(lines)


def test_the_tax_of_all_credits_is_the_tax_that_was_charged() -> None:
    world = World()
    lines = [line(f"l{n}", "10.00", tax="1.90", booking=f"b{n}") for n in range(3)]
    discount = line("d", "-1.00", tax="-0.19", kind="other")
    world.decide("f", "06-01", invoice("i1", *lines, discount, paid="34.51"))
    for n in range(3):
        world.decide(f"c{n}", "06-02", cancelled(f"b{n}"))
    items = [issued.line_item for issued in world.bodies(CreditIssued)]
    assert [(item.amount / EURO, item.tax / EURO) for item in items] == [
        (-9.67, -1.84),
        (-9.66, -1.83),
        (-9.67, -1.84),
    ]


@pytest.mark.parametrize(
    ("remaining", "credit"),
    [
        (("06-10T09:00", "06-10T13:00"), 0),
        (("06-10T09:00", "06-10T11:00"), 50),
        (("06-10T12:00", "06-10T13:00"), 75),
        (("06-10T08:00", "06-10T10:00"), 50),
        (("06-10T08:00", "06-10T15:00"), 0),
        (("06-10T14:00", "06-10T15:00"), 75),
        (("06-12T09:00", "06-12T13:00"), 0),
        (("06-10T10:00", "06-10T14:00"), 0),
        (("06-12T09:00", "06-12T11:00"), 50),
        (("06-12T09:00", "06-12T17:00"), 0),
    ],
)
def test_shortened_by_periods_gives_what_the_remaining_period_leaves(
    remaining: tuple[str, str], credit: float
) -> None:
    bill = invoice("i1", line("l1", "100.00", booking="b1", period=HOURS), paid="100.00")
    world = given(
        message("f", "06-01", bill),
        message("s", "06-02", shortened("b1", billed=("06-10T00:00", "06-11T00:00"), remaining=remaining)),
    )
    assert world.credited("i1") == credit


def test_a_booking_of_two_billed_periods_is_moved_as_a_whole() -> None:
    world = World()
    first = line("l1", "40.00", booking="b1", period=("06-10T09:00", "06-10T11:00"))
    second = line("l2", "60.00", booking="b1", period=("06-10T10:00", "06-10T13:00"))
    world.decide("f", "06-01", invoice("i1", first, second, paid="100.00"))
    world.decide("s", "06-02", shortened("b1", billed=HOURS, remaining=("06-10T10:00", "06-10T14:00")))
    assert (world.credited("i1", "l1"), world.credited("i1", "l2")) == (0, 0)
    world.decide("s2", "06-03", shortened("b1", billed=HOURS, remaining=("06-10T12:00", "06-10T14:00")))
    assert (world.credited("i1", "l1"), world.credited("i1", "l2")) == (26.67, 26.67)


def test_a_move_told_again_and_again_gives_nothing() -> None:
    world = World()
    bill = invoice("i1", line("l1", "100.00", booking="b1", period=HOURS), paid="100.00")
    world.decide("f", "06-01", bill)
    for hour in range(10, 20):
        remaining = (f"06-10T{hour:02}:00", f"06-10T{hour + 4:02}:00")
        world.decide(f"s{hour}", f"06-02T{hour}:00", shortened("b1", billed=HOURS, remaining=remaining))
    assert (world.credited("i1"), len(world.events)) == (0, 10)
    assert {decision.reason for decision in world.decisions[1:]} == {"nothing_unused"}


def test_a_change_keeps_the_rules_under_which_it_was_decided() -> None:
    fact = shortened("b1", billed=HOURS, remaining=("06-10T10:00", "06-10T14:00"))
    shortening = to_change(message("s", "06-02", fact), fact, Policy())
    key = InvoiceKey("t1", "i1")
    world = given(message("f", "06-01", invoice("i1", line("l1", "100.00", booking="b1", period=HOURS))))
    (row,) = world.state.lines_of_invoice[key]
    billed = [Billed(world.state.invoices[key], row)]
    worth = [worths(replace(shortening, rules=rules), billed)[row.key] / EURO for rules in (1, 2)]
    assert worth == [25, 0]


def test_a_line_without_a_period_is_measured_by_the_billed_period() -> None:
    world = given(
        message("f", "06-01", invoice("i1", line("l1", "100.00", booking="b1"), paid="100.00")),
        message("s", "06-02", shortened("b1", billed=HOURS, remaining=("06-10T09:00", "06-10T10:00"))),
    )
    assert world.credited("i1") == 75


@pytest.mark.parametrize(
    ("billed", "remaining", "credit"),
    [
        ("121.00", "60.50", 50),
        ("121.00", "0", 100),
        ("121.00", "121.00", 0),
        ("121.00", "200.00", 0),
        ("3.00", "1.00", 66.67),
        ("80.00", "79.99", 0.01),
        ("8.00", "7.9996", 0),
    ],
)
def test_shortened_by_prices_gives_the_same_share_of_the_cost(
    billed: str, remaining: str, credit: float
) -> None:
    world = given(
        message("f", "06-01", invoice("i1", line("l1", "100.00", booking="b1"), paid="100.00")),
        message("s", "06-02", shortened("b1", prices=(billed, remaining))),
    )
    assert world.credited("i1") == credit


@pytest.mark.parametrize(("part", "credit"), [("0.005", 0.0), ("0.015", 0.02), ("0.025", 0.02)])
def test_half_a_cent_is_rounded_to_the_even_one(part: str, credit: float) -> None:
    price = parse_decimal("1.00")
    left = (price - parse_decimal(part)) / EURO
    world = given(
        message("f", "06-01", invoice("i1", line("l1", "1.00", booking="b1"), paid="1.00")),
        message("s", "06-02", shortened("b1", prices=("1.00", f"{left:.3f}"))),
    )
    assert world.credited("i1") == credit


PERIODS = [("06-01", "07-01"), ("07-01", "08-01"), ("05-01", "06-01")]


@pytest.mark.parametrize(
    ("effective", "unused", "credits"),
    [
        ("06-16", "whole_periods", [0, 30, 0]),
        ("06-01", "whole_periods", [30, 30, 0]),
        ("07-01", "whole_periods", [0, 30, 0]),
        ("06-16", "prorate", [15, 30, 0]),
        ("06-30T12:00", "prorate", [0.5, 30, 0]),
        ("05-01", "prorate", [30, 30, 30]),
        ("08-02", "prorate", [0, 0, 0]),
    ],
)
def test_a_plan_gives_whole_periods_to_come_and_prorated_the_unused_part(
    effective: str, unused: str, credits: list[float]
) -> None:
    lines = [line(f"l{n}", "30.00", plan="p1", period=period) for n, period in enumerate(PERIODS)]
    world = given(
        message("f", "05-01", invoice("i1", *lines, paid="90.00")),
        message("c", "06-10", plan_cancelled("p1", effective, unused)),
    )
    assert [world.credited("i1", f"l{n}") for n in range(3)] == credits


@pytest.mark.parametrize(
    ("zone", "period", "ended", "expected"),
    [
        ("UTC", ("06-01", "07-01"), "06-16", Fraction(15, 30)),
        ("UTC", ("06-01", "07-01"), "06-16T00:00:00.000001", Fraction(14, 30)),
        ("UTC", ("06-01", "07-01"), "06-15T23:59", Fraction(15, 30)),
        ("UTC", ("06-01", "07-01"), "06-01T00:01", Fraction(29, 30)),
        ("UTC", ("06-01", "07-01"), "06-30T00:00", Fraction(1, 30)),
        ("UTC", ("06-01", "07-01"), "06-30T00:01", Fraction(0, 30)),
        ("Europe/Paris", ("02-28T23:00", "03-31T22:00"), "03-15T23:00", Fraction(16, 31)),
        ("Europe/Paris", ("02-28T23:00", "03-31T22:00"), "03-30T22:00", Fraction(1, 31)),
        ("UTC", ("06-01", "07-01"), "07-02", Fraction(0, 1)),
        ("UTC", ("06-01", "07-01"), "05-31", Fraction(1, 1)),
        ("America/New_York", ("06-01T04:00", "07-01T04:00"), "06-16T03:59", Fraction(15, 30)),
        ("America/New_York", ("06-01T04:00", "07-01T04:00"), "06-16T04:00", Fraction(15, 30)),
        ("America/New_York", ("03-01T05:00", "04-01T04:00"), "03-09T08:00", Fraction(22, 31)),
        ("America/New_York", ("11-01T04:00", "12-01T05:00"), "11-02T04:30", Fraction(28, 30)),
        ("Europe/Berlin", ("03-29T23:00", "03-30T22:00"), "03-30T10:00", Fraction(0, 1)),
        ("Europe/Berlin", ("03-28T23:00", "03-30T22:00"), "03-29T10:00", Fraction(1, 2)),
    ],
)
def test_whole_days_are_those_of_the_time_zone_also_when_clocks_change(
    zone: str, period: tuple[str, str], ended: str, expected: Fraction
) -> None:
    found = unused_by_days(Period(at(period[0]), at(period[1])), at(ended), zone)
    assert Fraction(found.part, found.whole) == expected


def test_the_policy_at_the_change_says_whether_time_or_days_count() -> None:
    delivered = [
        message(
            "f",
            "06-01",
            invoice("i1", line("l1", "30.00", plan="p1", period=("06-01", "07-01")), paid="30.00"),
        ),
        message("c", "06-16", plan_cancelled("p1", "06-16", "prorate")),
    ]
    by_days = given(*delivered, policy=Policy(proration="days", time_zone="Asia/Tokyo"))
    assert given(*delivered).credited("i1") == 15
    assert by_days.credited("i1") == 14.52  # 15/31: in Tokyo the period touches 31 days
    assert by_days.decisions[-1].policy["time_zone"] == "Asia/Tokyo"


@pytest.mark.parametrize(
    ("fees", "expected"),
    [
        ("0", [50, 30, 20]),
        ("10.00", [40, 30, 20]),
        ("60.00", [0, 20, 20]),
        ("100.00", [0, 0, 0]),
        ("500.00", [0] * 3),
    ],
)
def test_the_fee_is_kept_once_from_the_lines_in_order(fees: str, expected: list[float]) -> None:
    """By finalization, invoice id and place, whatever the order of arrival."""
    delivered = [
        message("f3", "06-02", invoice("a", line("l1", "20.00", booking="b1"), paid="20.00")),
        message("f1", "06-01", invoice("z", line("l1", "30.00", booking="b1"), paid="30.00")),
        message("f0", "06-01", invoice("y", line("l1", "50.00", booking="b1"), paid="50.00")),
        message("c", "06-03", cancelled("b1", fee=fees)),
    ]
    for order in (delivered, delivered[::-1], [delivered[3], *delivered[:3]]):
        world = given(*order)
        assert [world.credited(each) for each in ("y", "z", "a")] == expected


def test_the_fee_is_spread_anew_when_an_invoice_is_voided_across_owners_too() -> None:

    team = Owner("team", "t7")
    world = given(
        message("f", "06-01", invoice("i1", line("l1", "50.00", booking="b1"), paid="50.00", owner=team)),
        message("g", "06-02", invoice("i2", line("l1", "50.00", booking="b1"), paid="50.00")),
        message("c", "06-03", cancelled("b1", fee="20.00")),
    )
    assert (world.available(team), world.available()) == (30, 50)
    world.handle(message("v", "06-04", voided("i1")))
    assert (world.available(team), world.available()) == (50, 30), "the payment back, and the fee from i2"


def test_a_line_of_a_later_invoice_is_not_charged_the_fee_of_an_earlier_change() -> None:
    world = given(
        message("f", "06-01", invoice("i1", line("l1", "50.00", booking="b1"), paid="50.00")),
        message("c", "06-03", cancelled("b1", fee="60.00")),
        message("g", "06-04", invoice("i2", line("l1", "50.00", booking="b1"), paid="50.00")),
    )
    assert (world.credited("i1"), world.credited("i2")) == (0, 0)


def test_tax_is_split_off_the_cumulative_target_in_the_proportion_of_the_line() -> None:
    delivered = [
        message("f", "06-01", invoice("i1", line("l1", "0.80", tax="0.19", booking="b1"), paid="0.99"))
    ]
    for step in range(1, 12):
        left = f"{1.1 - step / 10:.2f}"
        delivered.append(message(f"s{step}", f"06-02T{step:02d}:00", shortened("b1", prices=("1.10", left))))
    items = [body.line_item for body in given(*delivered).bodies(CreditIssued)]
    assert sum(item.tax for item in items) == parse_decimal("-0.19")
    assert sum(item.amount for item in items) == parse_decimal("-0.80")
    assert all(item.tax <= 0 and item.amount <= 0 for item in items)


@pytest.mark.parametrize(
    ("amount", "tax", "parts"), [("100.00", "-15.00", ("-85.00", "0")), ("-15.00", "100.00", ("0", "-85.00"))]
)
def test_no_part_of_a_line_item_is_above_zero_where_tax_and_amount_have_opposite_signs(
    amount: str, tax: str, parts: tuple[str, str]
) -> None:
    bill = invoice("i1", line("l1", amount, tax=tax, booking="b1"), paid="85.00")
    [issued] = given(message("f", "06-01", bill), message("c", "06-02", cancelled("b1"))).bodies(CreditIssued)
    assert (issued.line_item.amount, issued.line_item.tax) == tuple(map(parse_decimal, parts))


def test_several_lines_for_one_booking_are_each_shortened() -> None:
    lines = [
        line("l1", "60.00", booking="b1"),
        line("l2", "40.00", booking="b1"),
        line("l3", "5.00", booking="b2"),
    ]
    world = given(
        message("f", "06-01", invoice("i1", *lines, paid="105.00")),
        message("s", "06-02", shortened("b1", prices=("100.00", "25.00"))),
    )
    assert [world.credited("i1", each) for each in ("l1", "l2", "l3")] == [45, 30, 0]
