"""`draw-credit` and `refund-credit`: credit that leaves without an invoice, and refills that are asked for."""

from typing import Any

import pytest

from avoir.core.model.events import CreditDrawn, CreditExpired, CreditRefillRequested, CreditRefunded
from avoir.core.model.facts import Owner
from avoir.core.model.policy import Policy
from tests.unit.core.commands import drawn, granted, pay_out, policy, use_on
from tests.unit.core.test_use import bill
from tests.unit.core.world import World, at, invoice, line, payment

U2 = Owner("user", "u2")


def test_a_draw_goes_down_to_the_millionth() -> None:
    world = World()
    world.decide("g", "06-01", granted("1"))
    decision = world.decide("d", "06-02", drawn("0.000001", reference="usage 17"))
    (event,) = world.bodies(CreditDrawn)
    assert (decision.outcome, decision.reason) == ("recorded", "drawn")
    assert (decision.facts["amount"], decision.facts["available"]) == ("0.000001", "1.00")
    assert (event.amount, event.asked, event.reference) == (1, 1, "usage 17")
    assert world.available() == 0.999999


def test_draws_come_to_exactly_nothing_and_never_below() -> None:
    world = World()
    world.decide("g", "06-01", granted("0.01"))
    outcomes = [world.decide(f"d{n}", "06-02", drawn("0.000999")).outcome for n in range(12)]
    assert outcomes == ["recorded"] * 10 + ["declined"] * 2
    assert world.decide("last", "06-02", drawn("0.00001")).outcome == "recorded"
    assert world.balance() == (0, 0)


@pytest.mark.parametrize(
    ("is_partial", "reason", "left"), [(False, "insufficient_credit", 5), (True, "drawn", 0)]
)
def test_a_draw_above_the_balance_takes_what_there_is_only_where_that_is_allowed(
    is_partial: bool, reason: str, left: float
) -> None:
    world = World()
    world.decide("g", "06-01", granted("5"))
    decision = world.decide("d", "06-02", drawn("7", partial=is_partial))
    assert (decision.reason, decision.facts["available"]) == (reason, "5.00")
    assert world.available() == left
    assert [(each.amount, each.asked) for each in world.bodies(CreditDrawn)] == (
        [(5_000_000, 7_000_000)] if is_partial else []
    )


def test_a_partial_draw_of_nothing_is_refused() -> None:
    decision = World().decide("d", "06-02", drawn("7", partial=True))
    assert (decision.outcome, decision.reason) == ("declined", "insufficient_credit")
    assert decision.facts["available"] == "0.00"


def test_a_draw_takes_fractions_that_applications_leave_over_several_grants_in_order() -> None:
    world = World(policy=Policy(auto_apply=False))
    world.decide("g0", "06-01", granted("1.005", priority=0))
    world.decide("g1", "06-01", granted("2"))
    world.handle(bill("i1", "06-02"))
    world.decide("u", "06-03", use_on("i1"))
    assert (world.applied("i1"), world.available()) == (3, 0.005)
    world.decide("d", "06-03", drawn("0.005"))
    assert world.balance() == (0, 0)


def test_draws_use_neither_what_is_expired_nor_what_is_reserved_nor_another_currency() -> None:
    world = World(now=at("06-12"))
    world.decide("g0", "06-01", granted("10", expires="06-10"))
    world.decide("g1", "06-01", granted("10", currency="USD"))
    world.decide("g2", "06-01", granted("10"))
    world.decide("r", "06-02", use_on("i9", "10"))
    assert world.decide("d", "06-03", drawn("1")).facts["available"] == "0.00"


def test_a_draw_uses_what_had_begun_by_its_own_time() -> None:
    world = World()
    world.decide("g", "06-05", granted("10"))
    assert world.decide("d1", "06-04", drawn("1")).reason == "insufficient_credit"
    assert world.decide("d2", "06-05", drawn("1")).reason == "drawn"


def test_a_refund_takes_what_was_paid_for_first() -> None:
    world = World()
    world.decide("gift", "06-01", granted("50", priority=0, expires="12-31T12:00"))
    world.decide("bought", "06-01", granted("30", reason="purchase"))
    decision = world.decide("p", "06-02", pay_out("40", reference="gateway refund 4711"))
    (refunded,) = world.bodies(CreditRefunded)
    assert (decision.outcome, decision.reason) == ("recorded", "refunded")
    assert (refunded.amount, refunded.reference) == (40_000_000, "gateway refund 4711")
    assert [(str(part.grant_id), part.amount) for part in refunded.slices] == [
        (world.grant_id("bought"), 30_000_000),
        (world.grant_id("gift"), 10_000_000),
    ]


@pytest.mark.parametrize("amount", ["80.01", "500"])
def test_a_refund_above_what_is_available_is_refused_whole(amount: str) -> None:
    world = World()
    world.decide("g", "06-01", granted("90"))
    world.decide("r", "06-01", use_on("i9", "10"))
    decision = world.decide("p", "06-02", pay_out(amount))
    assert (decision.outcome, decision.reason) == ("declined", "insufficient_credit")
    assert decision.facts["available"] == "80.00"
    assert world.balance() == (80, 10)


def test_a_refund_of_one_grant_takes_it_alone() -> None:
    world = World()
    world.decide("g0", "06-01", granted("10"))
    world.decide("g1", "06-01", granted("20"))
    assert world.decide("p", "06-02", pay_out("15", grant=world.grant_id("g1"))).reason == "refunded"
    assert (world.grant("g0").available, world.grant("g1").available) == (10_000_000, 5_000_000)
    refused = world.decide("q", "06-02", pay_out("6", grant=world.grant_id("g1")))
    assert (refused.reason, refused.facts["available"]) == ("insufficient_credit", "5.00")


def test_a_refund_of_a_grant_that_cannot_be_named() -> None:
    world = World(now=at("06-12"))
    world.decide("theirs", "06-01", granted("10", owner=U2))
    world.decide("dollars", "06-01", granted("10", currency="USD"))
    world.decide("old", "06-01", granted("10", expires="06-10"))
    found = [
        world.decide(f"p-{name}", "06-02", pay_out("1", grant=world.grant_id(name))).reason
        for name in ("theirs", "dollars", "old")
    ]
    assert found == ["unknown_grant", "currency_mismatch", "credit_expired"]
    assert len(world.bodies(CreditExpired)) == 1


def test_refunded_overpayment_no_longer_settles_invoices() -> None:
    world = World()
    world.decide("p", "06-02", payment("p1", "100"))
    world.decide("r", "06-02", pay_out("100"))
    world.handle(bill("i1", "06-01"))
    assert (world.due("i1"), world.balance()) == (100, (0, 0))


REFILL: dict[str, Any] = {"refill_threshold": "10.00", "refill_amount": "50.00", "currency": "EUR"}


def refilling() -> World:
    """An account with 20.00 and a policy that asks for 50.00 below 10.00."""
    world = World()
    world.decide("policy", "06-01", policy(**REFILL))
    world.decide("g", "06-01", granted("20"))
    return world


def refills(world: World) -> list[tuple[int, int]]:
    return [(each.amount, each.threshold) for each in world.bodies(CreditRefillRequested)]


def test_a_refill_is_asked_for_once_when_a_draw_leaves_less_than_the_threshold() -> None:
    world = refilling()
    world.decide("d1", "06-02", drawn("10"))
    assert refills(world) == []
    decision = world.decide("d2", "06-02", drawn("0.000001"))
    assert refills(world) == [(50_000_000, 10_000_000)]
    assert world.events[-1].caused_by is not None and world.events[-1].caused_by.event_id == "d2"
    assert decision.policy == {
        "refill_threshold": "10.00",
        "refill_amount": "50.00",
        "set_by": {"refill_threshold": "policy", "refill_amount": "policy"},
    }
    world.decide("d3", "06-02", drawn("1"))
    assert len(refills(world)) == 1


@pytest.mark.parametrize("how", ["auto", "command"])
def test_credit_used_on_an_invoice_asks_for_a_refill_too(how: str) -> None:
    world = refilling()
    world.decide("f", "06-02", invoice("i1", line("l1", "15"), automatic=how == "auto"))
    if how == "command":
        world.decide("u", "06-02", use_on("i1"))
    assert len(refills(world)) == 1


def test_what_is_no_use_asks_for_no_refill() -> None:
    world = refilling()
    world.decide("r", "06-02", use_on("i9", "15"))
    world.decide("p", "06-02", pay_out("5"))
    world.decide("d", "06-02", drawn("1"))
    assert (refills(world), world.balance()) == ([], (0, 15))


def test_it_is_asked_for_again_only_after_a_purchase_or_a_prepaid_line() -> None:
    world = refilling()
    world.decide("d1", "06-02", drawn("15"))
    world.decide("gift", "06-03", granted("10"))
    world.decide("d2", "06-03", drawn("10"))
    assert len(refills(world)) == 1
    world.decide("bought", "06-04", granted("50", reason="purchase"))
    world.decide("d3", "06-04", drawn("50"))
    assert len(refills(world)) == 2
    prepaid = invoice("i1", line("l1", "50", kind="prepaid"), paid="50.00")
    world.decide("f", "06-05", prepaid)
    world.decide("d4", "06-05", drawn("50"))
    assert len(refills(world)) == 3


def test_a_purchase_that_is_to_come_counts_when_it_has_come() -> None:
    world = World(now=at("06-02"))
    world.decide("policy", "06-01", policy(**REFILL))
    world.decide("g", "06-01", granted("20"))
    world.decide("d1", "06-02", drawn("15"))
    world.decide("bought", "06-02", granted("50", reason="purchase", effective="06-10"))
    world.decide("d2", "06-02", drawn("1"))
    assert len(refills(world)) == 1
    world.now = at("06-11")
    world.sweep()
    world.decide("d3", "06-11", drawn("50"))
    assert len(refills(world)) == 2


def test_a_refill_is_asked_for_in_its_own_currency_only() -> None:
    world = refilling()
    world.decide("usd", "06-01", granted("20", currency="USD"))
    world.decide("d", "06-02", drawn("15", currency="USD"))
    assert refills(world) == []


def test_credit_that_begins_and_pays_an_invoice_by_itself_asks_for_a_refill_too() -> None:
    world = World(now=at("06-01"))
    world.decide("policy", "06-01", policy(**REFILL))
    world.decide("g", "06-01", granted("20", effective="06-10"))
    world.now = at("06-09")
    world.decide("f", "06-10", invoice("i1", line("l1", "15")))
    assert refills(world) == []
    world.now = at("06-11")
    world.sweep()
    assert (world.due("i1"), len(refills(world))) == (0, 1)
