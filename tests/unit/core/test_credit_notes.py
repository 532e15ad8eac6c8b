"""Negative totals: an invoice that its credit lines take below zero becomes a credit note."""

from avoir.core.model.events import CreditIssued, CreditNoteIssued, CreditShortfall, CreditVoided
from avoir.core.model.policy import Policy
from tests.unit.core.commands import drawn, granted, undo, use_on
from tests.unit.core.test_use import bill
from tests.unit.core.world import World, at, cancelled, invoice, line, rows, voided


def noted(**policy: object) -> World:
    """A line item of 100.00 on an invoice of 30.00."""
    world = World(policy=Policy(credit_as="line_item", **policy), now=at("06-05"))  # type: ignore[arg-type]
    world.handle(bill("i1", "06-01", paid="100.00"))
    world.decide("c", "06-02", cancelled("b-i1"))
    credit = line("credit", "-100", credit=world.grant_id("c"))
    world.decide("f", "06-03", invoice("i2", line("l1", "30", kind="other"), credit))
    return world


def test_nothing_is_due_and_the_rest_is_available_credit_with_a_number() -> None:
    world = noted()
    (note,) = world.bodies(CreditNoteIssued)
    assert (note.credit_note, note.invoice_id, note.amount) == ("N-i2-CN1", "i2", 70_000_000)
    issued = world.bodies(CreditIssued)[-1]
    assert (issued.source, issued.amount, issued.line_item) == ("negative_invoice", 70_000_000, None)
    assert issued.effective_at == at("06-03")
    assert (world.due("i2"), world.balance()) == (0, (70, 0))
    assert world.decide("u", "06-04", use_on("i2")).reason == "invoice_settled"


def test_it_pays_later_invoices_by_itself() -> None:
    world = noted()
    world.handle(bill("i3", "06-04"))
    assert (world.due("i3"), world.available()) == (30, 0)


def test_it_expires_with_the_first_of_the_credit_lines_that_it_used() -> None:
    world = World(policy=Policy(auto_apply=False), now=at("06-05"))
    for name, expires in {"a": "08-01", "b": "07-01", "c": None, "unused": "06-10"}.items():
        world.decide(name, "06-01", granted("20", expires=expires))
    lines = [line(each, "-20", credit=world.grant_id(each)) for each in "abc"]
    world.decide("f", "06-03", invoice("i2", line("l1", "10", kind="other"), *lines))
    issued = world.bodies(CreditIssued)[-1]
    assert (issued.amount, issued.expires_at) == (50_000_000, at("07-01"))


def test_without_credit_lines_it_does_not_expire() -> None:
    world = World(policy=Policy(expires_after_days=5), now=at("06-05"))
    world.decide("f", "06-03", invoice("i2", line("l1", "-10", kind="other")))
    assert world.bodies(CreditIssued)[-1].expires_at is None


def test_voiding_it_undoes_all_of_it_exactly() -> None:
    world = noted()
    world.decide("v", "06-04", voided("i2"))
    assert (world.balance(), world.shortfall()) == ((0, 100), 0)
    assert world.bodies(CreditVoided)[-1].reason == "invoice_voided"


def test_what_was_spent_of_it_before_it_was_voided_is_short() -> None:
    world = noted()
    world.decide("d", "06-03", drawn("20"))
    world.decide("v", "06-04", voided("i2"))
    (short,) = world.bodies(CreditShortfall)
    assert (short.amount, short.reason) == (20_000_000, "invoice_voided")
    assert world.balance() == (0, 100)


def test_undoing_the_use_of_its_credit_line_leaves_an_invoice_that_is_due() -> None:
    world = noted()
    world.decide("x", "06-04", undo(world.application_id("c")))
    assert (world.due("i2"), world.balance()) == (30, (0, 100))


def test_undoing_one_of_two_credit_lines_lowers_the_note_by_as_much() -> None:
    world = World(policy=Policy(auto_apply=False))
    for name in "ab":
        world.decide(name, "06-01", granted("20"))
    lines = [line(each, "-20", credit=world.grant_id(each)) for each in "ab"]
    world.decide("f", "06-03", invoice("i2", line("l1", "10", kind="other"), *lines))
    assert world.balance() == (30, 0)
    first, _ = rows(world.state.applications)
    world.decide("x", "06-04", undo(first.key.id))
    assert (world.due("i2"), world.balance()) == (0, (30, 0))
    assert world.grant("f").available == 10_000_000
