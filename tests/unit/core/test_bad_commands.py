"""Commands that cannot be carried out, or not again: each has a decision of its own, and changes no balance."""

from collections.abc import Callable

import pytest

from avoir.core.model.commands import Command
from avoir.core.model.events import CreditDeclined
from avoir.core.model.facts import Owner
from avoir.core.model.policy import Policy
from tests.unit.core.commands import drawn, granted, pay_out, policy, take_away, undo, use_on
from tests.unit.core.test_use import bill
from tests.unit.core.world import World, at, message, rows, voided

U2, TEAM = Owner("user", "u2"), Owner("team", "u1")
Ask = Callable[[World], Command]

HUGE = "999999999999.99"
NOBODYS = "00000000-0000-0000-0000-000000000001"


def asked_of() -> World:
    """100.00 of credit (`g`) with 20.00 reserved (`r`), an invoice of 100.00 with 10.00 of it applied (`u`)."""
    world = World(policy=Policy(auto_apply=False), now=at("06-10"))
    world.decide("g", "06-01", granted("100", reference="order 1"))
    world.decide("r", "06-01", use_on("i9", "20"))
    world.handle(bill("i1", "06-02"))
    world.decide("u", "06-02", use_on("i1", "10"))
    assert world.balance() == (70, 20)
    return world


ASKED: dict[str, tuple[Ask, Ask]] = {
    "grant": (lambda _: granted("5"), lambda _: granted("6")),
    "grant with a reference": (
        lambda _: granted("5", reference="order 2"),
        lambda _: granted("6", reference="order 2"),
    ),
    "use": (lambda _: use_on("i1", "5"), lambda _: use_on("i1", "6")),
    "reserve": (lambda _: use_on("i8", "5"), lambda _: use_on("i8", "6")),
    "reinstate": (
        lambda world: undo(world.application_id("u")),
        lambda world: undo(world.application_id("r")),
    ),
    "release": (lambda world: undo(world.application_id("r")), lambda world: undo(world.application_id("u"))),
    "void": (
        lambda world: take_away(world.grant_id("g")),
        lambda world: take_away(world.grant_id("g"), "another reason"),
    ),
    "refund": (lambda _: pay_out("5"), lambda _: pay_out("6")),
    "draw": (lambda _: drawn("5"), lambda _: drawn("6")),
    "policy": (lambda _: policy(auto_apply=True), lambda _: policy(auto_apply=False)),
}

AGAIN_UNDER_A_NEW_ID = {
    "grant": ("issued", "goodwill"),
    "grant with a reference": ("duplicate", "duplicate"),
    "use": ("applied", "command"),
    "reserve": ("recorded", "reserved"),
    "reinstate": ("declined", "unknown_application"),
    "release": ("declined", "unknown_application"),
    "void": ("declined", "insufficient_credit"),
    "refund": ("recorded", "refunded"),
    "draw": ("recorded", "drawn"),
    "policy": ("recorded", "policy_set"),
}


@pytest.mark.parametrize("what", ASKED)
def test_a_command_sent_twice_counts_once(what: str) -> None:
    world = asked_of()
    asked = message("x", "06-03", ASKED[what][0](world))
    assert world.handle(asked).outcome not in ("declined", "duplicate")
    balance, events = world.balance(), len(world.events)
    again = world.handle(asked)
    assert (again.outcome, again.facts) == ("duplicate", {"same": "event_id"})
    assert (world.balance(), len(world.events)) == (balance, events)


@pytest.mark.parametrize("what", ASKED)
def test_a_command_with_other_contents_under_the_same_id_is_a_conflict(what: str) -> None:
    world = asked_of()
    first, other = (make(world) for make in ASKED[what])
    world.decide("x", "06-03", first)
    balance, events = world.balance(), len(world.events)
    conflict = world.decide("x", "06-03", other)
    assert (conflict.outcome, conflict.reason, conflict.facts) == (
        "conflict",
        "conflict",
        {"same": "event_id"},
    )
    assert (world.balance(), len(world.events)) == (balance, events)


@pytest.mark.parametrize("what", ASKED)
def test_a_command_under_a_new_id_is_another_command(what: str) -> None:
    world = asked_of()
    command = ASKED[what][0](world)
    world.decide("x", "06-03", command)
    again = world.decide("y", "06-03", command)
    assert (again.outcome, again.reason) == AGAIN_UNDER_A_NEW_ID[what]


def test_a_refused_command_sent_again_is_a_duplicate_though_it_could_be_carried_out_by_now() -> None:
    world = World()
    asked = message("d", "06-02", drawn("5"))
    assert world.handle(asked).reason == "insufficient_credit"
    world.decide("g", "06-01", granted("10"))
    assert world.handle(asked).outcome == "duplicate"
    assert world.decide("d2", "06-02", drawn("5")).outcome == "recorded"


REFUSED: dict[str, tuple[Ask, str]] = {
    "use of a grant that does not exist yet": (lambda _: use_on("i1", grant=NOBODYS), "unknown_grant"),
    "void of a grant that does not exist yet": (lambda _: take_away(NOBODYS), "unknown_grant"),
    "refund of a grant that does not exist yet": (lambda _: pay_out("5", grant=NOBODYS), "unknown_grant"),
    "reinstatement of what does not exist yet": (lambda _: undo(NOBODYS), "unknown_application"),
    "use by another owner": (lambda _: use_on("i1", owner=U2), "unknown_invoice"),
    "use by a team with the user's id": (lambda _: use_on("i1", owner=TEAM), "unknown_invoice"),
    "use of another owner's grant": (
        lambda world: use_on("i8", grant=world.grant_id("g"), owner=U2),
        "unknown_grant",
    ),
    "refund of another owner's grant": (
        lambda world: pay_out("5", grant=world.grant_id("g"), owner=U2),
        "unknown_grant",
    ),
    "refund by another owner": (lambda _: pay_out("5", owner=U2), "insufficient_credit"),
    "draw by another owner": (lambda _: drawn("5", owner=U2), "insufficient_credit"),
    "use in another currency": (lambda _: use_on("i1", currency="USD"), "currency_mismatch"),
    "use of a grant in another currency": (
        lambda world: use_on("i8", grant=world.grant_id("g"), currency="USD"),
        "currency_mismatch",
    ),
    "refund of a grant in another currency": (
        lambda world: pay_out("5", grant=world.grant_id("g"), currency="USD"),
        "currency_mismatch",
    ),
    "refund in another currency": (lambda _: pay_out("5", currency="USD"), "insufficient_credit"),
    "draw in another currency": (lambda _: drawn("5", currency="USD"), "insufficient_credit"),
    "huge draw": (lambda _: drawn(HUGE), "insufficient_credit"),
    "huge refund": (lambda _: pay_out(HUGE), "insufficient_credit"),
    "huge use on an invoice that is due": (lambda _: use_on("i1", HUGE), "insufficient_credit"),
    "huge use on an invoice to come": (lambda _: use_on("i8", HUGE), "insufficient_credit"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_carried_out_is_declined_published_and_changes_nothing(what: str) -> None:
    ask, reason = REFUSED[what]
    world = asked_of()
    before = [(each.key, each.available, each.reserved) for each in rows(world.state.grants)]
    decision = world.decide("x", "06-03", ask(world))
    assert (decision.outcome, decision.reason) == ("declined", reason)
    assert decision.would_change_it
    declined = world.bodies()[-1]
    assert isinstance(declined, CreditDeclined)
    assert declined.reason == reason
    # The decision keeps what was asked and who asked it, too: the event names the one, and nobody else needs the other.
    assert declined.facts.items() <= decision.facts.items()
    assert declined.asked["command"] == decision.topic
    assert [(each.key, each.available, each.reserved) for each in rows(world.state.grants)] == before


OTHER_TENANTS: dict[str, tuple[Ask, str, str]] = {
    "use": (lambda world: use_on("i1", grant=world.grant_id("g")), "declined", "unknown_grant"),
    "use of all there is": (lambda _: use_on("i1"), "declined", "insufficient_credit"),
    "void": (lambda world: take_away(world.grant_id("g")), "declined", "unknown_grant"),
    "refund": (lambda world: pay_out("5", grant=world.grant_id("g")), "declined", "unknown_grant"),
    "reinstate": (lambda world: undo(world.application_id("u")), "declined", "unknown_application"),
    "release": (lambda world: undo(world.application_id("r")), "declined", "unknown_application"),
    "draw": (lambda _: drawn("5"), "declined", "insufficient_credit"),
    "grant with a reference": (lambda _: granted("5", reference="order 1"), "issued", "goodwill"),
    "policy": (lambda _: policy(auto_apply=True), "recorded", "policy_set"),
}


@pytest.mark.parametrize("what", OTHER_TENANTS)
def test_nothing_crosses_from_one_tenant_to_another(what: str) -> None:
    ask, outcome, reason = OTHER_TENANTS[what]
    world = asked_of()
    decision = world.handle(message("x", "06-03", ask(world), tenant="t2"))
    assert (decision.outcome, decision.reason) == (outcome, reason)
    assert (world.balance(), world.due("i1")) == ((70, 20), 90)


def gone() -> World:
    """What `asked_of` has, with its grant voided, its invoice void and its reservation released."""
    world = asked_of()
    world.decide("release", "06-03", undo(world.application_id("r")))
    world.decide("v", "06-03", voided("i1"))
    world.decide("void", "06-03", take_away(world.grant_id("g")))
    assert world.balance() == (0, 0)
    return world


GONE: dict[str, tuple[Ask, str]] = {
    "use": (lambda _: use_on("i1"), "invoice_voided"),
    "use of the grant": (lambda world: use_on("i8", grant=world.grant_id("g")), "insufficient_credit"),
    "reinstate": (lambda world: undo(world.application_id("u")), "unknown_application"),
    "release": (lambda world: undo(world.application_id("r")), "unknown_application"),
    "void": (lambda world: take_away(world.grant_id("g")), "insufficient_credit"),
    "refund": (lambda world: pay_out("5", grant=world.grant_id("g")), "insufficient_credit"),
    "draw": (lambda _: drawn("5"), "insufficient_credit"),
}


@pytest.mark.parametrize("what", GONE)
def test_what_is_gone_cannot_be_used_again(what: str) -> None:
    ask, reason = GONE[what]
    world = gone()
    decision = world.decide("x", "06-04", ask(world))
    assert (decision.outcome, decision.reason) == ("declined", reason)
    assert world.balance() == (0, 0)


def test_a_grant_of_a_reference_stays_the_one_though_it_is_gone() -> None:
    world = gone()
    assert world.decide("x", "06-01", granted("100", reference="order 1")).outcome == "duplicate"
    assert world.decide("y", "06-04", granted("100", reference="order 1")).outcome == "conflict"


def test_a_huge_grant_is_kept_to_the_cent() -> None:
    world = World()
    world.decide("g", "06-01", granted(HUGE))
    world.decide("d", "06-02", drawn("999999999999.989999"))
    assert world.grant("g").available == 1


def test_in_a_currency_without_decimals_a_draw_still_goes_below_the_unit() -> None:
    world = World(policy=Policy(auto_apply=False))
    world.decide("g", "06-01", granted("100", currency="JPY"))
    world.decide("d", "06-02", drawn("0.5", currency="JPY"))
    world.handle(bill("i1", "06-02", "200", currency="JPY"))
    decision = world.decide("u", "06-03", use_on("i1", currency="JPY"))
    assert (decision.facts["available"], world.applied("i1")) == ("99", 99)
    assert world.balance(currency="JPY") == (0.5, 0)
