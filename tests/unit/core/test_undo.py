"""`reinstate-credit` and rejections: exact undos of applications, and releases of what is reserved."""

from collections.abc import Callable

import pytest

from avoir.core.model.commands import Command
from avoir.core.model.events import CreditApplied, CreditExpired, CreditReinstated
from avoir.core.model.facts import Fact
from avoir.core.model.policy import Policy
from tests.unit.core.commands import granted, undo, use_on
from tests.unit.core.test_use import bill
from tests.unit.core.world import World, at, cancelled, invoice, line, payment, rejected, voided

Undo = Callable[[str], Fact | Command]
BOTH = pytest.mark.parametrize("undone_by", [undo, rejected])


def applied(how: str = "auto") -> World:
    """80.00 of two grants used on an invoice of 100.00: by itself, by command, or as reserved before."""
    world = World(policy=Policy(auto_apply=how == "auto"))
    world.decide("g0", "06-01", granted("30", priority=0))
    world.decide("g1", "06-01", granted("50"))
    if how == "reservation":
        world.decide("u", "06-01", use_on("i1"))
    world.handle(bill("i1", "06-02"))
    if how == "command":
        world.decide("u", "06-03", use_on("i1"))
    assert (world.due("i1"), world.available()) == (20, 0)
    return world


@BOTH
@pytest.mark.parametrize("how", ["auto", "command", "reservation"])
def test_an_application_is_undone_exactly_and_its_amount_is_due_as_before(how: str, undone_by: Undo) -> None:
    world = applied(how)
    (use,) = world.bodies(CreditApplied)
    decision = world.decide("x", "06-04", undone_by(str(use.application_id)))
    (undone,) = world.bodies(CreditReinstated)
    assert decision.outcome == "recorded"
    assert (undone.undone, undone.slices, undone.amount) == ("application", use.slices, use.amount)
    assert undone.amount_due == 100_000_000
    assert (world.due("i1"), world.balance()) == (100, (80, 0))
    assert (world.grant("g0").available, world.grant("g1").available) == (30_000_000, 50_000_000)


@BOTH
def test_the_invoice_takes_no_credit_by_itself_any_more_but_by_hand(undone_by: Undo) -> None:
    world = applied()
    (use,) = world.bodies(CreditApplied)
    world.decide("x", "06-04", undone_by(str(use.application_id)))
    world.decide("late", "06-01", granted("20"))
    assert (world.due("i1"), world.available()) == (100, 100)
    assert world.decide("u", "06-05", use_on("i1")).outcome == "applied"
    assert (world.due("i1"), world.available()) == (0, 0)


def test_another_open_invoice_takes_what_comes_back() -> None:
    world = World()
    world.decide("g", "06-01", granted("80"))
    world.handle(bill("i1", "06-02"))
    world.handle(bill("i2", "06-03"))
    decision = world.decide("x", "06-04", undo(world.application_id("f-i1")))
    assert (decision.outcome, decision.reason) == ("applied", "auto")
    assert (world.due("i1"), world.due("i2")) == (100, 20)


def test_undone_twice_is_refused_with_the_fact_that_it_was_undone() -> None:
    world = applied()
    name = world.application_id("f-i1")
    world.decide("x", "06-04", undo(name))
    again = world.decide("y", "06-05", undo(name))
    assert (again.outcome, again.reason) == ("declined", "unknown_application")
    assert (again.facts["application_id"], again.facts["undone_already"]) == (name, True)
    assert world.balance() == (80, 0)


def test_a_rejection_of_what_is_undone_already_changes_nothing() -> None:
    world = applied()
    name = world.application_id("f-i1")
    world.decide("x", "06-04", undo(name))
    assert world.decide("y", "06-05", rejected(name)).outcome == "recorded"
    assert world.balance() == (80, 0)


@pytest.mark.parametrize("name", ["00000000-0000-0000-0000-000000000001", "an id of theirs"])
def test_what_nobody_applied_cannot_be_undone(name: str) -> None:
    world = applied()
    decision = world.decide("x", "06-04", undo(name))
    assert (decision.outcome, decision.reason) == ("declined", "unknown_application")
    assert (decision.facts["application_id"], decision.facts["undone_already"]) == (name, False)


@BOTH
def test_a_reservation_is_released_and_its_invoice_may_take_credit_as_any_other(undone_by: Undo) -> None:
    world = World()
    world.decide("g", "06-01", granted("80"))
    world.decide("r", "06-01", use_on("i1", "50"))
    decision = world.decide("x", "06-02", undone_by(world.application_id("r")))
    assert (decision.outcome, decision.reason) == ("recorded", "released")
    assert (decision.facts["amount"], world.balance()) == ("50.00", (80, 0))
    (released,) = world.bodies(CreditReinstated)
    assert (released.undone, released.invoice_id, released.amount_due) == ("reservation", "i1", None)
    world.handle(bill("i1", "06-03"))
    assert world.due("i1") == 20


def test_a_released_reservation_cannot_be_released_again() -> None:
    world = World()
    world.decide("g", "06-01", granted("80"))
    world.decide("r", "06-01", use_on("i1", "50"))
    world.decide("x", "06-02", undo(world.application_id("r")))
    again = world.decide("y", "06-02", undo(world.application_id("r")))
    assert (again.reason, again.facts["undone_already"]) == ("unknown_application", True)


def test_a_released_reservation_goes_to_an_open_invoice() -> None:
    world = World()
    world.decide("g", "06-01", granted("80"))
    world.decide("r", "06-01", use_on("i9"))
    world.handle(bill("i1", "06-02"))
    assert world.decide("x", "06-03", undo(world.application_id("r"))).outcome == "applied"
    assert world.due("i1") == 20


@BOTH
def test_where_a_part_is_applied_and_a_part_still_reserved_what_is_applied_is_undone(undone_by: Undo) -> None:
    world = World(policy=Policy(credit_as="line_item"))
    world.handle(bill("i1", "06-01", paid="100.00"))
    world.decide("c", "06-02", cancelled("b-i1"))
    credit = line("credit", "-60", credit=world.grant_id("c"))
    world.decide("f", "06-03", invoice("i2", line("l1", "70"), credit))
    assert (world.due("i2"), world.balance()) == (10, (0, 40))
    world.decide("x", "06-04", undone_by(world.application_id("c")))
    assert (world.due("i2"), world.balance()) == (70, (0, 100))


def test_what_was_applied_of_a_grant_that_expired_since_expires_when_it_comes_back() -> None:
    world = World(now=at("06-03"))
    world.decide("g", "06-01", granted("80", expires="06-10"))
    world.handle(bill("i1", "06-02"))
    world.now = at("06-12")
    world.decide("x", "06-04", undo(world.application_id("f-i1")))
    assert (world.due("i1"), world.balance()) == (100, (0, 0))
    assert [each.amount for each in world.bodies(CreditExpired)] == [80_000_000]


def test_what_came_back_after_its_date_is_not_taken_by_other_invoices() -> None:
    world = World(now=at("06-03"))
    world.decide("g", "06-01", granted("80", expires="06-10"))
    world.handle(bill("i1", "06-02"))
    world.handle(bill("i2", "06-03"))
    world.now = at("06-12")
    world.decide("x", "06-04", undo(world.application_id("f-i1")))
    assert (world.due("i2"), world.balance()) == (100, (0, 0))


def test_credit_that_an_undone_application_had_made_due_is_taken_back() -> None:
    world = World()
    world.decide("g", "06-01", granted("100"))
    world.handle(bill("i1", "06-02"))
    world.decide("c", "06-03", cancelled("b-i1"))
    assert world.available() == 100
    world.decide("x", "06-04", undo(world.application_id("f-i1")))
    assert (world.due("i1"), world.credited("i1"), world.available()) == (100, 0, 100)


def test_an_application_on_a_void_invoice_was_undone_by_the_void() -> None:
    world = applied()
    world.decide("v", "06-04", voided("i1"))
    assert world.decide("x", "06-05", undo(world.application_id("f-i1"))).reason == "unknown_application"
    assert world.balance() == (80, 0)


def test_money_settles_what_is_due_again() -> None:
    world = applied()
    world.decide("x", "06-04", undo(world.application_id("f-i1")))
    world.decide("p", "06-05", payment("p1", "100", "i1"))
    assert (world.due("i1"), world.balance()) == (0, (80, 0))
