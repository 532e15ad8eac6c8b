"""One complete, valid example of every message, by topic, in its wire form."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

OWNER: Final = {"type": "user", "id": "u1"}
GRANT_ID: Final = "7d9f4f3e-58a5-5c0e-9b43-0d7a2f0c6a11"
APPLICATION_ID: Final = "1f0c3a52-6b0e-5f0d-8a6f-3c5b9e2d4b22"
DRAW_ID: Final = "c2b8a6d4-91e7-5d3f-b0a8-6e4f1c7d9a33"

_COMMON: Final = {"event_id": "e1", "tenant_id": "t1", "occurred_at": "2026-06-01T00:00:00Z"}
_COMMAND: Final = _COMMON | {"actor": {"type": "admin", "id": "a1"}}
_CHANGE: Final = _COMMON | {"occurred_at": "2026-06-02T08:30:00Z", "owner": OWNER}
_EVENT: Final = {
    "event_id": "5b0a7d0e-3c1f-5e8e-9d57-2f8c4a6b1e00",
    "tenant_id": "t1",
    "occurred_at": "2026-06-02T08:30:00Z",
    "recorded_at": "2026-06-02T08:30:00.184223Z",
    "caused_by": {"topic": "booking-cancelled", "event_id": "e1", "by": None},
    "account": {"owner": OWNER, "currency": "EUR"},
    "epoch": 1,
    "seq": 12,
    "voids_from": None,
    "balance": {"available": "80.00", "reserved": "0.00"},
}
_LINE_FOR: Final = {"invoice_id": "i1", "line_id": "l1", "booking_id": "b1", "plan_id": None}
_DOCUMENT: Final = {"invoice_id": "i1", "line_id": "l1", "payment_id": None}
_SLICES: Final = [{"grant_id": GRANT_ID, "amount": "80.00", "source": "booking_cancelled"}]

_INVOICE: Final = _COMMON | {
    "invoice_id": "i1",
    "number": "INV-0001",
    "owner": OWNER,
    "currency": "EUR",
    "finalization": "automatic",
    "auto_apply_credit": None,
    "lines": [
        {
            "line_id": "l1",
            "kind": "booking",
            "booking_id": "b1",
            "period": {"start": "2026-05-30T09:00:00Z", "end": "2026-05-30T13:00:00Z"},
            "amount": "100.00",
            "tax": "21.00",
        },
        {
            "line_id": "l2",
            "kind": "plan",
            "plan_id": "p1",
            "period": {"start": "2026-06-01T00:00:00+02:00", "end": "2026-07-01T00:00:00+02:00"},
            "amount": "200.00",
            "tax": "42.00",
        },
        {
            "line_id": "l3",
            "kind": "prepaid",
            "amount": "50.00",
            "tax": "0.00",
            "expires_at": "2027-06-01T00:00:00Z",
        },
        {"line_id": "l4", "kind": "credit", "amount": "-20.00", "tax": "0.00", "credit_line_id": GRANT_ID},
        {"line_id": "l5", "kind": "other", "amount": "-10.00", "tax": "-2.10"},
    ],
    "total": "380.90",
    "amount_paid": "0.00",
}

_FACTS: Final[dict[str, dict[str, Any]]] = {
    "invoice-finalized": _INVOICE,
    "booking-cancelled": _CHANGE
    | {
        "booking_id": "b1",
        "revision": 3,
        "changed_by": "customer",
        "channel": "app",
        "create_credit": None,
        "fee": "10.00",
        "currency": "EUR",
    },
    "booking-shortened": _CHANGE
    | {
        "booking_id": "b1",
        "revision": 2,
        "changed_by": "customer",
        "channel": "app",
        "create_credit": None,
        "billed_price": "121.00",
        "remaining_price": "60.50",
        "currency": "EUR",
    },
    "plan-cancelled": _CHANGE
    | {
        "plan_id": "p1",
        "revision": 1,
        "effective_at": "2026-06-16T00:00:00Z",
        "changed_by": "admin",
        "create_credit": True,
        "unused": "whole_periods",
    },
    "payment-recorded": _COMMON
    | {
        "payment_id": "pay1",
        "owner": OWNER,
        "amount": "121.00",
        "currency": "EUR",
        "method": "card",
        "invoice_ids": ["i1"],
    },
    "payment-reversed": _COMMON
    | {
        "reversal_id": "r1",
        "payment_id": "pay1",
        "amount": "121.00",
        "currency": "EUR",
        "reason": "refund",
    },
    "invoice-voided": _COMMON | {"invoice_id": "i1", "reason": "issued twice"},
    "credit-application-rejected": _COMMON
    | {"application_id": APPLICATION_ID, "reason": "invoice already closed"},
}

_COMMANDS: Final[dict[str, dict[str, Any]]] = {
    "grant-credit": _COMMAND
    | {
        "owner": OWNER,
        "amount": "50.00",
        "currency": "EUR",
        "reason": "referral",
        "note": "brought a friend",
        "priority": 50,
        "effective_at": None,
        "expires_at": "2027-06-01T00:00:00Z",
        "reference": "referral-u2",
    },
    "apply-credit": _COMMAND
    | {"owner": OWNER, "invoice_id": "i1", "currency": "EUR", "amount": None, "grant_id": None},
    "reinstate-credit": _COMMAND | {"application_id": APPLICATION_ID, "reason": "wrong invoice"},
    "void-credit": _COMMAND | {"grant_id": GRANT_ID, "reason": "granted by mistake"},
    "refund-credit": _COMMAND
    | {
        "owner": OWNER,
        "amount": "20.00",
        "currency": "EUR",
        "grant_id": None,
        "reference": "gateway refund 4711",
    },
    "draw-credit": _COMMAND
    | {
        "owner": OWNER,
        "amount": "0.000125",
        "currency": "EUR",
        "allow_partial": False,
        "reference": "usage 17",
    },
    "set-credit-policy": _COMMAND
    | {
        "scope": {"tenant": True},
        "policy": {
            "auto_apply": True,
            "credit_as": "balance",
            "unpaid_change": "wait",
            "expires_after_days": 365,
            "proration": "days",
            "time_zone": "Europe/Amsterdam",
            "refill_threshold": "10.00",
            "refill_amount": "50.00",
            "currency": "EUR",
        },
    },
}

_EVENTS: Final[dict[str, dict[str, Any]]] = {
    "credit-issued": _EVENT
    | {
        "grant_id": GRANT_ID,
        "amount": "121.00",
        "source": "booking_cancelled",
        "reason": "booking_cancelled",
        "note": None,
        "priority": 50,
        "effective_at": "2026-06-02T08:30:00Z",
        "expires_at": None,
        "document": _DOCUMENT,
        "overtakes": [],
        "line_item": {
            "credit_line_id": GRANT_ID,
            "description": "Credit for booking b1",
            "amount": "-100.00",
            "tax": "-21.00",
            "for": _LINE_FOR,
        },
    },
    "credit-applied": _EVENT
    | {
        "application_id": APPLICATION_ID,
        "invoice_id": "i1",
        "amount": "80.00",
        "amount_due": "40.00",
        "by": "auto",
        "slices": _SLICES,
    },
    "credit-declined": _EVENT
    | {
        "asked": {"booking_id": "b1", "changed_by": "customer"},
        "reason": "not_billed",
        "facts": {"booking_id": "b1"},
        "would_change_it": "an invoice with the booking, finalized before the change",
        "final": False,
    },
    "credit-reserved": _EVENT
    | {"application_id": APPLICATION_ID, "grant_id": GRANT_ID, "amount": "80.00", "invoice_id": None},
    "credit-reinstated": _EVENT
    | {
        "application_id": APPLICATION_ID,
        "from": "application",
        "invoice_id": "i1",
        "amount": "80.00",
        "amount_due": "120.00",
        "slices": _SLICES,
        "reason": "invoice_voided",
    },
    "credit-voided": _EVENT
    | {
        "caused_by": {
            "topic": "void-credit",
            "event_id": "e1",
            "by": {"type": "admin", "id": "a1"},
        },
        "grant_id": GRANT_ID,
        "amount": "20.00",
        "reason": "granted by mistake",
        "source": "granted",
        "document": None,
    },
    "credit-refunded": _EVENT | {"amount": "80.00", "slices": _SLICES, "reference": "gateway refund 4711"},
    "credit-expired": _EVENT
    | {
        "caused_by": None,
        "grant_id": GRANT_ID,
        "amount": "20.00",
        "reason": "expired",
        "source": "booking_cancelled",
        "document": _DOCUMENT,
    },
    "credit-drawn": _EVENT
    | {
        "draw_id": DRAW_ID,
        "amount": "80.00",
        "asked": "80.00",
        "slices": _SLICES,
        "reference": "usage 17",
    },
    "credit-refill-requested": _EVENT | {"amount": "50.00", "threshold": "10.00"},
    "credit-note-issued": _EVENT | {"credit_note": "INV-0001-CN1", "invoice_id": "i1", "amount": "30.00"},
    "credit-shortfall": _EVENT
    | {"amount": "20.00", "outstanding": "20.00", "reason": "invoice_voided", "for": _LINE_FOR},
    "credit-balance": {
        "tenant_id": "t1",
        "account": {"owner": OWNER, "currency": "EUR"},
        "available": "80.00",
        "reserved": "0.00",
        "as_of": "2026-06-02T08:30:00.184223Z",
        "epoch": 1,
        "seq": 12,
        "voids_from": None,
        "head": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    },
    "credit-dead-letter": {
        "avoir-reason": "conflict",
        "avoir-topic": "booking-cancelled",
        "avoir-partition": "0",
        "avoir-offset": "41",
    },
}

EXAMPLES: Final[Mapping[str, dict[str, Any]]] = MappingProxyType(_FACTS | _COMMANDS | _EVENTS)
"""The examples of all topics, facts first, then commands, then events."""
