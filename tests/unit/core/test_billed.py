"""A line is worth credit only if it was billed, paid, not free and asked for."""

import pytest

from avoir.core.model.events import CreditDeclined, CreditIssued
from avoir.core.model.facts import Owner
from avoir.core.model.policy import Policy
from tests.unit.core.world import (
    World,
    at,
    cancelled,
    given,
    invoice,
    line,
    message,
    payment,
    shortened,
    voided,
)

BOOKED = line("l1", "100.00", booking="b1")


def test_a_booking_cancelled_before_its_invoice_gives_nothing() -> None:
    """Made on May 1, to be invoiced on June 1, cancelled on May 15."""
    world = given(
        message("c", "05-15", cancelled("b1")), message("f", "06-01", invoice("i1", BOOKED, paid="100.00"))
    )
    assert world.available() == 0
    assert world.decisions[0].reason == "not_billed"


def test_a_booking_cancelled_after_its_paid_invoice_gives_all_of_it() -> None:
    """Made on May 30, paid on June 1, cancelled on June 2."""
    world = given(
        message("f", "06-01", invoice("i1", BOOKED)),
        message("p", "06-01", payment("p1", "100.00", "i1")),
        message("c", "06-02", cancelled("b1")),
    )
    assert world.available() == 100
    assert (world.decisions[-1].outcome, world.decisions[-1].reason) == ("issued", "booking_cancelled")


def test_a_change_at_the_very_moment_of_finalization_counts() -> None:
    world = given(
        message("f", "06-01", invoice("i1", BOOKED, paid="100.00")), message("c", "06-01", cancelled("b1"))
    )
    assert world.available() == 100


@pytest.mark.parametrize(
    "pay",
    [
        [message("p", "06-03", payment("p1", "100.00", "i1"))],
        [message("p", "06-03", payment("p1", "60.00", "i1")), message("q", "06-04", payment("p2", "40.00"))],
    ],
)
def test_credit_for_an_unpaid_invoice_comes_with_its_payment(pay: list) -> None:
    world = given(message("f", "06-01", invoice("i1", BOOKED)), message("c", "06-02", cancelled("b1")))
    assert (world.decisions[-1].outcome, world.decisions[-1].reason) == ("waiting", "unpaid")
    assert world.available() == 0 and not world.bodies(CreditDeclined)
    world.handle_all(pay[:-1])
    assert world.available() == 0
    world.handle(pay[-1])
    assert world.available() == 100
    assert world.decisions[-1].outcome == "issued"
    assert world.bodies(CreditIssued)[0].effective_at == pay[-1].occurred_at


def test_an_invoice_paid_with_credit_and_money_is_paid() -> None:
    world = given(
        message("g", "06-01", payment("p0", "30.00")),
        message("f", "06-02", invoice("i1", BOOKED, paid="70.00")),
        message("c", "06-03", cancelled("b1")),
    )
    assert world.due("i1") == 0 and world.applied("i1") == 30
    assert world.available() == 100


@pytest.mark.parametrize(
    ("by", "ask", "credit"),
    [
        ("customer", None, 100),
        ("customer", False, 100),
        ("admin", None, 0),
        ("admin", False, 0),
        ("admin", True, 100),
    ],
)
def test_the_customer_always_asks_and_an_admin_only_with_create_credit(
    by: str, ask: bool | None, credit: float
) -> None:
    world = given(
        message("f", "06-01", invoice("i1", BOOKED, paid="100.00")),
        message("c", "06-02", cancelled("b1", by=by, ask=ask)),
    )
    assert world.available() == credit
    assert world.decisions[-1].reason == ("booking_cancelled" if credit else "not_requested")


@pytest.mark.parametrize(
    "lines",
    [
        [line("l1", "0.00", booking="b1")],
        [BOOKED, line("d", "-100.00", kind="other")],
        [BOOKED, line("d", "-130.00", kind="other")],
    ],
)
def test_what_cost_nothing_gives_nothing(lines: list) -> None:
    world = given(message("f", "06-01", invoice("i1", *lines)), message("c", "06-02", cancelled("b1")))
    assert world.decisions[-1].reason == "free"
    assert world.credited("i1") == 0


def test_the_credit_belongs_to_the_owner_of_the_invoice_and_not_to_who_changed() -> None:
    team = ("team", "t7")

    world = given(
        message("f", "06-01", invoice("i1", BOOKED, paid="100.00", owner=Owner(*team))),
        message("c", "06-02", cancelled("b1")),
    )
    assert world.available() == 0
    assert world.available(Owner(*team)) == 100


def test_line_credit_counts_as_paid_for_even_where_other_credit_had_paid() -> None:
    world = given(
        message("g", "06-01", payment("p0", "100.00")),
        message("f", "06-02", invoice("i1", BOOKED)),
        message("c", "06-03", cancelled("b1")),
    )
    assert [grant.paid_for for grant in world.state.grants.rows.values()] == [True, True]


@pytest.mark.parametrize(
    ("paid_on", "changed_on", "credit", "outcome"),
    [("06-02", "06-03", 100, "issued"), ("06-03", "06-03", 100, "issued"), ("06-04", "06-03", 0, "declined")],
)
def test_with_policy_never_the_invoice_must_be_settled_no_later_than_the_change(
    paid_on: str, changed_on: str, credit: float, outcome: str
) -> None:
    delivered = [
        message("f", "06-01", invoice("i1", BOOKED)),
        message("p", paid_on, payment("p1", "100.00", "i1")),
        message("c", changed_on, cancelled("b1")),
    ]
    never = Policy(unpaid_change="never")
    world = given(*delivered, policy=never)
    assert world.available() == credit
    assert world.decisions[-1].outcome == outcome
    assert world.decisions[-1].policy["unpaid_change"] == "never"
    assert given(delivered[0], delivered[2], delivered[1], policy=never).available() == credit


def test_with_policy_never_an_unpaid_change_is_declined_as_unpaid() -> None:
    world = given(
        message("f", "06-01", invoice("i1", BOOKED)),
        message("c", "06-02", cancelled("b1")),
        policy=Policy(unpaid_change="never"),
    )
    assert (world.decisions[-1].outcome, world.decisions[-1].reason) == ("declined", "unpaid")
    assert world.bodies(CreditDeclined)[0].reason == "unpaid"


def test_the_effective_time_is_the_later_of_change_and_settlement() -> None:
    late = given(
        message("f", "06-01", invoice("i1", BOOKED)),
        message("c", "06-02", cancelled("b1")),
        message("p", "06-05", payment("p1", "100.00", "i1")),
    )
    assert late.bodies(CreditIssued)[0].effective_at == at("06-05")
    soon = given(
        message("p", "05-20", payment("p1", "100.00", "i1")),
        message("f", "06-01", invoice("i1", BOOKED)),
        message("c", "06-02", cancelled("b1")),
    )
    assert soon.bodies(CreditIssued)[-1].effective_at == at("06-02")


def test_a_booking_is_not_billed_on_the_invoice_of_another_tenant() -> None:
    world = World()
    world.handle(message("f", "06-01", invoice("i1", BOOKED, paid="100.00"), tenant="t2"))
    world.handle(message("c", "06-02", cancelled("b1")))
    assert world.decisions[-1].reason == "not_billed"


def test_only_the_last_of_two_invoices_for_a_booking_is_void_and_the_other_still_pays() -> None:
    world = given(
        message("f", "06-01", invoice("i1", BOOKED, paid="100.00")),
        message("g", "06-01", invoice("i2", BOOKED, paid="100.00")),
        message("v", "06-02", voided("i2")),
        message("c", "06-03", shortened("b1", prices=("100.00", "50.00"))),
    )
    assert (world.credited("i1"), world.credited("i2")) == (50, 0)
