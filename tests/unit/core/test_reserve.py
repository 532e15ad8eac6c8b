"""`apply-credit` for an invoice that is not finalized yet: credit set aside, used, released."""

import pytest

from avoir.core.model.events import CreditApplied, CreditReinstated, CreditReserved
from avoir.core.model.facts import Owner
from tests.unit.core.at_rest import assert_at_rest
from tests.unit.core.commands import drawn, granted, pay_out, take_away, use_on
from tests.unit.core.test_apply import U2, with_credit
from tests.unit.core.test_use import bill
from tests.unit.core.world import World, at, invoice, line, payment, reversal, rows, voided

TEAM = Owner("team", "u1")


def test_credit_for_an_invoice_to_come_is_set_aside_and_not_available_elsewhere() -> None:
    world = with_credit("50", "30", auto_apply=True)
    decision = world.decide("r", "06-02", use_on("i9", "60"))
    assert (decision.outcome, decision.reason) == ("recorded", "reserved")
    assert world.balance() == (20, 60)
    reserved = world.bodies(CreditReserved)
    assert [each.invoice_id for each in reserved] == ["i9", "i9"]
    assert sum(each.amount for each in reserved) == 60_000_000
    assert len({each.application_id for each in reserved}) == 1
    world.handle(bill("i1", "06-03"))
    assert world.due("i1") == 80
    assert world.decide("d", "06-03", drawn("1")).reason == "insufficient_credit"
    assert world.decide("p", "06-03", pay_out("1")).reason == "insufficient_credit"


@pytest.mark.parametrize("automatic", [True, False])
def test_it_is_used_first_when_the_invoice_comes_whatever_its_finalization(automatic: bool) -> None:
    world = with_credit("50")
    world.decide("r", "06-02", use_on("i9"))
    decision = world.handle(bill("i9", "06-03", automatic=automatic))
    assert (decision.outcome, decision.reason) == ("applied", "reservation")
    assert (world.due("i9"), world.balance()) == (50, (0, 0))
    (applied,) = world.bodies(CreditApplied)
    assert str(applied.application_id) == world.application_id("r")


def test_reserved_credit_is_used_before_what_is_available() -> None:
    world = with_credit(auto_apply=True)
    world.decide("early", "06-01", granted("50", priority=0))
    world.decide("late", "06-01", granted("100", priority=90))
    world.decide("r", "06-02", use_on("i9", "70", grant=world.grant_id("late")))
    world.handle(bill("i9", "06-03"))
    assert [each.by for each in world.bodies(CreditApplied)] == ["reservation", "auto"]
    assert (world.grant("early").available, world.grant("late").available) == (20_000_000, 30_000_000)


def test_what_is_reserved_first_is_used_first_and_what_is_not_needed_is_released() -> None:
    world = with_credit("80", "80")
    world.decide("r1", "06-02", use_on("i9", "60"))
    world.decide("r2", "06-02", use_on("i9", "60"))
    world.handle(bill("i9", "06-03"))
    first, second = world.bodies(CreditApplied)
    assert (str(first.application_id), first.amount) == (world.application_id("r1"), 60_000_000)
    assert (str(second.application_id), second.amount) == (world.application_id("r2"), 40_000_000)
    (released,) = world.bodies(CreditReinstated)
    assert (released.undone, released.reason, released.amount) == ("reservation", "not_needed", 20_000_000)
    assert (world.due("i9"), world.balance()) == (0, (60, 0))


def test_payments_on_the_invoice_come_before_what_is_reserved() -> None:
    world = with_credit("80")
    world.decide("r", "06-02", use_on("i9"))
    world.handle(bill("i9", "06-03", paid="70.00"))
    assert (world.due("i9"), world.applied("i9"), world.available()) == (0, 30, 50)


@pytest.mark.parametrize("who", [U2, TEAM, Owner("customer", "a")])
def test_another_owners_invoice_releases_it_and_open_invoices_take_what_comes_free(who: Owner) -> None:
    world = with_credit("80", auto_apply=True)
    world.decide("r", "06-02", use_on("i9"))
    world.handle(bill("i1", "06-03"))
    world.handle(bill("i9", "06-04", owner=who))
    assert (world.due("i9"), world.due("i1"), world.balance()) == (100, 20, (0, 0))
    assert [each.reason for each in world.bodies(CreditReinstated)] == ["not_needed"]
    assert_at_rest(world)


def test_an_invoice_in_another_currency_releases_it() -> None:
    world = with_credit("80")
    world.decide("r", "06-02", use_on("i9"))
    world.handle(bill("i9", "06-03", currency="USD"))
    assert world.balance() == (80, 0)


def test_voiding_the_invoice_before_it_comes_releases_it() -> None:
    world = with_credit("80")
    world.decide("r", "06-02", use_on("i9"))
    assert world.decide("v", "06-03", voided("i9")).outcome == "waiting"
    assert world.balance() == (80, 0)
    (released,) = world.bodies(CreditReinstated)
    assert released.reason == "invoice_voided"
    world.handle(bill("i9", "06-03"))
    assert world.balance() == (80, 0)


def test_voiding_the_invoice_gives_back_what_was_reserved_and_used() -> None:
    world = with_credit("80")
    world.decide("r", "06-02", use_on("i9"))
    world.handle(bill("i9", "06-03"))
    world.decide("v", "06-04", voided("i9"))
    assert world.balance() == (80, 0)


def test_reserved_credit_expires_and_is_voided_like_any_other() -> None:
    world = World(now=at("06-02"))
    world.decide("g", "06-01", granted("80", expires="06-10"))
    world.decide("h", "06-01", granted("10"))
    world.decide("r", "06-02", use_on("i9"))
    assert world.balance() == (0, 90)
    world.decide("v", "06-03", take_away(world.grant_id("h")))
    assert world.balance() == (0, 80)
    world.now = at("06-10")
    world.sweep()
    assert world.balance() == (0, 0)
    world.handle(bill("i9", "06-03"))
    assert (world.due("i9"), world.applied("i9")) == (100, 0)


def test_credit_that_counts_only_after_the_finalization_is_used_all_the_same_where_it_was_reserved() -> None:
    """The invoice was finalized before the grant and comes after the command: it was chosen by hand."""
    world = with_credit()
    world.decide("g", "06-10", granted("80"))
    world.decide("r", "06-11", use_on("i9"))
    world.handle(bill("i9", "06-05", automatic=False))
    assert (world.due("i9"), world.balance()) == (20, (0, 0))
    (applied,) = rows(world.state.applications)
    assert applied.applied_at == at("06-10")


def test_what_a_credit_line_leaves_of_a_reservation_is_used_under_an_id_of_its_own() -> None:
    world = with_credit("100")
    world.decide("r", "06-01", use_on("i1", "80"))
    credit = line("c", "-50", credit=world.grant_id("g0"))
    world.decide("f", "06-02", invoice("i1", line("l1", "100", kind="other"), credit))
    applied = world.bodies(CreditApplied)
    assert [(each.by, each.amount // 1_000_000) for each in applied] == [
        ("line_item", 20),
        ("line_item", 30),
        ("reservation", 50),
    ]
    assert len({each.application_id for each in applied}) == 3
    assert (world.due("i1"), world.balance()) == (0, (0, 0))


def test_what_taking_back_left_of_a_reservation_is_used_in_whole_cents() -> None:
    world = World()
    world.decide("pay", "06-01", payment("pay1", "30"))
    world.decide("d", "06-02", drawn("0.000001"))
    world.decide("u", "06-02", use_on("i9", "20"))
    world.decide("r", "06-03", reversal("r1", "pay1", "10"))
    assert world.balance() == (0, 19.999999)
    world.decide("f", "06-04", invoice("i9", line("l1", "100", kind="other"), automatic=False))
    assert (world.due("i9"), world.balance()) == (80.01, (0.009999, 0))


def test_what_a_reservation_does_not_need_settles_the_invoice_of_its_payment_first() -> None:
    world = World()
    world.decide("p", "06-01", payment("p1", "100", "i1"))
    world.decide("r", "06-02", use_on("i9"))
    world.decide("f1", "06-03", invoice("i1", line("l1", "100")))
    world.decide("f9", "06-04", invoice("i9", line("l1", "50"), paid="50"))
    assert (world.due("i1"), world.applied("i1")) == (0, 0)
    world.decide("v", "06-05", reversal("r1", "p1", "100"))
    assert (world.due("i1"), world.shortfall()) == (100, 0)


def test_an_older_invoice_that_the_payment_does_not_name_takes_nothing_of_what_is_released() -> None:
    world = World()
    world.decide("p", "06-01", payment("p1", "100", "i1"))
    world.decide("r", "06-02", use_on("i9"))
    for invoice_id, when, paid in (("i0", "06-03", "0"), ("i1", "06-04", "0"), ("i9", "06-05", "100")):
        world.decide(invoice_id, when, invoice(invoice_id, line("l1", "100"), paid=paid))
    assert (world.due("i0"), world.due("i1"), world.due("i9")) == (100, 0, 0)
