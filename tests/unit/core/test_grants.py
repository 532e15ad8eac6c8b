"""`grant-credit` and `void-credit`: credit given by hand, now or later, and taken away again."""

import pytest

from avoir.core.model.events import CreditExpired, CreditIssued, CreditVoided
from avoir.core.model.facts import Owner
from tests.unit.core.commands import drawn, granted, take_away, use_on
from tests.unit.core.test_use import bill
from tests.unit.core.world import World, at, cancelled, invoice, kinds, line, message, rows


def test_a_grant_is_issued_with_what_the_command_said() -> None:
    world = World(now=at("06-02"))
    said = granted("50", reason="referral", note="brought a friend", priority=7, expires="07-01")
    decision = world.decide("g", "06-01", said)
    (issued,) = world.bodies(CreditIssued)
    assert (decision.outcome, decision.reason) == ("issued", "referral")
    assert (issued.source, issued.reason, issued.note) == ("granted", "referral", "brought a friend")
    assert (issued.priority, issued.effective_at, issued.expires_at) == (7, at("06-01"), at("07-01"))
    assert issued.line_item is None
    assert world.available() == 50
    assert decision.facts["amount"] == "50.00"


@pytest.mark.parametrize(
    ("reason", "is_paid_for"),
    [
        ("purchase", True),
        ("referral", False),
        ("goodwill", False),
        ("adjustment", False),
        ("promotion", False),
        ("other", False),
    ],
)
def test_only_a_purchase_counts_as_paid_for(reason: str, is_paid_for: bool) -> None:
    world = World()
    world.decide("g", "06-01", granted("50", reason=reason))
    assert world.grant("g").paid_for is is_paid_for


def test_a_grant_that_is_to_come_waits_is_on_no_balance_and_cannot_be_used() -> None:
    world = World(now=at("06-02"))
    decision = world.decide("g", "06-01", granted("50", effective="06-10"))
    assert (decision.outcome, decision.reason) == ("waiting", "not_effective")
    assert decision.would_change_it == "Its effective date: the credit is given then."
    assert world.balance() == (0, 0) and not world.events
    world.handle(bill("i1", "06-02"))
    assert world.due("i1") == 100
    asked = world.decide("u", "06-02", use_on("i1", grant=world.grant_id("g")))
    assert (asked.outcome, asked.reason) == ("declined", "insufficient_credit")
    assert world.decide("d", "06-02", drawn("1")).reason == "insufficient_credit"


def test_a_grant_begins_by_time_alone_to_the_microsecond() -> None:
    world = World(now=at("06-02"))
    world.decide("g", "06-01", granted("50", effective="06-10"))
    world.now = at("06-09T23:59")
    world.sweep()
    assert world.available() == 0
    world.now = at("06-10")
    world.sweep()
    assert world.available() == 50
    (event,) = world.events
    assert event.occurred_at == at("06-10") and event.caused_by is not None
    assert (event.caused_by.topic, event.caused_by.event_id) == ("grant-credit", "g")
    world.sweep()
    assert len(world.events) == 1


def test_a_grant_that_has_begun_pays_invoices_finalized_after_and_not_before_it() -> None:
    world = World(now=at("06-02"))
    world.decide("g", "06-01", granted("50", effective="06-10"))
    world.handle(bill("i1", "06-02"))
    world.now = at("06-12")
    world.sweep()
    assert (world.due("i1"), world.available()) == (100, 50)
    world.handle(bill("i2", "06-11"))
    assert (world.due("i2"), world.available()) == (50, 0)


def test_what_remains_of_a_grant_expires_on_its_date() -> None:
    world = World(now=at("06-02"))
    world.decide("g", "06-01", granted("50", expires="06-10"))
    world.decide("d", "06-02", drawn("20"))
    world.now = at("06-10")
    world.sweep()
    (expired,) = world.bodies(CreditExpired)
    assert (expired.amount, world.available()) == (30_000_000, 0)
    assert world.events[-1].occurred_at == at("06-10")
    refused = world.decide("u", "06-09", use_on("i1", grant=world.grant_id("g")))
    assert (refused.outcome, refused.reason) == ("declined", "credit_expired")


def test_a_grant_whose_time_is_over_when_it_is_told_is_issued_and_expires_at_once() -> None:
    world = World(now=at("06-20"))
    assert world.decide("g", "06-01", granted("50", expires="06-10")).outcome == "issued"
    assert kinds(world.bodies()) == ["CreditIssued", "CreditExpired"]
    assert world.available() == 0


def test_a_reference_gives_credit_once() -> None:
    world = World()
    said = granted("50", reference="order 1")
    assert world.decide("g1", "06-01", said).outcome == "issued"
    again = world.decide("g2", "06-01", said)
    assert (again.outcome, again.facts["same"]) == ("duplicate", "reference")
    other = world.decide("g3", "06-01", granted("60", reference="order 1"))
    assert (other.outcome, other.reason) == ("conflict", "conflict")
    assert world.available() == 50


def test_a_reference_stays_used_after_its_grant_is_voided_and_while_it_waits() -> None:
    world = World(now=at("06-02"))
    said = granted("50", reference="order 1", effective="06-10")
    assert world.decide("g1", "06-01", said).outcome == "waiting"
    assert world.decide("g2", "06-01", said).outcome == "duplicate"
    world.decide("v", "06-02", take_away(world.grant_id("g1")))
    assert world.decide("g3", "06-01", said).outcome == "duplicate"
    world.now = at("06-11")
    world.sweep()
    assert world.available() == 0


def test_another_tenant_may_use_the_same_reference() -> None:
    world = World()
    world.decide("g1", "06-01", granted("50", reference="order 1"))
    other = message("g1", "06-01", granted("60", reference="order 1"), tenant="t2")
    assert world.handle(other).outcome == "issued"


def test_a_grant_delivered_late_pays_an_invoice_that_was_finalized_after_it_counts() -> None:
    world = World()
    world.handle(bill("i1", "06-05"))
    decision = world.decide("g", "06-01", granted("30"))
    assert (decision.outcome, decision.reason) == ("issued", "goodwill")
    assert (world.due("i1"), world.available()) == (70, 0)


def test_voiding_takes_back_what_is_available_and_what_is_reserved() -> None:
    world = World()
    world.decide("g", "06-01", granted("50"))
    world.decide("r", "06-01", use_on("i1", "20"))
    world.decide("d", "06-01", drawn("5"))
    decision = world.decide("v", "06-02", take_away(world.grant_id("g"), "granted by mistake"))
    (voided,) = world.bodies(CreditVoided)
    assert (decision.outcome, decision.reason) == ("recorded", "voided")
    assert (voided.amount, voided.reason) == (45_000_000, "granted by mistake")
    assert decision.facts["voided"] == "45.00"
    assert world.balance() == (0, 0)
    world.handle(bill("i1", "06-03"))
    assert world.due("i1") == 100


def test_voiding_twice_or_what_is_spent_is_refused() -> None:
    world = World()
    world.decide("g", "06-01", granted("50"))
    world.decide("v1", "06-02", take_away(world.grant_id("g")))
    again = world.decide("v2", "06-03", take_away(world.grant_id("g")))
    assert (again.outcome, again.reason) == ("declined", "insufficient_credit")
    world.decide("h", "06-01", granted("50"))
    world.decide("d", "06-01", drawn("50"))
    spent = world.decide("v3", "06-03", take_away(world.grant_id("h")))
    assert (spent.outcome, spent.reason, spent.facts["remaining"]) == (
        "declined",
        "insufficient_credit",
        "0.00",
    )


def test_voiding_what_has_expired_is_refused_as_expired() -> None:
    world = World(now=at("06-20"))
    world.decide("g", "06-01", granted("50", expires="06-10"))
    refused = world.decide("v", "06-02", take_away(world.grant_id("g")))
    assert (refused.outcome, refused.reason) == ("declined", "credit_expired")


def test_voiding_a_grant_that_is_to_come_means_that_it_never_begins() -> None:
    world = World(now=at("06-02"))
    world.decide("g", "06-01", granted("50", effective="06-10"))
    assert world.decide("v", "06-02", take_away(world.grant_id("g"))).reason == "voided"
    world.now = at("06-11")
    world.sweep()
    assert world.balance() == (0, 0) and not world.events


def test_voided_credit_of_a_booking_is_not_given_again() -> None:
    world = World()
    world.handle(bill("i1", "06-01", paid="100.00"))
    world.decide("c", "06-02", cancelled("b-i1"))
    world.decide("v", "06-03", take_away(world.grant_id("c")))
    decision = world.decide("c2", "06-04", cancelled("b-i1", revision=2))
    assert (decision.outcome, world.available()) == ("declined", 0)


@pytest.mark.parametrize("grant_id", ["00000000-0000-0000-0000-000000000001", "none of ours", ""])
def test_voiding_an_unknown_grant_is_refused(grant_id: str) -> None:
    decision = World().decide("v", "06-01", take_away(grant_id))
    assert (decision.outcome, decision.reason) == ("declined", "unknown_grant")


def test_grants_that_begin_one_after_the_other_make_applications_of_their_own() -> None:
    world = World(now=at("06-01"))
    world.decide("g1", "06-01", granted("10", effective="06-02"))
    world.decide("g2", "06-01", granted("20", effective="06-03"))
    world.decide("f", "06-04", invoice("i1", line("l1", "100")))
    for day in ("06-02", "06-03"):
        world.now = at(day)
        world.sweep()
    made = sorted(each.amount for each in rows(world.state.applications))
    assert (world.due("i1"), made) == (70, [10_000_000, 20_000_000])


def test_what_a_grant_pays_when_it_begins_has_the_same_id_whenever_that_is_noticed() -> None:
    made = []
    for noticed in ("06-02", "06-03"):
        world = World(now=at("06-01"))
        world.decide("g0", "06-01", granted("5", owner=Owner("user", "u0"), effective="06-03"))
        world.decide("g1", "06-01", granted("10", effective="06-02"))
        world.decide("f0", "06-04", invoice("i0", line("l1", "100"), owner=Owner("user", "u0")))
        world.decide("f1", "06-04", invoice("i1", line("l1", "100")))
        world.now = at(noticed)
        world.sweep()
        made.append([each.key for each in rows(world.state.applications) if each.invoice.invoice_id == "i1"])
    assert made[0] == made[1] and len(made[0]) == 1


def test_what_has_expired_is_on_no_balance_of_a_grant_that_began_later_however_late_both_are_noticed() -> (
    None
):
    world = World(now=at("06-02"))
    world.decide("g1", "06-01", granted("100", expires="06-10"))
    world.decide("g2", "06-01", granted("50", effective="06-20"))
    world.decide("g3", "06-01", granted("7", effective="06-05", expires="06-15"))
    world.now = at("06-21")
    world.sweep()
    passed = [(type(event.body), event.occurred_at, event.available) for event in world.events[1:]]
    assert passed == [
        (CreditIssued, at("06-05"), 107_000_000),
        (CreditExpired, at("06-10"), 7_000_000),
        (CreditExpired, at("06-15"), 0),
        (CreditIssued, at("06-20"), 50_000_000),
    ]
