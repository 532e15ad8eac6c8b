"""A simulation: messages over an empty state, time that passes between them, and a policy that counts for everybody."""

from datetime import timedelta
from typing import Any
from unittest.mock import Mock, patch

from avoir.core.decide import HANDLERS, Decided
from avoir.core.model.commands import Actor, GrantCredit, SetCreditPolicy
from avoir.core.model.events import AccountKey, CreditExpired, CreditIssued
from avoir.core.model.facts import Fact, InvoiceFinalized, Owner
from avoir.core.model.message import Message
from avoir.core.model.policy import Policy
from avoir.core.simulate import Figures, Simulation, add_figures, with_keys
from tests.unit.core.world import EURO, U1, at, cancelled, invoice, line, message, payment

ACCOUNT = AccountKey("t1", *U1, "EUR")
ADMIN = Actor("admin", "a1")


def handle(simulation: Simulation, event_id: str, when: str, fact: Fact) -> Decided:
    """A fact decided when it occurs."""
    return simulation.decide(message(event_id, when, fact), at(when))


def granted(event_id: str, when: str, effective: str, expires: str | None, owner: Owner = U1) -> Message:
    expires_at = at(expires) if expires else None
    body = GrantCredit(ADMIN, owner, 50 * EURO, "EUR", "goodwill", None, 50, at(effective), expires_at, None)
    return Message("t1", "grant-credit", event_id, at(when), b"", body)


def policy_set(keys: dict[str, Any]) -> Message:
    body = SetCreditPolicy(ADMIN, "tenant", None, None, keys)
    return Message("t1", "set-credit-policy", "s1", at("06-01"), b"", body)


def bought_and_cancelled(simulation: Simulation) -> None:
    booked = line("l1", "121.00", booking="b1")
    handle(simulation, "f1", "06-01", invoice("i1", booked))
    handle(simulation, "c1", "06-02", cancelled("b1"))
    handle(simulation, "p1", "06-03", payment("p1", "121.00", "i1"))
    handle(simulation, "f2", "06-05", invoice("i2", line("l1", "80.00")))


def test_figures_say_where_all_credit_went() -> None:
    simulation = Simulation(policy=Policy())
    bought_and_cancelled(simulation)
    expected = Figures(available=41 * EURO, given={"booking_cancelled": 121 * EURO}, used=80 * EURO)
    assert simulation.figures() == {ACCOUNT: expected}


def test_a_key_counts_whatever_a_tenant_has_set() -> None:
    keys = {"unpaid_change": "never"}
    for first in ([], [policy_set({"unpaid_change": "wait", "auto_apply": True})]):
        simulation = Simulation(policy=with_keys(Policy(), keys), keys=keys)
        for each in first:
            simulation.decide(each, at("06-01"))
        bought_and_cancelled(simulation)
        assert simulation.figures() == {ACCOUNT: Figures(due=80 * EURO)}


def test_keys_that_are_not_given_count_as_they_were_set() -> None:
    simulation = Simulation(policy=Policy(), keys={"unpaid_change": "wait"})
    simulation.decide(policy_set({"auto_apply": False, "unpaid_change": "never"}), at("06-01"))
    bought_and_cancelled(simulation)
    [figures] = simulation.figures().values()
    assert (figures.available, figures.due) == (121 * EURO, 80 * EURO)


def test_one_key_of_refills_replaces_all_of_them() -> None:
    keys = {"refill_threshold": None}
    simulation = Simulation(policy=with_keys(Policy(), keys), keys=keys)
    simulation.decide(policy_set({"refill_threshold": 1, "refill_amount": 2, "currency": "EUR"}), at("06-01"))
    [version] = simulation.state.changed("policies")
    assert version.keys == {}


def test_the_widest_policy_is_learned_from_what_was_decided() -> None:
    simulation = Simulation(policy=Policy(), keys={"credit_as": "balance"})
    was = {"unpaid_change": "never", "expires_after_days": 3, "credit_as": "line_item"}
    narrower = {"set_by": {"expires_after_days": "s1"}}
    simulation.decide(message("c1", "06-02", cancelled("b1")), at("06-02"), {**was, **narrower})
    assert simulation.policy == Policy(unpaid_change="never")


def test_none_is_what_counts_where_nobody_says_anything() -> None:
    set_otherwise = Policy(auto_apply=False, expires_after_days=30)
    assert with_keys(set_otherwise, {"auto_apply": None, "expires_after_days": None}) == Policy()


def test_grants_begin_and_expire_at_their_own_times() -> None:
    simulation = Simulation(policy=Policy())
    simulation.decide(granted("g1", "06-01", "06-05", "06-09"), at("06-01"))
    assert simulation.figures() == {}
    events = simulation.pass_time(at("06-20"))
    assert [(type(each.body), each.occurred_at) for each in events] == [
        (CreditIssued, at("06-05")),
        (CreditExpired, at("06-09")),
    ]
    expected = Figures(given={"granted": 50 * EURO}, expired=50 * EURO)
    assert simulation.figures() == {ACCOUNT: expected}


def test_time_passes_between_messages_in_every_account() -> None:
    simulation = Simulation(policy=Policy())
    team = Owner("team", "t7")
    simulation.decide(granted("g1", "06-01", "06-01", "06-09", team), at("06-01"))
    simulation.decide(granted("g2", "06-02", "06-02", "06-12", team), at("06-02"))
    handle(simulation, "f1", "06-10", invoice("i1", line("l1", "80.00")))
    [figures] = [each for key, each in simulation.figures().items() if key.owner == team]
    assert (figures.available, figures.expired) == (50 * EURO, 50 * EURO)


def test_what_has_expired_before_it_came_expires_with_the_next_moment() -> None:
    simulation = Simulation(policy=Policy())
    simulation.decide(granted("g1", "06-01", "06-01", "06-05"), at("06-10"))
    simulation.pass_time(at("06-10") + timedelta(seconds=1))
    assert simulation.figures()[ACCOUNT].expired == 50 * EURO


def test_a_conflict_changes_nothing() -> None:
    simulation = Simulation(policy=Policy())
    handle(simulation, "f1", "06-01", invoice("i1", line("l1", "80.00")))
    other = handle(simulation, "f2", "06-02", invoice("i1", line("l1", "90.00")))
    assert other.decision.outcome == "conflict"
    assert simulation.figures() == {ACCOUNT: Figures(due=80 * EURO)}
    again = handle(simulation, "f2", "06-03", invoice("i2", line("l1", "5.00")))
    assert again.decision.outcome == "recorded"


def test_a_message_on_which_the_code_fails_is_parked_and_changes_nothing() -> None:
    simulation = Simulation(policy=Policy())
    broken = Mock(side_effect=RuntimeError("a defect"))
    with patch.dict(HANDLERS, {InvoiceFinalized: broken}):
        decision = handle(simulation, "f1", "06-01", invoice("i1", line("l1", "80.00"))).decision
    assert (decision.outcome, decision.facts) == ("parked", {"problem": "RuntimeError: a defect"})
    assert (decision.subject_kind, decision.subject_id) == ("invoice", "i1")
    assert simulation.figures() == {}


def test_sums_and_differences_of_figures() -> None:
    one = Figures(available=5, given={"granted": 7}, used=2)
    other = Figures(available=1, given={"granted": 7, "prepaid": 3}, due=4)
    assert add_figures(one, other) == Figures(available=6, given={"granted": 14, "prepaid": 3}, used=2, due=4)
    assert add_figures(one, other, -1) == Figures(available=4, given={"prepaid": -3}, used=2, due=-4)
