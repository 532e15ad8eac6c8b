"""Declines that a fact of before can still turn around: they say so, and the credit that follows names them."""

from avoir.core.model.events import CreditDeclined, CreditIssued, CreditVoided, Document, Event
from avoir.core.model.policy import Policy
from tests.unit.core.commands import ADMIN, drawn, granted, take_away
from tests.unit.core.world import World, at, cancelled, invoice, line, message, payment, voided


def declined(world: World) -> list[Event]:
    return [event for event in world.events if isinstance(event.body, CreditDeclined)]


def is_final(world: World) -> list[bool]:
    return [event.body.final for event in declined(world)]  # type: ignore[union-attr]


def test_a_change_of_what_was_never_billed_is_overtaken_by_the_credit_that_its_invoice_brings() -> None:
    world = World()
    world.decide("c", "06-02", cancelled("b1"))
    (decline,) = declined(world)
    assert is_final(world) == [False]
    world.decide(
        "f", "06-01", invoice("i1", line("l1", "10", booking="b1"), line("l2", "20", booking="b1"), paid="30")
    )
    assert [issued.overtakes for issued in world.bodies(CreditIssued)] == [decline.event_id] * 2


def test_a_change_before_its_invoice_is_overtaken_by_an_earlier_invoice() -> None:
    world = World()
    world.decide("f1", "06-03", invoice("i1", line("l1", "10", booking="b1"), paid="10"))
    world.decide("c", "06-02", cancelled("b1"))
    (decline,) = declined(world)
    world.decide("f2", "06-01", invoice("i2", line("l1", "20", booking="b1"), paid="20"))
    (issued,) = world.bodies(CreditIssued)
    assert (decline.body.reason, issued.overtakes) == ("billed_after_change", decline.event_id)  # type: ignore[union-attr]


def test_a_change_to_what_is_unpaid_under_never_is_overtaken_by_a_payment_of_before() -> None:
    world = World(policy=Policy(unpaid_change="never"))
    world.decide("f", "06-01", invoice("i1", line("l1", "10", booking="b1")))
    world.decide("c", "06-03", cancelled("b1"))
    (decline,) = declined(world)
    assert is_final(world) == [False]
    world.decide("p", "06-02", payment("p1", "10", "i1"))
    (issued,) = world.bodies(CreditIssued)
    assert issued.overtakes == decline.event_id


def test_only_the_first_credit_after_a_decline_overtakes_it() -> None:
    world = World()
    world.decide("c", "06-02", cancelled("b1", fee="4", revision=1))
    world.decide("f", "06-01", invoice("i1", line("l1", "10", booking="b1"), paid="10"))
    world.decide("c2", "06-03", cancelled("b1", revision=2))
    first, second = world.bodies(CreditIssued)
    assert (first.overtakes, second.overtakes) == (declined(world)[0].event_id, None)


def test_what_no_fact_can_turn_around_is_final() -> None:
    world = World()
    world.decide("f", "06-01", invoice("i1", line("l1", "10", booking="b1"), paid="10"))
    world.decide("c", "06-02", cancelled("b1", by="admin", ask=False))
    world.decide("d", "06-02", drawn("1"))
    assert is_final(world) == [True, True]


def test_credit_that_ends_names_where_it_came_from() -> None:
    world = World(now=at("06-10"), policy=Policy(expires_after_days=10))
    world.decide("f", "06-01", invoice("i1", line("l1", "10", booking="b1"), paid="10"))
    world.decide("c", "06-02", cancelled("b1"))
    world.decide("p", "06-02", payment("p1", "5"))
    world.decide("g", "06-03", granted("7"))
    world.decide("v", "06-04", take_away(world.grant_id("g")))
    world.decide("v1", "06-05", voided("i1"))
    of_line, of_payment = Document(invoice_id="i1", line_id="l1"), Document(payment_id="p1")
    issued = [(each.source, each.document) for each in world.bodies(CreditIssued)]
    assert issued[:3] == [("booking_cancelled", of_line), ("overpayment", of_payment), ("granted", None)]
    taken = [(each.source, each.document) for each in world.bodies(CreditVoided)]
    assert taken == [("granted", None), ("booking_cancelled", of_line)]


def test_events_of_a_command_name_its_actor_also_those_that_come_later() -> None:
    world = World(now=at("06-01"))
    world.decide("g1", "06-01", granted("7"))
    world.decide("g2", "06-01", granted("8", effective="06-05", expires="06-09"))
    world.decide("d", "06-01", drawn("100"))
    world.decide("f", "06-01", invoice("i1", line("l1", "3")))
    world.now = at("06-10")
    world.sweep()
    assert [event.by for event in world.events] == [ADMIN, drawn("100").actor, None, ADMIN, None]


def test_a_change_that_is_declined_again_is_overtaken_by_what_its_last_decline_was() -> None:
    world = World()
    world.handle(message("c1", "06-02", cancelled("b1")))
    world.handle(message("c2", "06-03", cancelled("b1")))
    world.decide("f", "06-01", invoice("i1", line("l1", "10", booking="b1"), paid="10"))
    (issued,) = world.bodies(CreditIssued)
    assert issued.overtakes == declined(world)[1].event_id
