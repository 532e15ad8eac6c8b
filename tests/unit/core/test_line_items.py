"""Line-item mode: credit of bookings and plans set aside for the owner's next invoice, on which it is a line."""

import pytest

from avoir.core.model.events import CreditApplied, CreditReinstated, CreditReserved, CreditShortfall
from avoir.core.model.facts import InvoiceLine, Owner
from avoir.core.model.policy import Policy
from tests.unit.core.at_rest import assert_at_rest
from tests.unit.core.commands import drawn, granted, pay_out, take_away, undo, use_on
from tests.unit.core.test_use import bill
from tests.unit.core.world import (
    World,
    at,
    cancelled,
    invoice,
    kinds,
    line,
    payment,
    rejected,
    reversal,
    voided,
)

U2 = Owner("user", "u2")
NOBODYS = "00000000-0000-0000-0000-000000000001"


def with_line_item(amount: str = "100.00", **policy: object) -> World:
    """A booking of i1 was paid and cancelled: its credit is a line item."""
    world = World(policy=Policy(credit_as="line_item", **policy))  # type: ignore[arg-type]
    world.handle(bill("i1", "06-01", amount, paid=amount))
    world.decide("c", "06-02", cancelled("b-i1"))
    return world


def the_line(world: World, amount: str = "-100", line_id: str = "credit") -> InvoiceLine:
    return line(line_id, amount, credit=world.grant_id("c"))


def next_invoice(world: World, *lines: InvoiceLine, **how: object) -> None:
    made = invoice("i2", line("l1", "150", kind="other"), *lines, **how)  # type: ignore[arg-type]
    world.decide("f-i2", "06-03", made)


def undo_use(world: World, how: str, invoice_id: str, application_id: str) -> None:
    if how == "voided":
        world.decide("x", "06-05", voided(invoice_id))
    else:
        world.decide("x", "06-05", undo(application_id) if how == "reinstated" else rejected(application_id))


def test_credit_of_a_booking_is_reserved_for_the_next_invoice_and_in_no_balance_that_can_be_spent() -> None:
    world = with_line_item()
    (reserved,) = world.bodies(CreditReserved)
    assert (reserved.amount, reserved.invoice_id) == (100_000_000, None)
    assert world.balance() == (0, 100)
    assert world.decide("d", "06-03", drawn("1")).reason == "insufficient_credit"
    assert world.decide("p", "06-03", pay_out("1")).reason == "insufficient_credit"
    next_invoice(world)
    assert (world.due("i2"), world.balance()) == (150, (0, 100))


def test_the_decision_on_the_change_names_the_policy() -> None:
    assert with_line_item().decisions[-1].policy["credit_as"] == "line_item"


def test_overpayment_and_grants_are_no_line_items() -> None:
    world = World(policy=Policy(credit_as="line_item"))
    world.decide("p", "06-01", payment("p1", "30"))
    world.decide("g", "06-01", granted("20"))
    assert world.balance() == (50, 0)


def test_a_line_on_an_invoice_is_consumed_with_what_it_says() -> None:
    world = with_line_item()
    next_invoice(world, the_line(world))
    applied = world.bodies(CreditApplied)[-1]
    assert (applied.by, applied.amount, applied.amount_due) == ("line_item", 100_000_000, 50_000_000)
    assert str(applied.application_id) == world.application_id("c")
    assert (world.decisions[-1].outcome, world.decisions[-1].reason) == ("applied", "line_item")
    assert (world.due("i2"), world.balance()) == (50, (0, 0))


def test_a_smaller_line_leaves_the_rest_reserved_for_the_invoice_after() -> None:
    world = with_line_item()
    next_invoice(world, the_line(world, "-60"))
    assert (world.due("i2"), world.balance()) == (90, (0, 40))
    world.decide("f3", "06-04", invoice("i3", line("l1", "50", kind="other"), the_line(world, "-40")))
    assert (world.due("i3"), world.balance()) == (10, (0, 0))
    assert len({each.application_id for each in world.bodies(CreditApplied)}) == 2


def test_a_larger_line_is_short_of_what_the_grant_does_not_hold() -> None:
    world = with_line_item()
    next_invoice(world, the_line(world, "-120"))
    (short,) = world.bodies(CreditShortfall)
    assert (short.amount, short.outstanding, short.reason) == (20_000_000, 20_000_000, "credit_line")
    assert (short.short_of.invoice_id, short.short_of.line_id) == ("i2", "credit")
    assert (world.due("i2"), world.balance(), world.shortfall()) == (30, (0, 0), 20)


def test_the_same_line_on_two_invoices_is_consumed_once_and_short_the_second_time() -> None:
    world = with_line_item()
    next_invoice(world, the_line(world))
    world.decide("f3", "06-04", invoice("i3", line("l1", "150", kind="other"), the_line(world)))
    assert world.shortfall() == 100
    assert [each.amount for each in world.bodies(CreditApplied)] == [100_000_000]


def test_two_lines_of_one_grant_on_one_invoice_use_it_one_after_the_other() -> None:
    world = with_line_item()
    next_invoice(world, the_line(world, "-60", "c1"), the_line(world, "-60", "c2"))
    assert [each.amount // 1_000_000 for each in world.bodies(CreditApplied)] == [60, 40]
    assert (world.shortfall(), world.balance()) == (20, (0, 0))


@pytest.mark.parametrize("credit", [NOBODYS, "no id of ours", None])
def test_a_line_of_unknown_credit_lowers_the_total_touches_no_grant_and_is_no_discount(
    credit: str | None,
) -> None:
    world = with_line_item()
    unknown = line("credit", "-100", kind="credit", credit=credit)
    world.decide("f", "06-03", invoice("i2", line("l1", "150", booking="b2"), unknown, paid="50"))
    assert (world.due("i2"), world.balance()) == (0, (0, 100))
    assert world.decisions[-1].facts["lines_of_unknown_credit"] == ["credit"]
    world.decide("c2", "06-04", cancelled("b2"))
    assert world.credited("i2") == 150


@pytest.mark.parametrize("how", [{"owner": U2}, {"currency": "USD"}])
def test_a_line_on_another_owners_invoice_or_in_another_currency_is_unknown(how: dict) -> None:
    world = with_line_item()
    next_invoice(world, the_line(world), **how)
    assert (world.due("i2"), world.balance()) == (50, (0, 100))
    assert world.decisions[-1].facts["lines_of_unknown_credit"] == ["credit"]


def test_a_line_may_name_any_grant_of_the_owner_and_uses_what_is_available() -> None:
    world = World()
    world.decide("c", "06-01", granted("80"))
    next_invoice(world, the_line(world, "-60"), automatic=False)
    assert (world.due("i2"), world.balance()) == (90, (20, 0))
    assert kinds(world.bodies())[-2:] == ["CreditReserved", "CreditApplied"]


def test_apply_credit_moves_the_line_to_an_invoice_that_is_due_and_the_rest_stays_reserved() -> None:
    world = with_line_item()
    world.decide("f", "06-01", invoice("i0", line("l1", "70", kind="other"), automatic=False))
    decision = world.decide("u", "06-03", use_on("i0", grant=world.grant_id("c")))
    assert (decision.outcome, decision.reason) == ("applied", "command")
    assert (world.due("i0"), world.balance()) == (0, (0, 30))
    (moved,) = world.bodies(CreditReinstated)
    assert (moved.undone, moved.reason, moved.amount) == ("reservation", "moved", 70_000_000)
    next_invoice(world, the_line(world, "-30"))
    assert (world.due("i2"), world.shortfall()) == (120, 0)


def test_apply_credit_moves_a_part_of_the_line_to_an_invoice_to_come() -> None:
    world = with_line_item()
    decision = world.decide("u", "06-03", use_on("i9", "60", grant=world.grant_id("c")))
    assert (decision.reason, world.balance()) == ("reserved", (0, 100))
    world.decide("f9", "06-04", invoice("i9", line("l1", "100", kind="other"), automatic=False))
    assert (world.due("i9"), world.balance()) == (40, (0, 40))


def test_apply_credit_moves_no_more_than_the_line_holds_and_without_its_name_nothing() -> None:
    world = with_line_item()
    world.decide("f", "06-01", invoice("i0", line("l1", "170", kind="other"), automatic=False))
    more = world.decide("u1", "06-03", use_on("i0", "101", grant=world.grant_id("c")))
    unnamed = world.decide("u2", "06-03", use_on("i0"))
    assert (more.reason, more.facts["available"]) == ("insufficient_credit", "100.00")
    assert (unnamed.reason, unnamed.facts["available"]) == ("insufficient_credit", "0.00")


@pytest.mark.parametrize("how", ["voided", "rejected", "reinstated"])
def test_a_moved_line_is_set_aside_again_when_its_use_is_undone(how: str) -> None:
    world = with_line_item()
    next_invoice(world)
    world.decide("u", "06-04", use_on("i2", "70", grant=world.grant_id("c")))
    assert (world.due("i2"), world.balance()) == (80, (0, 30))
    undo_use(world, how, "i2", world.application_id("u"))
    assert world.balance() == (0, 100)
    assert_at_rest(world)


def reserved_for_i9(amount: str | None = None) -> World:
    """A line item of 100.00, of which so much, or all, was moved to invoice i9, which is to come."""
    world = with_line_item()
    world.decide("u", "06-03", use_on("i9", amount, grant=world.grant_id("c")))
    assert world.balance() == (0, 100)
    return world


def comes(world: World, charge: str) -> None:
    world.decide("f9", "06-04", invoice("i9", line("l1", charge, kind="other"), automatic=False))


@pytest.mark.parametrize("how", ["voided", "rejected", "reinstated"])
def test_a_line_moved_to_an_invoice_to_come_is_set_aside_again_when_its_use_is_undone(how: str) -> None:
    world = reserved_for_i9("60")
    comes(world, "100")
    assert (world.due("i9"), world.balance()) == (40, (0, 40))
    undo_use(world, how, "i9", world.application_id("f9"))
    next_invoice(world)
    assert (world.due("i2"), world.balance()) == (150, (0, 100))
    assert_at_rest(world)


@pytest.mark.parametrize("how", ["voided", "reinstated"])
def test_a_line_moved_to_an_invoice_that_never_comes_is_set_aside_again(how: str) -> None:
    world = reserved_for_i9("60")
    application = world.bodies(CreditReserved)[-1].application_id
    undo_use(world, how, "i9", application)
    assert kinds(world.bodies())[-2:] == ["CreditReinstated", "CreditReserved"]
    next_invoice(world, the_line(world))
    assert (world.due("i2"), world.balance(), world.shortfall()) == (50, (0, 0), 0)


@pytest.mark.parametrize(("charge", "left"), [("40", 60), ("0", 100)])
def test_what_of_a_moved_line_is_not_needed_is_set_aside_again(charge: str, left: int) -> None:
    world = reserved_for_i9()
    comes(world, charge)
    assert (world.due("i9"), world.balance()) == (0, (0, left))
    next_invoice(world)
    assert (world.due("i2"), world.balance()) == (150, (0, left))


def test_of_what_is_reserved_the_moved_line_is_used_first_and_only_it_is_set_aside_again() -> None:
    world = with_line_item()
    line_item = world.bodies(CreditReserved)[0].application_id
    world.decide("m", "06-03", use_on("i9", "40", grant=world.grant_id("c")))
    world.decide("a", "06-03", undo(line_item))
    moved = world.bodies(CreditReserved)[-1].application_id
    world.decide("b", "06-03", undo(moved))
    assert world.balance() == (60, 40)
    world.decide("u", "06-03", use_on("i9", grant=world.grant_id("c")))
    comes(world, "70")
    assert (world.due("i9"), world.balance()) == (0, (30, 0))
    world.decide("v", "06-05", voided("i9"))
    assert world.balance() == (60, 40)


def test_a_moved_line_that_has_expired_is_not_set_aside_again() -> None:
    world = World(policy=Policy(credit_as="line_item", expires_after_days=10), now=at("06-03"))
    world.handle(bill("i1", "06-01", "100", paid="100"))
    world.decide("c", "06-02", cancelled("b-i1"))
    world.decide("u", "06-03", use_on("i9", grant=world.grant_id("c")))
    comes(world, "100")
    world.now = at("06-20")
    world.decide("v", "06-05", voided("i9"))
    assert world.balance() == (0, 0)
    assert kinds(world.bodies())[-2:] == ["CreditReinstated", "CreditExpired"]


def test_a_moved_line_that_is_on_an_invoice_all_the_same_is_short() -> None:
    world = with_line_item()
    world.decide("f", "06-01", invoice("i0", line("l1", "100", kind="other"), automatic=False))
    world.decide("u", "06-03", use_on("i0", grant=world.grant_id("c")))
    next_invoice(world, the_line(world))
    assert world.shortfall() == 100


def test_voiding_the_invoice_reserves_the_line_again() -> None:
    world = with_line_item()
    next_invoice(world, the_line(world))
    world.decide("v", "06-04", voided("i2"))
    assert world.balance() == (0, 100)
    assert kinds(world.bodies())[-2:] == ["CreditReinstated", "CreditReserved"]
    world.decide("f3", "06-05", invoice("i3", line("l1", "150", kind="other"), the_line(world)))
    assert (world.due("i3"), world.balance(), world.shortfall()) == (50, (0, 0), 0)


def test_voiding_the_invoice_forgets_what_its_line_was_short() -> None:
    world = with_line_item()
    next_invoice(world, the_line(world, "-120"))
    world.decide("v", "06-04", voided("i2"))
    assert (world.shortfall(), world.balance()) == (0, (0, 100))


def test_voiding_the_invoice_after_the_credit_expired_lets_it_expire() -> None:
    world = with_line_item(expires_after_days=10)
    assert world.balance() == (0, 0)
    world = World(policy=Policy(credit_as="line_item", expires_after_days=10), now=at("06-03"))
    world.handle(bill("i1", "06-01", paid="100.00"))
    world.decide("c", "06-02", cancelled("b-i1"))
    next_invoice(world, the_line(world))
    world.now = at("06-20")
    world.decide("v", "06-04", voided("i2"))
    assert world.balance() == (0, 0)
    assert kinds(world.bodies())[-2:] == ["CreditReinstated", "CreditExpired"]


@pytest.mark.parametrize("undone_by", [undo, rejected])
def test_undoing_a_lines_use_makes_the_amount_due_again_and_reserves_the_line(undone_by) -> None:  # type: ignore[no-untyped-def]
    world = with_line_item()
    next_invoice(world, the_line(world))
    world.decide("x", "06-04", undone_by(world.application_id("c")))
    assert (world.due("i2"), world.balance()) == (150, (0, 100))
    world.decide("p", "06-05", payment("p1", "150", "i2"))
    assert (world.due("i2"), world.available()) == (0, 0)


def test_credit_that_comes_back_to_a_grant_makes_up_for_a_line_that_was_short() -> None:
    world = with_line_item()
    world.decide("f", "06-01", invoice("i0", line("l1", "70", kind="other"), automatic=False))
    world.decide("u", "06-03", use_on("i0", grant=world.grant_id("c")))
    next_invoice(world, the_line(world))
    assert world.shortfall() == 70
    world.decide("x", "06-05", undo(world.application_id("u")))
    assert (world.due("i0"), world.shortfall(), world.balance()) == (70, 0, (0, 0))
    assert world.bodies(CreditShortfall)[-1].amount == -70_000_000
    assert_at_rest(world)


def test_the_line_of_a_booking_that_is_taken_back_is_reserved_no_more() -> None:
    world = World(policy=Policy(credit_as="line_item"))
    world.handle(bill("i1", "06-01"))
    world.decide("p", "06-01", payment("p1", "100", "i1"))
    world.decide("c", "06-02", cancelled("b-i1"))
    assert world.balance() == (0, 100)
    world.decide("r", "06-03", reversal("r1", "p1", "100"))
    assert world.balance() == (0, 0)


def test_a_line_that_was_short_is_made_up_for_although_other_credit_was_rejected() -> None:
    """The line is on the invoice already, so its credit must not be there a second time."""
    world = World()
    world.decide("g1", "06-01", granted("50"))
    world.handle(bill("i1", "06-02", "50"))
    short = line("credit", "-50", credit=world.grant_id("g1"))
    world.decide("f", "06-03", invoice("i2", line("l1", "150"), short))
    world.decide("g2", "06-01", granted("10"))
    world.decide("no", "06-04", rejected(world.application_id("g2")))
    world.decide("v", "06-05", voided("i1"))
    assert (world.available(), world.due("i2")) == (10, 100)
    assert sum(body.amount for body in world.bodies() if isinstance(body, CreditShortfall)) == 0
    assert_at_rest(world)


def test_a_voided_line_item_is_short_where_it_is_on_an_invoice() -> None:
    world = with_line_item()
    world.decide("v", "06-03", take_away(world.grant_id("c")))
    next_invoice(world, the_line(world))
    assert (world.shortfall(), world.balance()) == (100, (0, 0))
