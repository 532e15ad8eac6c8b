"""`set-credit-policy`: whom a policy is for, from when it counts, and how a decision shows which one did."""

from datetime import timedelta
from itertools import permutations
from typing import Any

import pytest
from msgspec.structs import replace

from avoir.core.model.events import CreditIssued
from avoir.core.model.facts import Owner
from avoir.core.model.policy import Policy
from avoir.core.worth.proration import LATEST
from tests.unit.core.commands import drawn, granted, policy
from tests.unit.core.test_use import bill
from tests.unit.core.world import (
    U1,
    World,
    at,
    cancelled,
    invoice,
    line,
    message,
    payment,
    plan_cancelled,
    shortened,
)

U2 = Owner("user", "u2")


def with_credit(world: World | None = None) -> World:
    world = world or World()
    world.decide("g", "06-01", granted("10"))
    world.decide("g2", "06-01", granted("10", owner=U2))
    return world


def test_a_policy_is_recorded_with_whom_it_is_for() -> None:
    decision = World().decide("p", "06-01", policy(owner=U1, auto_apply=False))
    assert (decision.outcome, decision.reason) == ("recorded", "policy_set")
    keys = {"auto_apply": False}
    assert decision.facts == {"scope": "owner", "of": "user/u1", "keys": keys, "by": "admin/a1"}


SCOPES = {
    "the widest counts where nothing is said": ([], True, {}),
    "a tenant's over the widest": ([policy(auto_apply=False)], False, {"auto_apply": "p0"}),
    "an owner's over the tenant's": (
        [policy(auto_apply=False), policy(owner=U1, auto_apply=True)],
        True,
        {"auto_apply": "p1"},
    ),
    "an invoice's over the owner's": (
        [policy(owner=U1, auto_apply=False), policy(invoice="i1", auto_apply=True)],
        True,
        {"auto_apply": "p1"},
    ),
    "another owner's is none of it": ([policy(owner=U2, auto_apply=False)], True, {}),
    "another invoice's is none of it": ([policy(invoice="i2", auto_apply=False)], True, {}),
    "the later of one scope counts": (
        [policy(auto_apply=False), policy(auto_apply=True)],
        True,
        {"auto_apply": "p1"},
    ),
    "null goes back to the next wider scope": (
        [policy(auto_apply=False), policy(owner=U1, auto_apply=True), policy(owner=U1, auto_apply=None)],
        False,
        {"auto_apply": "p0"},
    ),
    "null of all scopes goes back to the widest": (
        [policy(auto_apply=False), policy(auto_apply=None)],
        True,
        {},
    ),
    "a policy of other keys leaves this one alone": (
        [policy(auto_apply=False), policy(expires_after_days=3)],
        False,
        {"auto_apply": "p0"},
    ),
}


@pytest.mark.parametrize("rule", SCOPES)
def test_the_narrowest_scope_counts_and_the_decision_names_its_version(rule: str) -> None:
    said, is_used, set_by = SCOPES[rule]
    world = with_credit()
    for n, each in enumerate(said):
        world.decide(f"p{n}", f"06-01T0{n}:00", each)
    decision = world.handle(bill("i1", "06-02"))
    assert world.applied("i1") == (10 if is_used else 0)
    assert decision.policy == {"auto_apply": is_used} | ({"set_by": set_by} if set_by else {})


def test_the_message_itself_counts_over_every_policy() -> None:
    world = with_credit()
    world.decide("p", "06-01", policy(invoice="i1", auto_apply=False))
    world.handle(bill("i1", "06-02", auto_apply=True))
    assert world.applied("i1") == 10


def test_another_tenants_policy_is_none_of_it() -> None:
    world = with_credit()
    world.handle(message("p", "06-01", policy(auto_apply=False), tenant="t2"))
    world.handle(bill("i1", "06-02"))
    assert world.applied("i1") == 10


def test_a_late_fact_is_judged_by_the_policy_of_its_time() -> None:
    world = with_credit()
    world.decide("off", "06-05", policy(auto_apply=False))
    world.decide("on", "06-10", policy(auto_apply=True))
    decisions = [
        world.handle(bill(f"i{n}", when)) for n, when in enumerate(["06-07", "06-05", "06-04", "06-11"])
    ]
    assert [each.policy["auto_apply"] for each in decisions] == [False, False, True, True]
    assert [each.policy.get("set_by", {}).get("auto_apply") for each in decisions] == [
        "off",
        "off",
        None,
        "on",
    ]


def test_versions_count_by_their_own_time_however_they_are_delivered() -> None:
    world = with_credit()
    world.decide("on", "06-10", policy(auto_apply=True))
    world.decide("off", "06-05", policy(auto_apply=False))
    world.handle(bill("i1", "06-11"))
    assert world.applied("i1") == 10


def test_what_was_decided_is_not_decided_again() -> None:
    world = with_credit()
    world.handle(bill("i1", "06-02"))
    world.decide("p", "06-01", policy(auto_apply=False))
    assert world.applied("i1") == 10


def test_credit_as_of_the_change_decides_whether_it_is_a_line_item() -> None:
    world = World()
    world.decide("p", "06-05", policy(credit_as="line_item"))
    for n, when in enumerate(["06-04", "06-06"]):
        world.handle(bill(f"i{n}", "06-01", paid="100.00"))
        world.decide(f"c{n}", when, cancelled(f"b-i{n}"))
    assert world.balance() == (100, 100)


def test_credit_that_waits_keeps_the_policy_of_its_change() -> None:
    world = World(now=at("06-20"))
    world.decide("p1", "06-01", policy(credit_as="line_item", expires_after_days=30))
    world.handle(bill("i1", "06-02"))
    world.decide("c", "06-03", cancelled("b-i1"))
    world.decide("p2", "06-04", policy(credit_as="balance", expires_after_days=None))
    world.decide("pay", "06-05", payment("pay", "100", "i1"))
    assert world.balance() == (0, 100)
    assert world.grant("pay").expires_at == at("07-05")


@pytest.mark.parametrize(("when", "expires"), [("06-04", None), ("06-05", "06-15"), ("06-09", "06-12")])
def test_credit_expires_as_the_policy_of_its_time_says(when: str, expires: str | None) -> None:
    world = World(now=at("06-10"))
    world.decide("p1", "06-05", policy(expires_after_days=10))
    world.decide("p2", "06-08", policy(owner=U1, expires_after_days=3))
    decision = world.decide("pay", when, payment("pay", "100"))
    found = world.grant("pay").expires_at
    assert found == (at(expires) if expires else None)
    version = {"06-04": None, "06-05": "p1", "06-09": "p2"}[when]
    assert decision.policy.get("set_by", {}).get("expires_after_days") == version


def test_never_is_the_policy_of_the_owner_who_was_billed() -> None:
    world = World()
    world.decide("p", "06-01", policy(owner=U2, unpaid_change="never"))
    world.handle(bill("i1", "06-02"))
    world.handle(bill("i2", "06-02", owner=U2))
    found = [world.decide(f"c{n}", "06-03", cancelled(f"b-i{n}")) for n in (1, 2)]
    assert [(each.outcome, each.reason) for each in found] == [("waiting", "unpaid"), ("declined", "unpaid")]
    assert found[1].policy["set_by"] == {"unpaid_change": "p"}


DAYS: dict[str, tuple[dict[str, Any], str, str, str, float]] = {
    "by time of 30 days": ({}, "06-01", "07-01", "06-16", 15 / 30),
    "by days, the day of the change counts as used": (
        {"proration": "days"},
        "06-01",
        "07-01",
        "06-16T12:00",
        14 / 30,
    ),
    "a zone ahead of UTC is on the next day already": (
        {"proration": "days", "time_zone": "Asia/Tokyo"},
        "05-31T15:00",
        "06-30T15:00",
        "06-16T15:01",
        13 / 30,
    ),
    "the month in which New York's clocks go forward has 31 days": (
        {"proration": "days", "time_zone": "America/New_York"},
        "03-01T05:00",
        "04-01T04:00",
        "03-10T03:59",
        22 / 31,
    ),
    "a minute later that day is over, and the next is not used": (
        {"proration": "days", "time_zone": "America/New_York"},
        "03-01T05:00",
        "04-01T04:00",
        "03-10T04:00",
        22 / 31,
    ),
    "a moment later the next day is used": (
        {"proration": "days", "time_zone": "America/New_York"},
        "03-01T05:00",
        "04-01T04:00",
        "03-10T04:00:00.000001",
        21 / 31,
    ),
    "the month in which its clocks go back has 30": (
        {"proration": "days", "time_zone": "America/New_York"},
        "11-01T04:00",
        "12-01T05:00",
        "11-03T04:59",
        28 / 30,
    ),
}


@pytest.mark.parametrize("rule", DAYS)
def test_a_running_plan_period_is_split_as_the_policy_says(rule: str) -> None:
    keys, start, end, effective, share = DAYS[rule]
    world = World(policy=Policy(auto_apply=False))
    if keys:
        world.decide("p", "01-01", policy(**keys))
    price = "930.00"
    plan = line("l1", price, plan="p1", period=(start, end))
    world.decide("f", start, invoice("i1", plan, paid=price))
    decision = world.decide("c", effective, plan_cancelled("p1", effective, "prorate"))
    assert world.credited("i1") == pytest.approx(930 * share, abs=0.005)
    assert decision.policy.get("set_by", {}).keys() == keys.keys()


def test_a_shortening_told_late_has_the_policy_of_its_time() -> None:
    world = World()
    world.decide("p", "06-05", policy(credit_as="line_item"))
    world.handle(bill("i1", "06-01", paid="100.00"))
    world.decide("s", "06-04", shortened("b-i1", prices=("100", "60")))
    assert world.balance() == (40, 0)
    world.decide("c", "06-06", cancelled("b-i1"))
    assert world.balance() == (40, 60)


def test_a_policy_told_twice_is_a_duplicate_and_with_other_contents_a_conflict() -> None:
    world = with_credit()
    assert world.decide("p", "06-01", policy(auto_apply=False)).outcome == "recorded"
    assert world.decide("p", "06-01", policy(auto_apply=False)).outcome == "duplicate"
    assert world.decide("p", "06-01", policy(auto_apply=True)).outcome == "conflict"
    world.handle(bill("i1", "06-02"))
    assert world.applied("i1") == 0


def test_the_amounts_of_a_policy_are_told_as_decimals() -> None:
    said = policy(refill_threshold="10.00", refill_amount=None, currency="EUR")
    decision = World().decide("p", "06-01", said)
    assert decision.facts["keys"] == {"refill_threshold": "10.00", "refill_amount": None, "currency": "EUR"}


def test_refill_keys_of_two_currencies_stand_side_by_side() -> None:
    world = World()
    for currency, threshold in {"EUR": "10.00", "USD": "5.00"}.items():
        world.decide(
            f"p-{currency}",
            "06-01",
            policy(refill_threshold=threshold, refill_amount="50.00", currency=currency),
        )
        world.decide(f"g-{currency}", "06-01", granted("20", currency=currency))
    used = [world.decide(f"d-{each}", "06-02", drawn("1", currency=each)) for each in ("EUR", "USD")]
    assert [each.policy["refill_threshold"] for each in used] == ["10.00", "5.00"]


@pytest.mark.parametrize("order", list(permutations(range(3))), ids=str)
def test_of_two_owners_invoices_the_first_by_finalization_says_whose_policy_counts(
    order: tuple[int, ...],
) -> None:
    world = World()
    world.decide("p", "05-01", policy(owner=U1, credit_as="line_item"))
    facts = [
        message("f1", "06-01", invoice("i1", line("l1", "10", booking="b1"), paid="10.00")),
        message("f2", "06-02", invoice("i2", line("l1", "10", booking="b1"), paid="10.00", owner=U2)),
        message("c", "06-03", replace(cancelled("b1"), owner=U2)),
    ]
    world.handle_all([facts[n] for n in order])
    assert (world.balance(U1), sum(world.balance(U2))) == ((0, 10), 10)


def test_an_invoice_that_brings_another_owners_policy_says_so() -> None:
    world = World()
    world.decide("p", "05-01", policy(owner=U1, credit_as="line_item"))
    assert "set_by" not in world.handle(message("c", "06-03", replace(cancelled("b1"), owner=U2))).policy
    billed = world.decide("f", "06-01", invoice("i1", line("l1", "10", booking="b1"), paid="10.00"))
    assert (billed.policy["credit_as"], billed.policy["set_by"]) == ("line_item", {"credit_as": "p"})


def test_a_payment_that_brings_credit_of_an_earlier_change_names_the_policy_of_that_change() -> None:
    world = World()
    world.decide("p", "05-01", policy(credit_as="line_item", expires_after_days=30))
    world.decide("f", "06-01", invoice("i1", line("l1", "10", booking="b1"), automatic=False))
    world.decide("c", "06-02", cancelled("b1"))
    used = world.decide("pay", "06-03", payment("pay1", "10", "i1")).policy
    assert (used["credit_as"], used["expires_after_days"]) == ("line_item", 30)
    assert used["set_by"] == {"credit_as": "p", "expires_after_days": "p"}


def test_credit_that_would_expire_after_the_last_moment_that_can_be_told_expires_then() -> None:
    world = World(policy=Policy(expires_after_days=36_500), now=LATEST)
    paid = message("p", "06-01", payment("p1", "10"))
    world.handle(replace(paid, occurred_at=LATEST - timedelta(days=36_501)))
    world.handle(replace(message("p2", "06-01", payment("p2", "10")), occurred_at=LATEST))
    expired, issued = world.grant("p"), world.grant("p2")
    assert (expired.expires_at, issued.expires_at) == (LATEST - timedelta(days=1), LATEST)


@pytest.mark.parametrize(
    ("zone", "changed", "expires"),
    [
        ("UTC", "03-20T09:00", "04-19T09:00"),
        ("Europe/Paris", "03-20T09:00", "04-19T08:00"),
        ("Europe/Paris", "10-20T09:00", "11-19T10:00"),
        ("Europe/Paris", "02-28T01:30", "03-30T01:30"),
        ("Europe/Paris", "09-26T00:30", "10-26T00:30"),
    ],
    ids=["in UTC", "clocks went forward", "clocks went back", "a time that is skipped", "the first of two"],
)
def test_credit_expires_at_the_same_wall_time_in_the_time_zone(zone: str, changed: str, expires: str) -> None:
    world = World()
    world.decide("p", "01-01", policy(expires_after_days=30, time_zone=zone))
    world.decide("f", "01-02", invoice("i1", line("l1", "10", booking="b1"), paid="15"))
    decision = world.decide("c", changed, cancelled("b1"))
    overpaid, issued = world.bodies(CreditIssued)
    assert issued.expires_at == at(expires)
    assert overpaid.expires_at == at("02-01")
    assert decision.policy["time_zone"] == zone
