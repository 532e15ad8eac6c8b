"""One movement over more grants than an event names: several events and applications, for the broker and the books."""

from decimal import Decimal
from typing import Any

import pytest

from avoir_events.event_parts import MAX_SLICES
from tests.acceptance.accounts import checked_accounts
from tests.acceptance.events import Heard
from tests.acceptance.facts import JUNE_2, OWNER, fact, owner
from tests.acceptance.publishing import Sending
from tests.acceptance.service import Service

TENANT, NEIGHBOUR = "many-grants", "many-grants-neighbour"
PARTS = 2
CENTS = PARTS * MAX_SLICES
DRAWN = MAX_SLICES + 50
OTHER = owner("many-applied")


def sold(event_id: str, cents: int, to: dict[str, str]) -> Sending:
    """A paid invoice that sells a grant of a cent with each of its lines."""
    lines = [{"line_id": f"l{n}", "kind": "prepaid", "amount": "0.01"} for n in range(cents)]
    total = f"{cents // 100}.{cents % 100:02d}"
    said = {"invoice_id": event_id, "number": event_id, "lines": lines, "total": total, "amount_paid": total}
    return fact("invoice-finalized", TENANT, event_id, owner=to, **said)


def neighbours(name: str) -> list[Sending]:
    """Somebody else's invoice and cancellation, which count in any order."""
    by = {"owner": owner(name)}
    line = {"line_id": "l1", "kind": "booking", "booking_id": name, "amount": "121.00"}
    billed = fact("invoice-finalized", NEIGHBOUR, f"{name}-billed", invoice_id=name, lines=[line], **by)
    return [billed, fact("booking-cancelled", NEIGHBOUR, f"{name}-cancelled", booking_id=name, **by)]


@pytest.fixture(scope="module")
def events(service: Service) -> list[Heard]:
    """What came of a draw over many grants, and of an application over many that was rejected in part."""
    service.publish([*neighbours("a"), sold("s1", DRAWN, OWNER), *neighbours("b"), sold("s2", CENTS, OTHER)])
    service.settle(within_s=120)
    drawn = fact("draw-credit", TENANT, "draw", amount=f"{DRAWN / 100:.2f}", reference="all of it")
    bill = [{"line_id": "l1", "kind": "other", "amount": "20.00"}]
    said = {"invoice_id": "taken", "number": "taken", "lines": bill, "total": "20.00", "amount_paid": "0.00"}
    taken = fact("invoice-finalized", TENANT, "taken", owner=OTHER, occurred_at=JUNE_2, **said)
    service.publish([*neighbours("c"), drawn, taken, *neighbours("d")])
    service.settle(within_s=120)
    second = applied(service)[1]["application_id"]
    service.publish([fact("credit-application-rejected", TENANT, "back", application_id=second)])
    service.publish(neighbours("e"))
    service.settle(within_s=120)
    return service.events.of(TENANT)


def applied(service: Service) -> list[dict[str, Any]]:
    return [each.body for each in service.events.of(TENANT, "credit-applied")]


def test_a_draw_is_published_by_events_that_the_broker_takes(events: list[Heard], service: Service) -> None:
    assert service.ask("status")["outbox"]["refused"] == 0
    drawn = [each.body for each in events if each.topic == "credit-drawn"]
    assert [len(body["slices"]) for body in drawn] == [MAX_SLICES, DRAWN - MAX_SLICES]
    assert sum(Decimal(body["amount"]) for body in drawn) == Decimal(DRAWN) / 100
    assert sum(Decimal(body["asked"]) for body in drawn) == Decimal(DRAWN) / 100
    assert len({part["grant_id"] for body in drawn for part in body["slices"]}) == DRAWN
    assert drawn[-1]["balance"] == {"available": "0.00", "reserved": "0.00"}


def test_an_application_that_is_rejected_in_part_comes_back_in_part(events: list[Heard]) -> None:
    parts = [each.body for each in events if each.topic == "credit-applied"]
    assert [len(body["slices"]) for body in parts] == [MAX_SLICES] * PARTS
    (undone,) = [each.body for each in events if each.topic == "credit-reinstated"]
    assert undone["application_id"] == parts[1]["application_id"]
    assert (undone["amount"], undone["amount_due"]) == ("5.00", "15.00")


def test_the_accounts_add_up_for_a_consumer_and_for_the_books(events: list[Heard], service: Service) -> None:
    checked_accounts(events)
    assert service.ask("verify", "--tenant", TENANT)["differences"] == 0
    statement = service.ask("statement", "user/u1", "--tenant", TENANT)
    (account,) = statement["accounts"]
    assert account["closing"] == {"available": "0.00", "reserved": "0.00"}
    explained = service.deployment.call("explain", "draw", "--tenant", TENANT)
    assert f"{DRAWN / 100:.2f} EUR" in explained


def test_neighbours_are_handled_meanwhile(events: list[Heard], service: Service) -> None:
    issued = service.events.of(NEIGHBOUR, "credit-issued")
    assert sorted(each.body["line_item"]["for"]["booking_id"] for each in issued) == list("abcde")
