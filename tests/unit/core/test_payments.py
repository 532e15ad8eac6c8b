"""What payments settle, what is left of them, and what becomes of both when they are reversed."""

import itertools

import pytest

from avoir.core.model.events import CreditApplied, CreditIssued, CreditShortfall, CreditVoided
from avoir.core.model.facts import Owner
from avoir.core.model.policy import Policy
from tests.unit.core.commands import drawn, policy, take_away
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
    voided,
)


def bill(invoice_id: str, when: str, amount: str, **how: object):  # type: ignore[no-untyped-def]
    """A manual invoice, so that only payments settle it."""
    made = invoice(invoice_id, line("l1", amount, booking=f"b-{invoice_id}"), automatic=False, **how)  # type: ignore[arg-type]
    return message(f"f-{invoice_id}", when, made)


def test_a_payment_settles_the_invoices_it_names_in_that_order() -> None:
    world = given(
        bill("i1", "06-01", "50.00"),
        bill("i2", "06-02", "50.00"),
        bill("i3", "06-03", "50.00"),
        message("p", "06-04", payment("p1", "80.00", "i3", "nowhere", "i2", "i3")),
    )
    assert [world.due(each) for each in ("i1", "i2", "i3")] == [50, 20, 0]


def test_a_named_invoice_may_be_finalized_after_the_payment() -> None:
    world = given(bill("i1", "06-09", "50.00"), message("p", "06-04", payment("p1", "50.00", "i1")))
    assert world.due("i1") == 0


def test_a_payment_that_names_none_settles_the_oldest_finalized_no_later_than_it() -> None:
    world = given(
        bill("i3", "06-03", "50.00"),
        bill("i2", "06-02", "50.00"),
        bill("i1", "06-01", "50.00"),
        bill("i4", "06-05", "50.00"),
        message("p", "06-04", payment("p1", "180.00")),
    )
    assert [world.due(each) for each in ("i1", "i2", "i3", "i4")] == [0, 0, 0, 50]
    assert world.available() == 30
    assert world.bodies(CreditIssued)[0].effective_at == at("06-04")


@pytest.mark.parametrize("other", [{"owner": Owner("team", "u1")}, {"currency": "USD"}])
def test_a_payment_settles_only_invoices_of_its_owner_and_currency_and_says_so(other: dict) -> None:
    world = given(bill("i1", "06-01", "50.00", **other), message("p", "06-04", payment("p1", "50.00", "i1")))
    assert world.due("i1") == 50
    assert world.available() == 50
    assert world.decisions[-1].facts["not_of_this_owner_and_currency"] == ["i1"]


def test_amount_paid_settles_before_any_payment_and_the_rest_is_overpayment() -> None:
    delivered = [
        bill("i1", "06-02", "100.00", paid="60.00"),
        message("p", "06-01", payment("p1", "70.00", "i1")),
    ]
    for order in (delivered, delivered[::-1]):
        world = given(*order)
        assert (world.due("i1"), world.available()) == (0, 30)
        assert rows(world.state.grants)[0].source == "overpayment"


def test_an_invoice_is_settled_from_its_earlier_payment_as_far_as_that_is_unspent() -> None:
    world = given(message("p", "06-01", payment("p1", "100.00", "i9")))
    assert world.available() == 100
    world.decide("f", "06-02", invoice("i1", line("l1", "30.00", booking="b1")))
    assert world.applied("i1") == 30
    world.handle(bill("i9", "06-03", "90.00"))
    assert (world.due("i9"), world.available()) == (20, 0)
    assert world.bodies(CreditVoided)[0].reason == "payment_settled_invoice"
    assert world.shortfall() == 0


def test_a_payment_settles_its_invoice_before_credit_does() -> None:
    world = given(
        message("q", "05-01", payment("p0", "100.00", "elsewhere")),
        message("p", "06-03", payment("p1", "100.00", "i1")),
        message("f", "06-02", invoice("i1", line("l1", "100.00", booking="b1"))),
    )
    assert world.applied("i1") == 0
    assert world.available() == 100


def test_a_reversal_takes_the_remaining_overpayment_first_and_then_undoes_the_last_settlement() -> None:
    world = given(
        bill("i1", "06-01", "50.00"),
        bill("i2", "06-02", "50.00"),
        message("p", "06-03", payment("p1", "120.00", "i2", "i1")),
    )
    world.decide("r1", "06-04", reversal("r1", "p1", "15.00"))
    assert (world.available(), world.due("i1"), world.due("i2")) == (5, 0, 0)
    world.decide("r2", "06-05", reversal("r2", "p1", "25.00"))
    assert (world.available(), world.due("i1"), world.due("i2")) == (0, 20, 0)
    world.decide("r3", "06-06", reversal("r3", "p1", "40.00"))
    assert (world.due("i1"), world.due("i2"), world.shortfall()) == (50, 10, 0)


def test_a_reversal_of_spent_overpayment_is_a_shortfall() -> None:
    world = given(
        message("p", "06-01", payment("p1", "100.00")),
        message("f", "06-02", invoice("i1", line("l1", "70.00", booking="b1"))),
        message("r", "06-03", reversal("r1", "p1", "100.00")),
    )
    assert (world.available(), world.shortfall(), world.due("i1")) == (0, 70, 0)
    short = world.bodies(CreditShortfall)[-1]
    assert (short.reason, short.short_of.payment_id) == ("payment_reversed", "p1")


def test_reversals_count_up_to_the_amount_of_the_payment() -> None:
    world = given(
        bill("i1", "06-01", "50.00"),
        message("p", "06-02", payment("p1", "50.00")),
        message("r1", "06-03", reversal("r1", "p1", "40.00")),
        message("r2", "06-04", reversal("r2", "p1", "40.00")),
    )
    assert world.due("i1") == 50
    assert world.state.payments["t1", "payment", "p1"].reversed == 50_000_000  # type: ignore[index]


def test_a_reversal_of_an_unknown_payment_waits_for_it() -> None:
    delivered = [
        bill("i1", "06-01", "50.00"),
        message("r", "06-03", reversal("r1", "p1", "20.00")),
        message("p", "06-02", payment("p1", "60.00", "i1")),
    ]
    world = given(*delivered)
    assert (world.decisions[1].outcome, world.decisions[1].reason) == ("waiting", "unknown_payment")
    for order in itertools.permutations(delivered):
        again = given(*order)
        assert (again.due("i1"), again.available()) == (10, 0)


@pytest.mark.parametrize("first", ["payment", "reversal"])
def test_a_reversal_in_another_currency_is_declined_and_changes_nothing(first: str) -> None:
    delivered = [
        message("p", "06-02", payment("p1", "60.00")),
        message("r", "06-03", reversal("r1", "p1", "20.00", "USD")),
    ]
    world = given(*(delivered if first == "payment" else delivered[::-1]))
    assert world.available() == 60
    if first == "payment":
        assert (world.decisions[-1].outcome, world.decisions[-1].reason) == ("declined", "currency_mismatch")
    else:
        assert world.decisions[-1].facts["reversals_in_another_currency"] == ["r1"]


def test_overpayment_that_returns_after_a_reversal_pays_its_invoice_before_others() -> None:
    """60 of 100 was spent as overpayment; a reversal of 50 undoes 40 and leaves 10 short; then the 60 come back."""
    world = given(
        bill("i1", "06-01", "40.00"),
        message("p", "06-02", payment("p1", "100.00", "i1")),
        message("f", "06-03", invoice("i2", line("l1", "60.00", booking="b2"))),
        message("r", "06-04", reversal("r1", "p1", "50.00")),
    )
    assert (world.due("i1"), world.shortfall()) == (40, 10)
    world.decide("g", "06-05", invoice("i3", line("l1", "60.00", booking="b3")))
    application = rows(world.state.applications)[0]
    world.decide("j", "06-06", rejected(str(application.key.id)))
    assert (world.due("i1"), world.due("i2"), world.due("i3")) == (0, 60, 50)
    assert (world.shortfall(), world.available()) == (0, 0)


def test_a_reversal_gives_the_same_whether_expired_overpayment_was_swept_before_or_not() -> None:
    found = []
    for is_swept in (True, False):
        world = World(policy=Policy(expires_after_days=10), now=at("06-05"))
        world.handle_all([bill("i1", "06-01", "40.00"), message("p", "06-02", payment("p1", "100.00", "i1"))])
        world.now = at("06-20")
        if is_swept:
            world.sweep()
        world.decide("r", "06-19", reversal("r1", "p1", "50.00"))
        found.append((world.due("i1"), world.available(), world.shortfall()))
    assert found == [(40, 0, 0), (40, 0, 0)]


def test_paying_a_voided_invoice_is_overpayment() -> None:
    world = given(
        bill("i1", "06-01", "50.00"),
        message("v", "06-02", voided("i1")),
        message("p", "06-03", payment("p1", "50.00", "i1")),
        message("c", "06-04", cancelled("b-i1")),
    )
    assert world.available() == 50
    assert world.decisions[-1].reason == "invoice_voided"


def test_what_is_due_stays_in_whole_cents_where_a_draw_left_a_fraction_of_an_overpayment() -> None:
    """Of 30.00 a draw used 0.000125 and an invoice 29.99; 20.00 go back: all of them from the invoice."""
    world = World()
    world.decide("p", "06-02", payment("p1", "30.00"))
    world.decide("d", "06-03", drawn("0.000125"))
    world.decide("f", "06-01", invoice("i1", line("l1", "30.00"), automatic=False))
    assert world.due("i1") == 0.01
    world.decide("r", "06-04", reversal("r1", "p1", "20.00"))
    assert world.due("i1") == 20.01
    assert world.available() == 0.009875


def test_what_a_void_leaves_of_a_payment_settles_whole_cents_only() -> None:
    """The credit of a line was drawn below the cent: so much of the payment is kept, and the rest pays in cents."""
    world = World()
    world.decide("f1", "06-01", invoice("i1", line("l1", "10.00", booking="b1")))
    world.decide("p", "06-02", payment("p1", "10.00"))
    world.decide("c", "06-03", cancelled("b1"))
    world.decide("d", "06-03", drawn("0.000125"))
    world.decide("u", "06-03", take_away(world.grant_id("c")))
    world.decide("f2", "06-02", invoice("i2", line("l1", "50.00"), automatic=False))
    world.decide("v", "06-04", voided("i1"))
    assert world.due("i2") == 40.01
    assert world.available() == 0.009875


def test_a_reversal_fixes_no_policy_for_an_overpayment_that_is_never_given() -> None:
    world = World()
    world.decide("f", "06-01", invoice("i1", line("l1", "100")))
    world.decide("p", "06-10", payment("p1", "100", "i1"))
    world.decide("r", "06-11", reversal("r1", "p1", "50"))
    world.decide("late", "06-05", policy(expires_after_days=30))
    world.decide("v", "06-12", voided("i1"))
    (issued,) = world.bodies(CreditIssued)
    assert (issued.amount, issued.expires_at) == (50_000_000, at("07-10"))


def test_only_what_a_payment_settled_is_said_to_have_settled() -> None:
    world = World()
    world.decide("f1", "06-03", invoice("i1", line("l1", "100")))
    world.decide("p", "06-02", payment("p1", "100", "i2"))
    world.decide("r", "06-05", reversal("r1", "p1", "50"))
    world.decide("f2", "06-06", invoice("i2", line("l1", "100")))
    (applied,) = world.bodies(CreditApplied)
    world.decide("back", "06-07", rejected(str(applied.application_id)))
    taken = [(each.amount, each.reason) for each in world.bodies(CreditVoided)]
    assert taken == [(50_000_000, "payment_reversed"), (50_000_000, "payment_settled_invoice")]
    assert [each.amount for each in world.bodies(CreditShortfall)] == [50_000_000, -50_000_000]
    assert (world.due("i2"), world.balance()) == (50, (0, 0))
