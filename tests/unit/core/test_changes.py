"""Of several changes the last one counts; an unasked one can only lower; and credit is taken back where it remains."""

import itertools

import pytest

from avoir.core.model.events import CreditIssued, CreditShortfall, CreditVoided
from tests.unit.core.world import (
    World,
    cancelled,
    given,
    invoice,
    line,
    message,
    payment,
    plan_cancelled,
    rejected,
    reversal,
    rows,
    shortened,
    voided,
)

PAID = message("f", "06-01", invoice("i1", line("l1", "100.00", booking="b1"), paid="100.00"))


def half(**how: object):  # type: ignore[no-untyped-def]
    return shortened("b1", prices=("100.00", "50.00"), **how)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("last", "before"),
    [
        (message("c", "06-02", cancelled("b1", revision=2)), message("s", "06-03", half(revision=1))),
        (message("c", "06-02", cancelled("b1", revision=0)), message("s", "06-03", half())),
        (message("c", "06-03", cancelled("b1")), message("s", "06-02", half())),
        (message("t", "06-02", cancelled("b1")), message("s", "06-02", half())),
        (message("s", "06-02", half()), message("s", "06-02", cancelled("b1"))),
    ],
    ids=["revision", "none is below all", "occurred_at", "event_id", "topic"],
)
def test_the_last_change_counts_in_every_order_of_arrival(last, before) -> None:  # type: ignore[no-untyped-def]
    expected = given(PAID, last).credited("i1")
    for order in itertools.permutations([PAID, last, before]):
        assert given(*order).credited("i1") == expected


def test_a_later_unasked_change_lowers_but_never_raises() -> None:
    world = given(PAID, message("s", "06-02", half()))
    world.decide("c", "06-03", cancelled("b1", by="admin"))
    assert world.credited("i1") == 50 and world.decisions[-1].reason == "not_requested"
    world.decide("d", "06-04", shortened("b1", prices=("100.00", "80.00"), by="admin"))
    assert world.credited("i1") == 20
    assert (world.decisions[-1].outcome, world.decisions[-1].reason) == ("recorded", "changed")


def test_shortened_and_lengthened_again_takes_back() -> None:
    world = given(
        PAID,
        message("s", "06-02", half()),
        message("t", "06-03", shortened("b1", prices=("100.00", "100.00"))),
    )
    assert world.available() == 0
    assert [body.reason for body in world.bodies(CreditVoided)] == ["changed"]


def test_a_change_in_another_currency_does_not_count_for_the_line() -> None:
    world = given(
        PAID,
        message("s", "06-02", half()),
        message("c", "06-03", cancelled("b1", fee="1.00", currency="USD")),
    )
    assert world.credited("i1") == 50
    assert world.decisions[-1].reason == "currency_mismatch"


def test_a_change_counts_for_the_lines_of_its_currency_only() -> None:
    dollars = invoice("i2", line("l1", "80.00", booking="b1"), paid="80.00", currency="USD")
    world = given(PAID, message("g", "06-01", dollars), message("c", "06-02", cancelled("b1", fee="5.00")))
    assert (world.credited("i1"), world.credited("i2")) == (95, 0)
    assert world.balance(currency="USD") == (0, 0)


def test_a_change_before_the_finalization_does_not_count_for_that_line() -> None:
    world = given(
        PAID,
        message("g", "06-03", invoice("i2", line("l1", "80.00", booking="b1"), paid="80.00")),
        message("c", "06-02", cancelled("b1")),
    )
    assert (world.credited("i1"), world.credited("i2")) == (100, 0)


def test_plan_changes_follow_the_same_order() -> None:
    bill = invoice("i1", line("l1", "30.00", plan="p1", period=("06-01", "07-01")), paid="30.00")
    world = given(
        message("f", "06-01", bill),
        message("c", "06-16", plan_cancelled("p1", "06-16", "prorate")),
        message("d", "06-17", plan_cancelled("p1", "06-22", "prorate", ask=False)),
    )
    assert world.credited("i1") == 9


def test_thirty_shortenings_and_a_cancellation_give_the_cents_of_one_cancellation() -> None:
    price = "99.97"
    bill = message("f", "06-01", invoice("i1", line("l1", price, booking="b1"), paid=price))
    world = given(bill)
    for step in range(1, 31):
        left = f"{99.97 * (31 - step) / 31:.2f}"
        world.decide(f"s{step:02d}", f"06-02T00:{step:02d}", shortened("b1", prices=(price, left)))
    world.decide("z", "06-03", cancelled("b1"))
    assert world.available() == given(bill, message("z", "06-03", cancelled("b1"))).available() == 99.97
    assert len(world.bodies(CreditIssued)) == 31


def test_taking_back_takes_from_the_last_issued_first() -> None:
    world = given(PAID)
    for step, left in enumerate(["70.00", "40.00", "10.00"]):
        world.decide(f"s{step}", f"06-0{step + 2}", shortened("b1", prices=("100.00", left)))
    world.decide("t", "06-09", shortened("b1", prices=("100.00", "55.00")))
    grants = sorted(rows(world.state.grants), key=lambda grant: grant.ordinal)
    assert [grant.available // 1_000_000 for grant in grants] == [30, 15, 0]


def spent_world() -> World:
    """A booking of 100 cancelled, and 80 of its credit spent on i2."""
    return given(
        PAID,
        message("c", "06-02", cancelled("b1", revision=1)),
        message("g", "06-03", invoice("i2", line("l1", "80.00", booking="b2"))),
    )


def lengthened(left: str, revision: int):  # type: ignore[no-untyped-def]
    return shortened("b1", prices=("100.00", left), revision=revision)


def test_what_was_spent_is_a_shortfall_and_later_credit_on_the_line_makes_up_for_it() -> None:
    world = spent_world()
    world.decide("s", "06-04", lengthened("70.00", 2))
    assert (world.available(), world.credited("i1"), world.shortfall()) == (0, 80, 50)
    world.decide("t", "06-05", lengthened("40.00", 3))
    assert (world.available(), world.shortfall()) == (0, 20)
    world.decide("u", "06-06", lengthened("10.00", 4))
    assert (world.available(), world.shortfall(), world.credited("i1")) == (10, 0, 90)
    changes = [
        (body.amount // 1_000_000, body.outstanding // 1_000_000) for body in world.bodies(CreditShortfall)
    ]
    assert changes == [(50, 50), (-30, 20), (-20, 0)]
    assert {body.reason for body in world.bodies(CreditShortfall)} == {"changed"}
    assert world.bodies(CreditShortfall)[0].short_of.booking_id == "b1"


def test_a_shortfall_is_taken_when_credit_returns_to_its_grant() -> None:
    world = spent_world()
    world.decide("s", "06-04", lengthened("70.00", 2))
    world.decide("v", "06-05", voided("i2"))
    assert (world.available(), world.shortfall(), world.credited("i1")) == (30, 0, 30)


def test_a_rejected_application_returns_credit_that_is_short_first() -> None:
    world = spent_world()
    world.decide("s", "06-04", lengthened("70.00", 2))
    application = rows(world.state.applications)[0]
    world.decide("r", "06-05", rejected(str(application.key.id)))
    assert (world.available(), world.shortfall(), world.due("i2")) == (30, 0, 80)


def test_a_reversed_payment_takes_back_the_credit_of_its_invoice_until_it_is_paid_again() -> None:
    world = given(
        message("f", "06-01", invoice("i1", line("l1", "100.00", booking="b1"))),
        message("p", "06-01", payment("p1", "100.00", "i1")),
        message("c", "06-02", cancelled("b1")),
    )
    world.decide("r", "06-03", reversal_of("p1", "40.00"))
    assert (world.available(), world.due("i1")) == (0, 40)
    assert world.bodies(CreditVoided)[-1].reason == "payment_reversed"
    world.decide("q", "06-04", payment("p2", "40.00", "i1"))
    assert (world.available(), world.due("i1")) == (100, 0)


def reversal_of(payment_id: str, amount: str):  # type: ignore[no-untyped-def]

    return reversal(f"r-{payment_id}", payment_id, amount)
