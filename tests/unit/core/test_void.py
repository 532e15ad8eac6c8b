"""Voiding an invoice is the exact inverse of what it did; prepaid lines and negative totals follow their invoice."""

import itertools

import pytest

from avoir.core.model.events import CreditIssued, CreditNoteIssued, CreditReinstated, CreditShortfall
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
    rejected,
    reversal,
    rows,
    shortened,
    voided,
)


def bill(invoice_id: str, when: str, amount: str, **how: object):  # type: ignore[no-untyped-def]
    made = invoice(invoice_id, line("l1", amount, booking=f"b-{invoice_id}"), **how)  # type: ignore[arg-type]
    return message(f"f-{invoice_id}", when, made)


def test_a_void_reinstates_what_was_applied() -> None:
    world = given(
        message("p", "06-01", payment("p1", "70.00")),
        bill("i1", "06-02", "100.00"),
        message("v", "06-03", voided("i1")),
    )
    assert (world.available(), world.due("i1"), world.applied("i1")) == (70, 0, 0)
    (undone,) = world.bodies(CreditReinstated)
    assert (undone.undone, undone.reason, undone.amount, undone.amount_due) == (
        "application",
        "invoice_voided",
        70_000_000,
        0,
    )


@pytest.mark.parametrize("paid", ["0", "40.00", "100.00"])
def test_a_void_turns_payments_and_amount_paid_into_overpayment(paid: str) -> None:
    delivered = [
        bill("i1", "06-01", "100.00", paid=paid),
        message("p", "06-02", payment("p1", "100.00", "i1")),
        message("v", "06-03", voided("i1")),
    ]
    for order in itertools.permutations(delivered):
        world = given(*order)
        assert world.available() == 100 + float(paid)
        assert world.due("i1") == 0


def test_a_void_takes_back_the_credit_of_its_lines() -> None:
    world = given(
        bill("i1", "06-01", "100.00", paid="100.00"),
        message("c", "06-02", cancelled("b-i1")),
        message("v", "06-03", voided("i1")),
    )
    assert world.credited("i1") == 0
    assert world.available() == 100, "the payment, once"
    assert world.decisions[-1].outcome == "issued"


def test_credit_spent_of_a_voided_invoice_is_kept_from_its_payments() -> None:
    world = given(
        bill("i1", "06-01", "100.00", paid="100.00"),
        message("c", "06-02", cancelled("b-i1")),
        bill("i2", "06-03", "30.00"),
        message("v", "06-04", voided("i1")),
    )
    assert (world.available(), world.due("i2"), world.shortfall()) == (70, 0, 0)
    world.decide("w", "06-05", voided("i2"))
    assert world.available() == 100


def test_what_the_payments_of_a_voided_invoice_cannot_cover_is_a_shortfall() -> None:
    world = given(
        message("p", "06-01", payment("p1", "80.00")),
        bill("i1", "06-02", "100.00", paid="20.00"),
        message("c", "06-03", cancelled("b-i1")),
        bill("i2", "06-04", "100.00"),
        message("v", "06-05", voided("i1")),
    )
    assert (world.available(), world.shortfall()) == (80, 80)
    assert world.bodies(CreditShortfall)[-1].reason == "invoice_voided"


def test_a_reversal_of_a_payment_that_covered_a_shortfall_uncovers_it() -> None:
    world = given(
        bill("i1", "06-01", "100.00"),
        message("p", "06-01", payment("p1", "100.00", "i1")),
        message("c", "06-02", cancelled("b-i1")),
        bill("i2", "06-03", "60.00"),
        message("v", "06-04", voided("i1")),
    )
    assert (world.available(), world.shortfall()) == (40, 0)
    world.decide("r", "06-05", reversal("r1", "p1", "100.00"))
    assert (world.available(), world.shortfall()) == (0, 60)
    assert world.bodies(CreditShortfall)[-1].reason == "payment_reversed"


def test_credit_that_returns_after_its_payment_covered_it_is_not_taken_a_second_time() -> None:
    """Of 100 credit 30 expired and 70 was spent; the void keeps 70 of the payment; then 20 of the 70 come back."""
    world = World(policy=Policy(expires_after_days=10), now=at("06-03"))
    world.decide("f", "06-01", invoice("i1", line("l1", "100.00", booking="b1"), paid="100.00"))
    world.decide("s", "06-02", shortened("b1", prices=("100.00", "70.00")))
    world.now = at("06-13")
    world.decide("c", "06-12", cancelled("b1"))
    world.decide("g", "06-13", invoice("i2", line("l1", "50.00", booking="b2")))
    world.decide("h", "06-14", invoice("i3", line("l1", "20.00", booking="b3")))
    assert (world.credited("i1"), world.available()) == (100, 0)
    world.decide("v", "06-15", voided("i1"))
    covered = world.state.entitlements["t1", "line", "i1", "l1"].covered  # type: ignore[index]
    assert (covered, world.shortfall()) == (70_000_000, 0)
    world.decide("w", "06-16", voided("i3"))
    assert world.available() == 20


def test_a_reinstated_grant_that_expired_meanwhile_expires_again_at_once() -> None:
    world = World(policy=Policy(expires_after_days=10), now=at("06-05"))
    world.handle_all([message("p", "06-01", payment("p1", "50.00")), bill("i1", "06-02", "50.00")])
    world.now = at("06-20")
    world.decide("v", "06-19", voided("i1"))
    assert world.available() == 0
    kinds = [type(body).__name__ for body in world.bodies()]
    assert kinds == ["CreditIssued", "CreditApplied", "CreditReinstated", "CreditExpired"]
    assert world.events[-1].occurred_at == at("06-11") and world.events[-1].caused_by is None


def test_a_void_before_its_invoice_waits_for_it_and_nothing_of_the_invoice_counts() -> None:
    world = given(message("v", "06-03", voided("i1")))
    assert (world.decisions[-1].outcome, world.decisions[-1].reason) == ("waiting", "unknown_invoice")
    lines = [line("l1", "50.00", booking="b1"), line("l2", "50.00", kind="prepaid")]
    world.decide("f", "06-01", invoice("i1", *lines, paid="100.00"))
    assert (world.available(), world.due("i1")) == (100, 0)
    assert rows(world.state.grants)[0].source == "overpayment"


def test_a_rejected_application_makes_the_amount_due_again_and_bars_the_invoice() -> None:
    world = given(message("p", "06-01", payment("p1", "70.00")), bill("i1", "06-02", "100.00"))
    application_id = str(rows(world.state.applications)[0].key.id)
    world.decide("r", "06-03", rejected(application_id))
    assert (world.due("i1"), world.available()) == (100, 70)
    assert world.bodies(CreditReinstated)[0].reason == "invoice already closed"
    world.decide("q", "05-30", payment("p2", "10.00", "elsewhere"))
    assert (world.due("i1"), world.available()) == (100, 80), "no credit is applied by itself any more"
    world.decide("s", "06-04", rejected(application_id))
    assert (world.due("i1"), world.available()) == (100, 80)
    world.decide("t", "06-05", payment("p3", "100.00", "i1"))
    assert world.due("i1") == 0, "money still settles it"


def test_a_rejection_takes_back_the_credit_that_its_invoice_had_given() -> None:
    world = given(
        message("p", "06-01", payment("p1", "100.00")),
        bill("i1", "06-02", "100.00"),
        message("c", "06-03", cancelled("b-i1")),
    )
    assert world.available() == 100
    world.decide("r", "06-04", rejected(str(rows(world.state.applications)[0].key.id)))
    assert (world.available(), world.credited("i1"), world.due("i1")) == (100, 0, 100)


@pytest.mark.parametrize("named", ["00000000-0000-0000-0000-000000000001", "no uuid at all"])
def test_a_rejection_of_an_unknown_application_is_declined(named: str) -> None:
    world = given(message("r", "06-03", rejected(named)))
    assert (world.decisions[0].outcome, world.decisions[0].reason) == ("declined", "unknown_application")
    assert not world.events


def test_a_prepaid_line_gives_what_it_cost_when_its_invoice_is_settled() -> None:
    lines = [
        line("l1", "100.00", tax="21.00", kind="prepaid", expires="12-01"),
        line("d", "-21.00", kind="other"),
    ]
    world = given(message("f", "06-01", invoice("i1", *lines, automatic=False)))
    assert world.available() == 0
    world.decide("p", "06-02", payment("p1", "100.00", "i1"))
    (issued,) = world.bodies(CreditIssued)
    assert (issued.amount, issued.source, issued.effective_at, issued.line_item) == (
        100_000_000,
        "prepaid",
        at("06-02"),
        None,
    )
    assert issued.expires_at == at("12-01")
    world.decide("v", "06-03", voided("i1"))
    assert [grant.source for grant in rows(world.state.grants) if grant.available] == ["overpayment"]


def test_a_negative_total_is_issued_once_and_numbered_as_a_credit_note() -> None:
    bill = invoice("i1", line("l1", "20.00", booking="b1"), line("d", "-50.00", kind="other"))
    world = given(message("f", "06-01", bill))
    (note,) = world.bodies(CreditNoteIssued)
    assert (note.credit_note, note.amount) == ("N-i1-CN1", 30_000_000)
    (issued,) = world.bodies(CreditIssued)
    assert (issued.source, issued.amount, issued.effective_at) == (
        "negative_invoice",
        30_000_000,
        at("06-01"),
    )
    assert (world.due("i1"), world.available()) == (0, 30)
    world.decide("v", "06-02", voided("i1"))
    assert world.available() == 0


def test_a_voided_credit_note_issues_nothing_where_the_void_came_first() -> None:
    bill = invoice("i1", line("d", "-50.00", kind="other"))
    world = given(message("v", "06-02", voided("i1")), message("f", "06-01", bill))
    assert world.available() == 0 and not world.events


def test_the_credit_of_a_negative_total_does_not_expire_by_policy() -> None:
    bill = message("f", "06-01", invoice("i1", line("d", "-50.00", kind="other")))
    world = given(bill, policy=Policy(expires_after_days=5))
    assert world.available() == 50


def test_overpayment_that_comes_back_settles_the_invoice_that_its_payment_names() -> None:
    """The payment came before the invoice it names, and its credit had been used on another, which is void now."""
    world = World()
    world.decide("p1", "06-01", payment("p1", "100", "iA"))
    world.decide("fB", "06-02", invoice("iB", line("l1", "100", kind="other")))
    world.decide("fA", "06-03", invoice("iA", line("l1", "100", kind="other"), automatic=False))
    assert (world.due("iB"), world.due("iA")) == (0, 100)
    world.decide("vB", "06-04", voided("iB"))
    assert (world.due("iA"), world.available()) == (0, 0)
