"""Policy values in force, and where they come from."""

from datetime import UTC, datetime
from typing import Any

from avoir.cli.policy.query import ValueInForce, values_in_force
from avoir.core.model.facts import Owner
from avoir.core.model.policy import Policy, PolicyVersion, ScopeKey, merge_policy_used, scopes_of

U1 = Owner("user", "u1")
INVOICE, OWNER, TENANT = scopes_of("t1", U1, "i1")


def version(event_id: str, scope: ScopeKey, day: int, **keys: Any) -> PolicyVersion:
    return PolicyVersion(scope, event_id, datetime(2025, 6, day, tzinfo=UTC), keys)


def in_force(day: int, *versions: PolicyVersion, widest: Policy | None = None) -> dict[str, tuple[Any, str]]:
    of_scopes = [[each for each in versions if each.key == scope] for scope in (INVOICE, OWNER, TENANT)]
    found = values_in_force(widest or Policy(), of_scopes, datetime(2025, 6, day, tzinfo=UTC))
    return {name(each): (each.value, each.set_by.event_id if each.set_by else "setting") for each in found}


def name(each: ValueInForce) -> str:
    return f"{each.key} {each.currency}" if each.currency else each.key


def test_without_any_message_the_settings_count() -> None:
    found = in_force(1, widest=Policy(auto_apply=False))
    assert found["auto_apply"] == (False, "setting")
    assert {where for _, where in found.values()} == {"setting"}


def test_the_narrowest_scope_counts_from_its_own_time_on() -> None:
    versions = (
        version("p1", TENANT, 1, auto_apply=False, credit_as="line_item"),
        version("p2", OWNER, 3, auto_apply=True),
        version("p3", INVOICE, 5, auto_apply=False),
        version("p4", OWNER, 7, auto_apply=None),
    )
    assert [in_force(day, *versions)["auto_apply"] for day in (1, 3, 5)] == [
        (False, "p1"),
        (True, "p2"),
        (False, "p3"),
    ]
    assert in_force(7, *versions[:2], versions[3])["auto_apply"] == (False, "p1")
    assert in_force(2, *versions)["credit_as"] == ("line_item", "p1")


def test_refills_are_told_for_each_currency_that_anybody_named() -> None:
    refill = {"refill_threshold": 5_000_000, "refill_amount": 50_000_000, "currency": "EUR"}
    widest = Policy(refill_threshold=1, refill_amount=2, refill_currency="USD")
    found = in_force(2, version("p1", TENANT, 1, **refill), widest=widest)
    assert found["refill_threshold EUR"] == (5_000_000, "p1")
    assert found["refill_threshold USD"] == (1, "setting")
    assert list(found).count("auto_apply") == 1


def test_of_a_value_that_two_tell_the_later_one_counts_with_who_set_it() -> None:
    one = {"credit_as": "line_item", "auto_apply": False, "set_by": {"credit_as": "e1", "auto_apply": "e2"}}
    assert merge_policy_used(one, {"credit_as": "balance"}) == {
        "credit_as": "balance",
        "auto_apply": False,
        "set_by": {"auto_apply": "e2"},
    }
