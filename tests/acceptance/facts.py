"""Facts and commands to publish: one complete example of each, with the fields changed that a test is about."""

from typing import Any

from tests.acceptance.publishing import Sending, sending

OWNER = {"type": "user", "id": "u1"}
ADMIN = {"type": "admin", "id": "a1"}
JUNE_1, JUNE_2, JUNE_5, JULY_1 = (f"2025-{day}T00:00:00Z" for day in ("06-01", "06-02", "06-05", "07-01"))

EXAMPLES: dict[str, dict[str, Any]] = {
    "invoice-finalized": {
        "occurred_at": JUNE_1,
        "invoice_id": "i1",
        "number": "N-i1",
        "owner": OWNER,
        "currency": "EUR",
        "finalization": "automatic",
        "lines": [
            {"line_id": "l1", "kind": "booking", "booking_id": "b1", "amount": "100.00", "tax": "21.00"}
        ],
        "total": "121.00",
        "amount_paid": "121.00",
    },
    "booking-cancelled": {
        "occurred_at": JUNE_2,
        "booking_id": "b1",
        "owner": OWNER,
        "changed_by": "customer",
    },
    "booking-shortened": {
        "occurred_at": JUNE_2,
        "booking_id": "b1",
        "owner": OWNER,
        "changed_by": "customer",
        "billed_price": "121.00",
        "remaining_price": "60.50",
        "currency": "EUR",
    },
    "plan-cancelled": {
        "occurred_at": JUNE_2,
        "plan_id": "p1",
        "owner": OWNER,
        "effective_at": JUNE_5,
        "changed_by": "customer",
        "unused": "whole_periods",
    },
    "payment-recorded": {
        "occurred_at": JUNE_5,
        "payment_id": "pay1",
        "owner": OWNER,
        "amount": "121.00",
        "currency": "EUR",
        "method": "card",
        "invoice_ids": ["i1"],
    },
    "payment-reversed": {
        "occurred_at": JULY_1,
        "reversal_id": "r1",
        "payment_id": "pay1",
        "amount": "121.00",
        "currency": "EUR",
        "reason": "chargeback",
    },
    "invoice-voided": {"occurred_at": JULY_1, "invoice_id": "i1", "reason": "issued twice"},
    "credit-application-rejected": {
        "occurred_at": JULY_1,
        "application_id": "none",
        "reason": "invoice already closed",
    },
    "grant-credit": {
        "occurred_at": JUNE_1,
        "actor": ADMIN,
        "owner": OWNER,
        "amount": "100.00",
        "currency": "EUR",
        "reason": "goodwill",
    },
    "apply-credit": {
        "occurred_at": JUNE_5,
        "actor": ADMIN,
        "owner": OWNER,
        "invoice_id": "i1",
        "currency": "EUR",
        "amount": None,
        "grant_id": None,
    },
    "reinstate-credit": {
        "occurred_at": JULY_1,
        "actor": ADMIN,
        "application_id": "none",
        "reason": "wrong invoice",
    },
    "void-credit": {
        "occurred_at": JULY_1,
        "actor": ADMIN,
        "grant_id": "none",
        "reason": "granted by mistake",
    },
    "refund-credit": {
        "occurred_at": JULY_1,
        "actor": ADMIN,
        "owner": OWNER,
        "amount": "20.00",
        "currency": "EUR",
        "grant_id": None,
        "reference": "gateway refund 4711",
    },
    "draw-credit": {
        "occurred_at": JUNE_5,
        "actor": ADMIN,
        "owner": OWNER,
        "amount": "10.00",
        "currency": "EUR",
        "allow_partial": False,
        "reference": "usage 17",
    },
    "set-credit-policy": {
        "occurred_at": JUNE_1,
        "actor": ADMIN,
        "scope": {"tenant": True},
        "policy": {"auto_apply": False},
    },
}


def body(topic: str, tenant: str, event_id: str, **fields: Any) -> dict[str, Any]:
    """The value of an example with these fields changed."""
    return {"event_id": event_id, "tenant_id": tenant, **EXAMPLES[topic], **fields}


def fact(topic: str, tenant: str, event_id: str, **fields: Any) -> Sending:
    """An example to publish, with these fields changed."""
    return sending(topic, body(topic, tenant, event_id, **fields))


def owner(number: int | str) -> dict[str, str]:
    """A user."""
    return {"type": "user", "id": f"u{number}"}


def line(booking_id: str, amount: str, line_id: str = "l1") -> dict[str, str]:
    """A line that bills a booking, without tax."""
    return {"line_id": line_id, "kind": "booking", "booking_id": booking_id, "amount": amount}
