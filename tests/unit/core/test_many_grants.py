"""One movement over many grants: several events and applications of a bounded size, and the same balances."""

from itertools import pairwise
from typing import Any

import pytest

from avoir.core.effects import apply as apply_module
from avoir.core.effects.apply import MAX_SLICES
from avoir.core.model.events import (
    CreditApplied,
    CreditDrawn,
    CreditRefillRequested,
    CreditRefunded,
    CreditReinstated,
    CreditReserved,
)
from avoir.core.model.policy import Policy
from avoir.core.state.state import State
from avoir.wire.outgoing import event_record
from avoir_events import EVENTS, read
from tests.unit.core.at_rest import assert_at_rest
from tests.unit.core.commands import drawn, granted, pay_out, undo, use_on
from tests.unit.core.test_use import bill
from tests.unit.core.world import World, invoice, line, message, rejected, rows, voided

CENTS = 13_000
CENT = 10_000
LIMIT = 900 * 1024


@pytest.fixture(scope="module")
def cents() -> State:
    """One account with 13,000 grants of a cent each."""
    world = World(policy=Policy(auto_apply=False))
    for n in range(2):
        sold = [line(f"l{k}", "0.01", kind="prepaid") for k in range(CENTS // 2)]
        world.decide(f"f{n}", "06-01", invoice(f"prepaid-{n}", *sold, paid="65"))
    assert world.available() == CENTS / 100
    return world.state


def assert_in_bounds(world: World, kind: type, count: int) -> list[Any]:
    """The bodies of one kind: of so many grants together, each of a bounded size, one right after the other."""
    events = [event for event in world.events if isinstance(event.body, kind)]
    bodies: list[Any] = [event.body for event in events]
    assert all(0 < len(body.slices) <= MAX_SLICES for body in bodies)
    assert all(body.amount == sum(part.amount for part in body.slices) for body in bodies)
    named = [part.grant_id for body in bodies for part in body.slices]
    assert len(named) == len(set(named)) == count
    assert all(second.seq == first.seq + 1 for first, second in pairwise(events) if first.seq and second.seq)
    for event in events:
        record = event_record(event, "/avoir")
        assert len(record.value) < LIMIT
        read(EVENTS[record.topic], record.value)
    return bodies


@pytest.mark.slow
def test_a_draw_over_13_000_grants_is_told_by_events_of_a_bounded_size(cents: State) -> None:
    world = World(state=cents.fork())
    assert world.decide("d", "06-02", drawn("130")).facts["drawn"] == "130.00"
    bodies = assert_in_bounds(world, CreditDrawn, CENTS)
    assert len(bodies) == CENTS / MAX_SLICES == len({body.draw_id for body in bodies})
    assert sum(body.amount for body in bodies) == sum(body.asked for body in bodies) == CENTS * CENT
    assert [event.available for event in world.events] == [
        (CENTS - MAX_SLICES * n) * CENT for n in range(1, len(bodies) + 1)
    ]
    assert world.balance() == (0, 0)


@pytest.mark.slow
def test_a_partial_draw_asks_for_more_than_it_gets_in_its_last_event_only(cents: State) -> None:
    world = World(state=cents.fork())
    world.decide("d", "06-02", drawn("140.005", partial=True))
    *full, last = assert_in_bounds(world, CreditDrawn, CENTS)
    assert all(body.asked == body.amount for body in full)
    assert last.asked - last.amount == 10_005_000


@pytest.mark.slow
def test_a_refund_over_13_000_grants_is_told_by_events_of_a_bounded_size(cents: State) -> None:
    world = World(state=cents.fork())
    world.decide("p", "06-02", pay_out("130", reference="gateway refund 1"))
    bodies = assert_in_bounds(world, CreditRefunded, CENTS)
    assert {body.reference for body in bodies} == {"gateway refund 1"}
    assert sum(body.amount for body in bodies) == CENTS * CENT
    assert world.balance() == (0, 0)


@pytest.mark.slow
def test_an_invoice_that_takes_13_000_grants_has_applications_of_a_bounded_size(cents: State) -> None:
    world = World(state=cents.fork())
    world.decide("f", "06-02", invoice("i9", line("l1", "200"), auto_apply=True))
    bodies = assert_in_bounds(world, CreditApplied, CENTS)
    assert len({body.application_id for body in bodies}) == len(bodies) == CENTS / MAX_SLICES
    dues = [200_000_000 - MAX_SLICES * CENT * n for n in range(1, len(bodies) + 1)]
    assert [body.amount_due for body in bodies] == dues
    stored = rows(world.state.applications)
    assert {each.key.id: len(each.slices) for each in stored} == {
        body.application_id: MAX_SLICES for body in bodies
    }
    assert (world.due("i9"), world.balance()) == (70, (0, 0))


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """No more than three grants an event, so that few grants are many."""
    monkeypatch.setattr(apply_module, "MAX_SLICES", 3)


def ten_grants(policy: Policy | None = None) -> World:
    """A world in which one account has ten grants of 1.00."""
    world = World(policy=policy or Policy(auto_apply=False))
    for n in range(10):
        world.decide(f"g{n}", "06-01", granted("1"))
    return world


def applied_ids(world: World) -> list[str]:
    return [str(body.application_id) for body in world.bodies(CreditApplied)]


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("say", [undo, rejected])
def test_each_part_is_an_application_that_is_undone_by_itself(say: Any) -> None:
    world = ten_grants()
    world.handle(bill("i1", "06-02"))
    world.decide("u", "06-03", use_on("i1", "8"))
    first, second, third = applied_ids(world)
    assert world.decide("back", "06-04", say(second)).reason == "recorded"
    (body,) = world.bodies(CreditReinstated)
    assert (str(body.application_id), body.amount, body.amount_due) == (second, 3_000_000, 95_000_000)
    assert (world.applied("i1"), world.balance()) == (5, (5, 0))
    world.decide("all", "06-05", voided("i1"))
    undone = [str(body.application_id) for body in world.bodies(CreditReinstated)]
    assert undone == [second, *sorted([first, third])]
    assert world.balance() == (10, 0)
    assert_at_rest(world)


@pytest.mark.usefixtures("few")
def test_what_is_reserved_under_one_id_is_used_and_released_as_one() -> None:
    world = ten_grants()
    world.decide("r", "06-02", use_on("i1", "10"))
    of_id: dict[str, int] = {}
    for body in world.bodies(CreditReserved):
        of_id[str(body.application_id)] = of_id.get(str(body.application_id), 0) + 1
    assert list(of_id.values()) == [3, 3, 3, 1]
    first, second, third, _ = of_id
    world.decide("back", "06-03", undo(second))
    (released,) = world.bodies(CreditReinstated)
    assert (str(released.application_id), len(released.slices)) == (second, 3)
    world.handle(message("f", "06-04", invoice("i1", line("l1", "4"))))
    assert [(body.amount, body.by) for body in world.bodies(CreditApplied)] == [
        (3_000_000, "reservation"),
        (1_000_000, "reservation"),
    ]
    assert applied_ids(world) == [first, third]
    assert (world.due("i1"), world.balance()) == (0, (6, 0))
    assert_at_rest(world)


def test_what_was_reserved_and_applied_under_one_id_before_is_told_in_bounds_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = ten_grants()
    world.decide("r1", "06-02", use_on("i1", "4"))
    world.decide("r2", "06-02", use_on("i2", "4"))
    monkeypatch.setattr(apply_module, "MAX_SLICES", 3)
    reserved, reserved_later = world.application_id("r1"), world.application_id("r2")
    world.decide("back", "06-03", undo(reserved))
    assert [len(body.slices) for body in world.bodies(CreditReinstated)] == [3, 1]
    world.handle(message("f", "06-04", invoice("i2", line("l1", "4"))))
    first, second = world.bodies(CreditApplied)
    assert (str(first.application_id), len(first.slices)) == (reserved_later, 3)
    assert second.application_id != first.application_id
    assert (world.due("i2"), world.balance()) == (0, (6, 0))
    assert_at_rest(world)


def test_an_application_of_many_grants_made_before_is_undone_in_bounds_as_a_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = ten_grants()
    world.handle(bill("i1", "06-02"))
    world.decide("u", "06-03", use_on("i1", "8"))
    monkeypatch.setattr(apply_module, "MAX_SLICES", 3)
    world.decide("back", "06-04", undo(world.application_id("u")))
    undone = world.bodies(CreditReinstated)
    assert [len(body.slices) for body in undone] == [3, 3, 2]
    assert {(str(body.application_id), body.amount_due) for body in undone} == {
        (world.application_id("u"), 100_000_000)
    }
    assert (world.applied("i1"), world.balance()) == (0, (10, 0))


def test_a_refill_is_asked_once_for_a_draw_of_many_events(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apply_module, "MAX_SLICES", 3)
    refilled = Policy(refill_threshold=9_000_000, refill_amount=5_000_000, refill_currency="EUR")
    world = ten_grants(refilled)
    world.decide("d", "06-02", drawn("7"))
    assert len(world.bodies(CreditDrawn)) == 3
    assert len(world.bodies(CreditRefillRequested)) == 1
