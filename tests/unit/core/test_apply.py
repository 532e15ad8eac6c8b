"""`apply-credit`: credit used by hand on an invoice with something due."""

import pytest

from avoir.core.model.events import CreditApplied
from avoir.core.model.facts import Owner
from avoir.core.model.policy import Policy
from tests.unit.core.commands import granted, use_on
from tests.unit.core.test_use import bill
from tests.unit.core.world import World, at, cancelled, invoice, line, payment, voided

U2 = Owner("user", "u2")


def with_credit(*amounts: str, auto_apply: bool = False) -> World:
    """Grants g0, g1, ... from June 1, in a world that leaves new invoices alone."""
    world = World(policy=Policy(auto_apply=auto_apply))
    for n, amount in enumerate(amounts):
        world.decide(f"g{n}", "06-01", granted(amount))
    return world


@pytest.mark.parametrize("automatic", [True, False])
def test_all_that_there_is_goes_to_an_invoice_that_is_due_however_it_was_finalized(automatic: bool) -> None:
    world = with_credit("80")
    world.handle(bill("i1", "06-02", automatic=automatic))
    decision = world.decide("u", "06-03", use_on("i1"))
    assert (decision.outcome, decision.reason) == ("applied", "command")
    assert (decision.facts["available"], decision.facts["due_on_invoice"]) == ("80.00", "100.00")
    assert (world.due("i1"), world.available()) == (20, 0)
    (applied,) = world.bodies(CreditApplied)
    assert (applied.by, applied.amount_due) == ("command", 20_000_000)


def test_a_part_is_used_as_asked() -> None:
    world = with_credit("80")
    world.handle(bill("i1", "06-02"))
    world.decide("u", "06-03", use_on("i1", "30"))
    assert (world.due("i1"), world.available()) == (70, 50)


def test_an_amount_above_what_is_due_is_lowered_to_it() -> None:
    world = with_credit("150")
    world.handle(bill("i1", "06-02"))
    assert world.decide("u", "06-03", use_on("i1", "140")).outcome == "applied"
    assert (world.due("i1"), world.available()) == (0, 50)


def test_an_amount_above_what_is_available_is_refused_with_how_much_there_is() -> None:
    world = with_credit("30")
    world.handle(bill("i1", "06-02"))
    decision = world.decide("u", "06-03", use_on("i1", "30.01"))
    assert (decision.outcome, decision.reason) == ("declined", "insufficient_credit")
    assert (decision.facts["available"], decision.facts["due_on_invoice"]) == ("30.00", "100.00")
    assert (decision.facts["invoice_id"], decision.facts["by"]) == ("i1", "admin/a1")
    assert (world.due("i1"), world.available()) == (100, 30)


def test_an_amount_above_both_counts_as_what_is_due() -> None:
    world = with_credit("100")
    world.handle(bill("i1", "06-02"))
    assert world.decide("u", "06-03", use_on("i1", "500")).outcome == "applied"
    assert world.due("i1") == 0


def test_one_named_grant_is_used_alone_out_of_order() -> None:
    world = with_credit("10", "20")
    world.decide("first", "06-01", granted("40", priority=0))
    world.handle(bill("i1", "06-02"))
    world.decide("u", "06-03", use_on("i1", grant=world.grant_id("g1")))
    assert world.grant("g1").available == 0
    assert (world.due("i1"), world.available()) == (80, 50)
    more = world.decide("u2", "06-03", use_on("i1", "15", grant=world.grant_id("g0")))
    assert (more.reason, more.facts["available"]) == ("insufficient_credit", "10.00")


ORDER = {
    "priority comes before all": (
        granted("10", priority=50, expires="06-20"),
        granted("10", priority=49, reason="purchase"),
    ),
    "what expires first is used first": (granted("10", expires="07-02"), granted("10", expires="07-01")),
    "what never expires is used last": (granted("10"), granted("10", reason="purchase", expires="07-01")),
    "what was given is used before what was paid for": (granted("10", reason="purchase"), granted("10")),
    "what counts earlier is used first": (granted("10", effective="06-01T02:00"), granted("10")),
}


@pytest.mark.parametrize("rule", ORDER)
@pytest.mark.parametrize("is_turned", [False, True])
def test_the_order_of_use(rule: str, is_turned: bool) -> None:
    second, first = ORDER[rule]
    world = World(now=at("06-03"), policy=Policy(auto_apply=False))
    delivered = [("second", second), ("first", first)]
    for event_id, grant in delivered[::-1] if is_turned else delivered:
        world.decide(event_id, "06-01", grant)
    world.handle(bill("i1", "06-02"))
    world.decide("u", "06-03", use_on("i1", "15"))
    assert (world.grant("first").available, world.grant("second").available) == (0, 5_000_000)
    (applied,) = world.bodies(CreditApplied)
    assert [str(part.grant_id) for part in applied.slices] == [
        world.grant_id("first"),
        world.grant_id("second"),
    ]


def test_where_all_else_is_equal_the_id_decides() -> None:
    world = with_credit("10", "10", "10")
    world.handle(bill("i1", "06-02"))
    world.decide("u", "06-03", use_on("i1", "15"))
    (applied,) = world.bodies(CreditApplied)
    used = [part.grant_id for part in applied.slices]
    assert used == sorted(world.grant(f"g{n}").key.id for n in range(3))[:2]


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (bill("i1", "06-02", paid="100.00"), "invoice_settled"),
        (bill("i1", "06-02", owner=U2), "unknown_invoice"),
        (bill("i1", "06-02", currency="USD"), "currency_mismatch"),
    ],
)
def test_an_invoice_that_credit_cannot_be_used_on(message, reason: str) -> None:  # type: ignore[no-untyped-def]
    world = with_credit("80")
    world.handle(message)
    decision = world.decide("u", "06-03", use_on("i1"))
    assert (decision.outcome, decision.reason) == ("declined", reason)
    assert world.available() == 80


@pytest.mark.parametrize("is_known", [True, False])
def test_a_void_invoice_takes_no_credit(is_known: bool) -> None:
    world = with_credit("80")
    if is_known:
        world.handle(bill("i1", "06-02"))
    world.decide("v", "06-03", voided("i1"))
    assert world.decide("u", "06-04", use_on("i1")).reason == "invoice_voided"
    assert world.balance() == (80, 0)


def test_a_credit_note_has_nothing_due() -> None:
    world = with_credit("80")
    world.decide("f", "06-02", invoice("i1", line("l1", "-10")))
    assert world.decide("u", "06-03", use_on("i1")).reason == "invoice_settled"


def test_a_grant_that_cannot_be_named() -> None:
    world = with_credit("80")
    world.decide("dollars", "06-01", granted("80", currency="USD"))
    world.decide("theirs", "06-01", granted("80", owner=U2))
    world.handle(bill("i1", "06-02"))
    reasons = {
        name: world.decide(name + "?", "06-03", use_on("i1", grant=grant)).reason
        for name, grant in {
            "dollars": world.grant_id("dollars"),
            "theirs": world.grant_id("theirs"),
            "nobody's": "00000000-0000-0000-0000-000000000000",
            "no id": "order 66",
        }.items()
    }
    assert reasons == {
        "dollars": "currency_mismatch",
        "theirs": "unknown_grant",
        "nobody's": "unknown_grant",
        "no id": "unknown_grant",
    }


def test_applied_credit_that_settles_an_invoice_lets_its_bookings_be_credited() -> None:
    world = with_credit("100")
    world.handle(bill("i1", "06-02"))
    world.decide("c", "06-03", cancelled("b-i1"))
    decision = world.decide("u", "06-05", use_on("i1"))
    assert (decision.outcome, decision.reason) == ("issued", "booking_cancelled")
    assert world.grant("u").effective_at == at("06-05")
    assert world.available() == 100


def test_money_that_comes_after_credit_is_left_over() -> None:
    world = with_credit("100")
    world.handle(bill("i1", "06-02"))
    world.decide("u", "06-03", use_on("i1"))
    world.decide("p", "06-04", payment("p1", "100", "i1"))
    assert (world.due("i1"), world.available()) == (0, 100)
