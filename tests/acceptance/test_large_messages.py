"""Invoices as large as they may be, all for one booking: what is too much is refused, and nobody waits for it."""

import json
from collections import Counter
from dataclasses import replace

from tests.acceptance.facts import body, fact, line, owner
from tests.acceptance.publishing import Sending
from tests.acceptance.service import Service

INVOICE, CANCELLED = "invoice-finalized", "booking-cancelled"
TENANT, OTHERS = "many-lines", "many-lines-others"
LINES = 10_000
INVOICES = 12


def invoice_of_many_lines(n: int) -> Sending:
    """A valid invoice of 10,000 lines for one booking: not 900 KB, since it says no more than it must."""
    lines = [{"line_id": f"{k}", "kind": "booking", "booking_id": "b1", "amount": "1"} for k in range(LINES)]
    said = body(
        INVOICE, TENANT, f"f{n}", invoice_id=f"i{n}", lines=lines, total=str(LINES), amount_paid=str(LINES)
    )
    return Sending(INVOICE, json.dumps(said, separators=(",", ":")).encode(), partition=0)


def billed(service: Service, tenant: str) -> dict[str, int]:
    """How many lines of each booking of a tenant gave credit."""
    issued = service.events.of(tenant, "credit-issued")
    return Counter(event.body["line_item"]["for"]["booking_id"] for event in issued)


def test_twelve_invoices_of_ten_thousand_lines_for_one_booking(service: Service) -> None:
    large = [invoice_of_many_lines(n) for n in range(INVOICES)]
    others = [f"other-{n}" for n in range(INVOICES)]
    for each, other in zip(large, others, strict=True):
        lines = [line(other, "121.00")]
        paid = {"owner": owner(other), "lines": lines, "total": "121.00", "amount_paid": "121.00"}
        # Of another tenant, behind each of them in the same partition.
        service.publish([each, replace(fact(INVOICE, OTHERS, other, invoice_id=other, **paid), partition=0)])
    service.settle(120)
    service.publish(
        fact(CANCELLED, OTHERS, f"c-{other}", owner=owner(other), booking_id=other) for other in others
    )
    service.publish([fact(CANCELLED, TENANT, "c1", booking_id="b1")])
    service.settle(120)

    assert billed(service, TENANT) == {"b1": LINES}
    assert billed(service, OTHERS) == dict.fromkeys(others, 1)
    listed = service.ask("dead-letters", "list", "--tenant", TENANT, "--limit", "1000")["dead_letters"]
    assert len(listed) == INVOICES - 1
    assert all("booking b1 would be billed on more than 10000 lines" in each["reason"] for each in listed)
