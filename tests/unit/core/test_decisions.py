"""Every message leaves one decision: its outcome, the first reason that holds, and facts of a bounded size."""

import json
from typing import Literal

import pytest
from msgspec.structs import replace

from avoir.core import decide as decide_module
from avoir.core.decide import decide
from avoir.core.model.decision import would_change
from avoir.core.model.events import CreditDeclined
from avoir.core.model.facts import Fact
from avoir.core.model.message import Message
from avoir.core.model.policy import Policy
from avoir.core.model.reasons import UNUSED_AND_PAID
from avoir.core.state.draft import Moment
from avoir.core.state.state import STATE_TABLES
from tests.unit.core.world import (
    NOW,
    World,
    cancelled,
    given,
    invoice,
    line,
    message,
    payment,
    plan_cancelled,
    rejected,
    reversal,
    shortened,
    voided,
)

BOOKED = line("l1", "100.00", booking="b1")
PAID = message("f", "06-02", invoice("i1", BOOKED, paid="100.00"))
UNPAID = message("f", "06-02", invoice("i1", BOOKED))
FREE = message("f", "06-02", invoice("i1", line("l1", "0.00", booking="b1")))
VOID = message("v", "06-02", voided("i1"))
WHOLE = shortened("b1", prices=("100.00", "100.00"))

REASONS = [
    ("not_billed", [], "06-03", cancelled("b1")),
    ("not_billed", [], "06-03", cancelled("b1", by="admin")),
    ("invoice_voided", [PAID, VOID], "06-01", cancelled("b1", by="admin")),
    ("billed_after_change", [FREE], "06-01", cancelled("b1", by="admin", fee="1.00", currency="USD")),
    ("currency_mismatch", [FREE], "06-03", cancelled("b1", by="admin", fee="1.00", currency="USD")),
    ("already_credited", [PAID, message("0", "06-03", cancelled("b1"))], "06-03", cancelled("b1")),
    ("superseded", [FREE, message("0", "06-04", cancelled("b1"))], "06-03", cancelled("b1", by="admin")),
    ("not_requested", [FREE], "06-03", cancelled("b1", by="admin")),
    ("free", [FREE], "06-03", WHOLE),
    ("unpaid", [UNPAID], "06-03", WHOLE),
    ("nothing_unused", [PAID], "06-03", WHOLE),
    ("nothing_unused", [PAID], "06-03", cancelled("b1", fee="100.00")),
    ("already_credited", [PAID, message("0", "06-03", cancelled("b1"))], "06-04", cancelled("b1")),
]


@pytest.mark.parametrize(("reason", "before", "when", "fact"), REASONS)
def test_the_first_reason_that_holds_is_the_one_told(
    reason: str, before: list[Message], when: str, fact: Fact
) -> None:
    world = given(*before)
    published = len(world.events)
    decision = world.decide("z", when, fact)
    assert decision.reason == reason
    assert decision.outcome == ("waiting" if reason == "unpaid" else "declined")
    assert decision.would_change_it
    declined = [event.body for event in world.events[published:] if isinstance(event.body, CreditDeclined)]
    assert [body.reason for body in declined] == ([] if reason == "unpaid" else [reason])


def test_payment_changes_what_waits_and_not_what_is_declined_for_good() -> None:
    late = (
        World(policy=Policy(unpaid_change="never")).handle_all([UNPAID]).decide("z", "06-03", cancelled("b1"))
    )
    waiting = World().handle_all([UNPAID]).decide("z", "06-03", cancelled("b1"))
    assert (waiting.outcome, waiting.would_change_it) == ("waiting", "Payment of the rest of the invoice.")
    assert late.outcome == "declined"
    assert late.would_change_it is not None
    assert late.would_change_it.startswith("A payment that had come in by the time of the change")


@pytest.mark.parametrize(("unpaid_change", "outcome"), [("wait", "waiting"), ("never", "declined")])
def test_payment_alone_changes_nothing_where_a_change_leaves_nothing_unused(
    unpaid_change: Literal["wait", "never"], outcome: str
) -> None:
    world = World(policy=Policy(unpaid_change=unpaid_change)).handle_all([UNPAID])
    decision = world.decide("z", "06-03", WHOLE)
    assert (decision.outcome, decision.reason, decision.would_change_it) == (
        outcome,
        "unpaid",
        UNUSED_AND_PAID,
    )
    world.decide("p", "06-02", payment("p1", "100.00", "i1"))
    assert world.available() == 0
    world.decide("y", "06-04", shortened("b1", prices=("100.00", "60.00")))
    assert world.available() == 40


def test_what_would_change_it_looks_at_the_lines_for_which_the_change_counts() -> None:
    dollars = invoice("i2", line("l1", "100.00", booking="b1"), paid="100.00", currency="USD")
    world = given(UNPAID, message("g", "06-01", dollars))
    world.decide("a", "06-02", cancelled("b1", fee="1.00", currency="USD"))
    decision = world.decide("z", "06-03", WHOLE)
    assert (decision.reason, decision.would_change_it) == ("unpaid", UNUSED_AND_PAID)


def test_where_all_is_paid_too_late_and_nothing_unused_only_another_change_helps() -> None:
    world = World(policy=Policy(unpaid_change="never")).handle_all([UNPAID])
    world.decide("p", "06-04", payment("p1", "100.00", "i1"))
    decision = world.decide("z", "06-03", WHOLE)
    assert (decision.reason, decision.would_change_it) == ("unpaid", would_change("nothing_unused"))


def test_under_never_the_change_that_counts_for_a_line_says_when_it_had_to_be_paid() -> None:
    world = World(policy=Policy(unpaid_change="never")).handle_all([UNPAID])
    world.decide("a", "06-02", cancelled("b1", revision=1))
    world.decide("p", "06-03", payment("p1", "100.00", "i1"))
    world.decide("g", "06-04", invoice("i2", line("l1", "50.00", booking="b1"), paid="50.00"))
    decision = world.decide("z", "06-05", shortened("b1", prices=("50.00", "50.00")))
    assert (decision.reason, [each["given"] for each in decision.facts["lines"]]) == (
        "nothing_unused",
        ["0.00", "0.00"],
    )


def test_a_line_for_which_a_later_change_counts_is_left_out_of_the_reason() -> None:
    dollars = invoice("i1", line("l1", "100.00", booking="b1"), paid="100.00", currency="USD")
    free = invoice("i2", line("l1", "0.00", booking="b1"))
    world = given(message("f", "06-01", dollars), message("g", "06-01", free))
    world.decide("a", "06-05", cancelled("b1", fee="1.00", currency="USD"))
    assert world.decide("z", "06-03", cancelled("b1")).reason == "free"


def test_a_payment_in_time_that_is_told_later_changes_what_was_declined_as_unpaid() -> None:
    world = World(policy=Policy(unpaid_change="never")).handle_all([UNPAID])
    assert (decision := world.decide("z", "06-03", cancelled("b1"))).reason == "unpaid"
    assert not (decision.would_change_it or "").startswith("Nothing")
    world.decide("p", "06-02", payment("p1", "100.00", "i1"))
    assert world.available() == 100


def test_an_earlier_invoice_that_is_told_later_changes_what_was_billed_after_the_change() -> None:
    world = given(message("g", "06-04", invoice("i2", BOOKED, paid="100.00")))
    assert (decision := world.decide("z", "06-03", cancelled("b1"))).reason == "billed_after_change"
    assert not (decision.would_change_it or "").startswith("Nothing")
    world.handle(PAID)
    assert world.available() == 100


def test_a_decline_concerns_the_account_of_the_invoice_or_none() -> None:
    world = given(PAID, message("c", "06-01", cancelled("b1")), message("d", "06-01", cancelled("b9")))
    billed, unknown = [event for event in world.events if isinstance(event.body, CreditDeclined)]
    assert (billed.seq, unknown.seq, unknown.account, unknown.available) == (1, None, None, None)


def test_the_same_unpaid_change_again_waits_whatever_its_event_id() -> None:
    for event_id in ("a", "z"):
        world = given(UNPAID, message("m", "06-03", cancelled("b1")))
        assert world.decide(event_id, "06-03", cancelled("b1")).outcome == "waiting"


def test_an_asked_change_that_a_later_unasked_one_limits_waits_for_the_payment_too() -> None:
    world = given(UNPAID, message("d", "06-04", cancelled("b1", by="admin")))
    decision = world.decide("c", "06-03", cancelled("b1"))
    assert (decision.outcome, decision.reason) == ("waiting", "unpaid")
    world.decide("p", "06-05", payment("p1", "100.00", "i1"))
    assert world.available() == 100


def test_issued_comes_before_applied_before_recorded() -> None:
    world = given(message("q", "06-01", payment("p0", "100.00")))
    assert world.decisions[-1].outcome == "issued"
    assert world.handle(UNPAID).outcome == "applied"
    assert world.decide("p", "06-03", payment("p1", "0.50", "i1")).outcome == "issued"
    assert world.decide("g", "06-04", invoice("i2", BOOKED, automatic=False)).outcome == "recorded"
    assert world.decide("o", "06-04", payment("p2", "1.00", "i2")).outcome == "recorded"


def test_credit_issued_and_applied_at_once_is_issued() -> None:
    world = given(UNPAID, message("p", "06-01", payment("p1", "50.00", "nowhere")))
    assert (world.decisions[-1].outcome, world.decisions[-1].reason) == ("issued", "overpayment")
    assert world.applied("i1") == 50
    assert world.decisions[-1].policy == {"expires_after_days": None}


def test_a_change_that_took_back_on_one_line_and_waits_on_another_is_recorded() -> None:
    world = given(PAID, message("c", "06-03", cancelled("b1")), message("g", "06-03", invoice("i2", BOOKED)))
    decision = world.decide("d", "06-04", shortened("b1", prices=("100.00", "90.00")))
    assert (decision.outcome, decision.reason) == ("recorded", "changed")


KEYS = [
    (invoice("i1", BOOKED), invoice("i1", BOOKED, paid="1.00"), "invoice_id"),
    (voided("i1"), replace(voided("i1"), reason="other"), "invoice_id"),
    (payment("p1", "5.00"), payment("p1", "6.00"), "payment_id"),
    (reversal("r1", "p1", "5.00"), reversal("r1", "p2", "5.00"), "reversal_id"),
]


@pytest.mark.parametrize(("fact", "other", "key"), KEYS)
def test_a_business_key_counts_once(fact: Fact, other: Fact, key: str) -> None:
    world = given(message("1", "06-01", fact))
    before = len(world.events)
    same = world.decide("2", "06-01", fact)
    assert (same.outcome, same.reason, same.facts) == ("duplicate", "duplicate", {"same": key})
    for contrary in (world.decide("3", "06-01", other), world.decide("4", "06-02", fact)):
        assert (contrary.outcome, contrary.reason, contrary.facts) == ("conflict", "conflict", {"same": key})
    assert len(world.events) == before


@pytest.mark.parametrize(
    "fact", [fact for fact, _, _ in KEYS] + [cancelled("b1"), plan_cancelled("p1", "06-05"), rejected("x")]
)
def test_an_event_id_counts_once(fact: Fact) -> None:
    world = given(message("1", "06-01", fact))
    before = len(world.events)
    assert world.decide("1", "06-01", fact).outcome == "duplicate"
    conflict = world.decide("1", "06-02", fact)
    assert (conflict.outcome, conflict.facts) == ("conflict", {"same": "event_id"})
    assert len(world.events) == before


def test_a_conflict_does_not_use_up_its_event_id() -> None:
    world = given(message("1", "06-01", payment("p1", "5.00")))
    assert world.decide("2", "06-01", payment("p1", "6.00")).outcome == "conflict"
    assert world.decide("2", "06-01", payment("p2", "6.00")).outcome == "issued"


def test_event_ids_and_keys_are_those_of_a_tenant() -> None:
    world = given(message("1", "06-01", payment("p1", "5.00")))
    decision = world.handle(message("1", "06-02", payment("p1", "6.00"), tenant="t2"))
    assert decision.outcome == "issued"


LONG = "\N{GRINNING FACE}" * 190


@pytest.mark.slow
@pytest.mark.parametrize("prefix", ["b", LONG])
def test_facts_have_at_most_2_kib_with_ten_thousand_lines(prefix: str) -> None:
    lines = [line(f"{prefix}{n}", "0.01", booking=prefix) for n in range(10_000)]
    world = given(message("f", "06-01", invoice(prefix, *lines)))
    world.decide("c", "06-02", cancelled(prefix))
    world.decide("p", "06-03", payment(prefix, "1.00", prefix, *(f"{prefix}{n}" for n in range(100))))
    assert [each.outcome for each in world.decisions] == ["recorded", "waiting", "recorded"]
    for each in world.decisions:
        assert len(json.dumps(each.facts, ensure_ascii=False).encode()) <= 2048
    assert world.decisions[1].facts["lines_in_all"] == 10_000


def test_the_facts_of_a_decline_are_as_small() -> None:
    others = [
        message(f"f{n}", "06-05", invoice(f"{LONG}{n}", line(LONG, "1.00", booking=LONG))) for n in range(9)
    ]
    world = given(*others, message("c", "06-02", cancelled(LONG)))
    (declined,) = world.bodies(CreditDeclined)
    assert len(json.dumps(declined.facts, ensure_ascii=False).encode()) <= 2048
    assert len(declined.facts["lines"]) >= 1 and declined.facts["lines_in_all"] == 9


def snapshot(world: World) -> dict[str, dict]:
    tables = {name: getattr(world.state, name).rows for name in STATE_TABLES}
    return {
        name: {key: list(row) if type(row) is list else row for key, row in rows.items()}
        for name, rows in tables.items()
    }


def test_deciding_over_a_fork_does_not_touch_the_state_below() -> None:
    world = given(PAID, message("c", "06-03", cancelled("b1")))
    before = snapshot(world)
    decided = decide(world.state.fork(), VOID, Moment(NOW, 1, Policy()))
    assert decided.events and snapshot(world) == before
    again = decide(world.state.fork(), VOID, Moment(NOW, 1, Policy()))
    assert (again.events, again.entries, again.decision) == (
        decided.events,
        decided.entries,
        decided.decision,
    )


def test_a_decision_that_raises_leaves_the_state_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    world = given(PAID, message("c", "06-03", cancelled("b1")))
    before = snapshot(world)

    def broken(*_: object, **_more: object) -> None:
        raise RuntimeError("a defect, after all rows were put")

    monkeypatch.setattr(decide_module, "would_change", broken)
    with pytest.raises(RuntimeError):
        world.decide("d", "06-01", cancelled("b1"))
    assert snapshot(world) == before
    monkeypatch.undo()
    assert world.decide("d", "06-01", cancelled("b1")).reason == "billed_after_change"
