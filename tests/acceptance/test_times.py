"""Times at the ends of what can be said: outside in UTC they are refused, inside all that is published can be read."""

import json
from datetime import datetime
from typing import Any

import pytest

from tests.acceptance.accounts import checked_accounts
from tests.acceptance.facts import EXAMPLES, fact, owner
from tests.acceptance.publishing import Place, Sending
from tests.acceptance.service import Service
from tests.unit.time_fields import TimeField, time_fields

OUTSIDE, OTHERS, EDGES = "times-outside", "times-others", "times-edges"
TOO_EARLY, TOO_LATE = "1900-01-01T00:00:00+14:00", "9998-12-31T23:59:59-12:00"
FIRST, LAST = "1900-01-01T00:00:00Z", "9998-12-31T23:59:59.999999Z"
FIELDS = time_fields()
BAD = [(field, time) for field in FIELDS for time in (TOO_EARLY, TOO_LATE)]


def sent_bad(n: int, field: TimeField, time: str) -> Sending:
    """A message with a time that another calendar year would hold."""
    said = field.holding(time) | {"tenant_id": OUTSIDE, "event_id": f"bad-{n}"}
    return Sending(field.topic, json.dumps(said).encode())


def neighbours(n: int) -> list[Sending]:
    """An invoice of somebody's own, every second one of another tenant, and the cancellation of what it bills."""
    by, booking_id, tenant = owner(n), f"b{n}", (OUTSIDE, OTHERS)[n % 2]
    lines = [EXAMPLES["invoice-finalized"]["lines"][0] | {"booking_id": booking_id}]
    billed = fact("invoice-finalized", tenant, f"billed-{n}", invoice_id=f"i{n}", lines=lines, owner=by)
    return [billed, fact("booking-cancelled", tenant, f"cancelled-{n}", booking_id=booking_id, owner=by)]


@pytest.fixture(scope="module")
def places(service: Service) -> list[Place]:
    """Where each message with a bad time lies, each with neighbours around it."""
    # Handled before, so that it is the cancellation that gives the credit.
    service.publish(neighbours(n)[0] for n in range(len(BAD)))
    service.settle(within_s=120)
    sent = [
        each for n, (field, time) in enumerate(BAD) for each in (sent_bad(n, field, time), neighbours(n)[1])
    ]
    # Of plain envelopes the time stands in a header.
    headers = (("ce_id", b"in-header"), ("ce_time", TOO_EARLY.encode()))
    body = {**EXAMPLES["booking-cancelled"], "tenant_id": OUTSIDE}
    del body["occurred_at"]
    sent.append(Sending("booking-cancelled", json.dumps(body).encode(), headers=headers))
    found = service.publish(sent)
    service.settle(within_s=120)
    return [*found[:-1:2], found[-1]]


def test_each_is_dead_lettered_with_the_name_of_its_field(places: list[Place], service: Service) -> None:
    reasons = {}
    for dead_letter in service.events.dead_letters():
        said = {
            name: (value or b"").decode() for name, value in dead_letter.headers if name.startswith("avoir-")
        }
        place = Place(said["avoir-topic"], int(said["avoir-partition"]), int(said["avoir-offset"]))
        reasons[place] = said["avoir-reason"]
    wanted = [f'{field.name}: not in the years 1900 to 9998 in UTC: "{time}"' for field, time in BAD]
    wanted.append(f'occurred_at: not in the years 1900 to 9998 in UTC: "{TOO_EARLY}"')
    assert [reasons[place] for place in places] == wanted


def test_neighbours_are_handled_and_nothing_comes_of_the_others(
    places: list[Place], service: Service
) -> None:
    for first, tenant in enumerate((OUTSIDE, OTHERS)):
        events = service.events.of(tenant)
        checked_accounts(events)
        issued = [each.body for each in events if each.topic == "credit-issued"]
        assert sorted(body["caused_by"]["event_id"] for body in issued) == sorted(
            f"cancelled-{n}" for n in range(first, len(BAD), 2)
        )
        assert not [each for each in events if each.topic not in ("credit-issued", "credit-balance")]


def at_the_edges() -> list[Sending]:
    """Facts and commands with the first and the last time that can be said, by every field that has one."""
    period = {"start": FIRST, "end": LAST}
    booked = {"line_id": "l1", "kind": "booking", "booking_id": "b1", "amount": "100.00", "period": period}
    sold = {"line_id": "l2", "kind": "prepaid", "amount": "21.00", "expires_at": LAST}
    plan = {"line_id": "l1", "kind": "plan", "plan_id": "p1", "amount": "121.00", "period": period}
    others: dict[str, Any] = {"invoice_id": "i2", "number": "N-i2", "lines": [plan]}
    half = {"billed_period": period, "remaining_period": {"start": FIRST, "end": "2025-01-01T00:00:00Z"}}
    left_out = {"billed_price": None, "remaining_price": None, "currency": None}
    return [
        fact("invoice-finalized", EDGES, "billed", occurred_at=FIRST, lines=[booked, sold]),
        fact("booking-shortened", EDGES, "shortened", **half, **left_out),
        fact("invoice-finalized", EDGES, "plan", occurred_at=FIRST, **others),
        fact("plan-cancelled", EDGES, "ended", effective_at="9000-01-01T00:00:00Z", unused="prorate"),
        fact("grant-credit", EDGES, "given", occurred_at=FIRST, effective_at=FIRST, expires_at=LAST),
        fact("grant-credit", EDGES, "to-come", effective_at="9998-01-01T00:00:00Z", expires_at=LAST),
    ]


def test_all_that_is_published_at_the_edges_can_be_read_by_its_own_schema(service: Service) -> None:
    days = {"proration": "days", "time_zone": "Pacific/Kiritimati", "expires_after_days": 36_500}
    service.publish([fact("set-credit-policy", EDGES, "policy", occurred_at=FIRST, policy=days)])
    service.settle(within_s=120)
    service.publish(at_the_edges())
    service.settle(within_s=120)
    events = service.events.of(EDGES)
    checked_accounts(events)
    issued = {each.body["source"]: each.body for each in events if each.topic == "credit-issued"}
    assert set(issued) == {"prepaid", "booking_shortened", "plan_cancelled", "granted"}
    assert issued["prepaid"]["effective_at"] == FIRST
    assert issued["prepaid"]["expires_at"] == issued["granted"]["expires_at"] == LAST
    assert datetime.fromisoformat(issued["booking_shortened"]["expires_at"]).year == 2125
    assert service.ask("verify", "--tenant", EDGES)["differences"] == 0
    service.ask("statement", "user/u1", "--tenant", EDGES)
