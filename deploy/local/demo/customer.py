"""One customer, from a plan to the end of a promotion, with commands, which take effect when they arrive."""

from typing import Any

from deploy.local.demo.messages import (
    SOON,
    booking_line,
    cancelled,
    command,
    grant_of,
    invoice,
    message,
    owner,
)
from deploy.local.demo.scenario import CURRENCY, Json, Message, Step

WHO = "user/u5"


def customer() -> list[Step]:
    """The steps, in the order in which they happened."""
    return [*_earned(), *_spent_by_hand(), _line_item(), _refund(), _prepaid(), *_ended()]


def _asked(day: str, **fields: Any) -> Json:
    """A command about the customer's credit."""
    return command(day, owner=owner(WHO), currency=CURRENCY, **fields)


def _grant(day: str, amount: str, reason: str, **more: Any) -> Json:
    return _asked(day, amount=amount, reason=reason, **more)


def _apply(day: str, invoice_id: str, amount: str | None) -> Json:
    return _asked(day, invoice_id=invoice_id, amount=amount, grant_id=None)


def _draw(day: str, amount: str, usage: int) -> Json:
    return _asked(day, amount=amount, allow_partial=False, reference=f"usage {usage}")


def _refunded(day: str, amount: str, reference: str) -> Json:
    return _asked(day, amount=amount, grant_id=None, reference=reference)


def _earned() -> list[Step]:
    september = {"start": "2025-09-01T00:00:00+02:00", "end": "2025-10-01T00:00:00+02:00"}
    plan = {"line_id": "l-p2", "kind": "plan", "plan_id": "p2", "period": september, "amount": "300.00"}
    days = {"proration": "days", "time_zone": "Europe/Brussels"}
    return [
        Step(
            "A plan of 30 days ends on the 16th, at a business that counts days",
            "The business sets that once, for all its customers. The 16th is used, so 14 days come back.",
            [
                Message("from September on, plans are split by days in Brussels", "set-credit-policy",
                     command("2025-08-20", scope={"tenant": True}, policy=days), "recorded", "policy_set"),
                Message("invoice i8, paid, bills plan p2: September, 300.00", "invoice-finalized",
                     invoice("2025-09-01", "i8", WHO, [plan], "300.00", amount_paid="300.00"),
                     "recorded", "recorded"),
                Message("an admin ends plan p2 on the evening of September 16, with credit", "plan-cancelled",
                     message("2025-09-15", plan_id="p2", owner=owner(WHO), unused="prorate",
                             effective_at="2025-09-16T18:00:00+02:00", changed_by="admin", create_credit=True),
                     "issued", "plan_cancelled", [("credit-issued", "140.00")]),
            ],
            {WHO: "140.00"},
        ),
        Step(
            "The customer brought a friend",
            "Credit is given by hand, with a note that stays with it.",
            [
                Message("25.00 for a referral", "grant-credit",
                     _grant("2025-09-17", "25.00", "referral", note="brought a friend"),
                     "issued", "referral", [("credit-issued", "25.00")]),
            ],
            {WHO: "165.00"},
        ),
    ]  # fmt: skip


def _spent_by_hand() -> list[Step]:
    return [
        Step(
            "An invoice that was finalized by hand is paid with credit by hand",
            "It takes no credit automatically. Given credit is used before paid-for credit.",
            [
                Message("invoice i9, finalized by hand, bills booking b7: 100.00", "invoice-finalized",
                     invoice("2025-09-18", "i9", WHO, [booking_line("b7", "100.00")], "100.00",
                             finalization="manual"),
                     "recorded", "recorded"),
                Message("as much as possible on invoice i9", "apply-credit", _apply("2025-09-19", "i9", None),
                     "applied", "command", [("credit-applied", "100.00")]),
            ],
            {WHO: "65.00"},
        ),
        Step(
            "Credit is reserved for a future invoice",
            "Nothing else can use it. The invoice takes what it needs, and the rest is released.",
            [
                Message("40.00 for invoice i10, which does not exist yet", "apply-credit",
                     _apply("2025-09-20", "i10", "40.00"), "recorded", "reserved",
                     [("credit-reserved", "40.00")]),
                Message("invoice i10, finalized by hand, bills booking b8: 30.00", "invoice-finalized",
                     invoice("2025-09-21", "i10", WHO, [booking_line("b8", "30.00")], "30.00",
                             finalization="manual"),
                     "applied", "reservation", [("credit-applied", "30.00"), ("credit-reinstated", "10.00")]),
            ],
            {WHO: "35.00"},
        ),
    ]  # fmt: skip


def _line_item() -> Step:
    cancellation = cancelled("2025-09-24", "b9", WHO)
    line = {"line_id": "l-credit", "kind": "credit", "credit_line_id": grant_of(cancellation),
            "amount": "-50.00", "tax": "-10.50"}  # fmt: skip
    return Step(
        "A cancelled booking becomes a line of the next invoice, and is worth more than that",
        "This customer wants line items. An invoice below zero is a credit note, and the rest is credit.",
        [
            Message("u5 gets credit as a line item", "set-credit-policy",
                 command("2025-09-22", scope={"owner": owner(WHO)}, policy={"credit_as": "line_item"}),
                 "recorded", "policy_set"),
            Message("invoice i11, paid, bills booking b9: 50.00 + 10.50 tax", "invoice-finalized",
                 invoice("2025-09-23", "i11", WHO, [booking_line("b9", "50.00", "10.50")], "60.50",
                         amount_paid="60.50"),
                 "recorded", "recorded"),
            Message("customer u5 cancels booking b9", "booking-cancelled", cancellation,
                 "issued", "booking_cancelled", [("credit-issued", "60.50"), ("credit-reserved", "60.50")]),
            Message("invoice i12 bills booking b10, 40.00, and has the line of -60.50", "invoice-finalized",
                 invoice("2025-10-01", "i12", WHO, [booking_line("b10", "40.00"), line], "-20.50"),
                 "issued", "negative_invoice",
                 [("credit-applied", "60.50"), ("credit-issued", "20.50"), ("credit-note-issued", "20.50")]),
        ],
        {WHO: "55.50"},
    )  # fmt: skip


def _refund() -> Step:
    return Step(
        "Credit is paid out in money",
        "A command for more credit than is available is refused as a whole, with what would change that.",
        [
            Message("60.00 paid out through the gateway", "refund-credit",
                 _refunded("2025-10-02", "60.00", "gateway refund 1"),
                 "declined", "insufficient_credit", [("credit-declined", None)]),
            Message("55.50 paid out through the gateway", "refund-credit",
                 _refunded("2025-10-02", "55.50", "gateway refund 2"),
                 "recorded", "refunded", [("credit-refunded", "55.50")]),
        ],
        {WHO: "0.00"},
    )  # fmt: skip


def _prepaid() -> Step:
    line = {"line_id": "l-block", "kind": "prepaid", "amount": "10.00"}
    refill = {"refill_threshold": "2.00", "refill_amount": "10.00", "currency": CURRENCY}
    return Step(
        "A prepaid block is drawn in tiny amounts",
        "Draws can be smaller than a cent, but never exceed the balance. Below 2.00 a refill is requested, once.",
        [
            Message("u5 wants 10.00 more whenever less than 2.00 is left", "set-credit-policy",
                 command("2025-10-03", scope={"owner": owner(WHO)}, policy=refill),
                 "recorded", "policy_set"),
            Message("invoice i13, paid, bills a prepaid block of 10.00", "invoice-finalized",
                 invoice("2025-10-03", "i13", WHO, [line], "10.00", amount_paid="10.00"),
                 "issued", "prepaid", [("credit-issued", "10.00")]),
            Message("8.00 for usage 1", "draw-credit", _draw("2025-10-04", "8.00", 1),
                 "recorded", "drawn", [("credit-drawn", "8.00")]),
            Message("0.000125 for usage 2", "draw-credit", _draw("2025-10-05", "0.000125", 2),
                 "recorded", "drawn", [("credit-drawn", "0.000125"), ("credit-refill-requested", "10.00")]),
            Message("0.000125 for usage 3", "draw-credit", _draw("2025-10-06", "0.000125", 3),
                 "recorded", "drawn", [("credit-drawn", "0.000125")]),
        ],
        {WHO: "1.99975"},
    )  # fmt: skip


def _ended() -> list[Step]:
    goodwill = _grant("2025-10-07", "30.00", "goodwill")
    return [
        Step(
            "Credit is granted by mistake",
            "It is voided: what is left of it is taken back, and both stay on record.",
            [
                Message("30.00 as goodwill", "grant-credit", goodwill,
                     "issued", "goodwill", [("credit-issued", "30.00")]),
                Message("that credit is taken back: wrong customer", "void-credit",
                     command("2025-10-08", grant_id=grant_of(goodwill), reason="wrong customer"),
                     "recorded", "voided", [("credit-voided", "30.00")]),
            ],
            {WHO: "1.99975"},
        ),
        Step(
            "A promotion ends",
            "What is left of it expires at its last moment; no message is needed.",
            [
                Message("5.00 as a promotion, which ends in a moment", "grant-credit",
                     _grant("2025-10-09", "5.00", "promotion", expires_at=SOON),
                     "issued", "promotion", [("credit-issued", "5.00")]),
            ],
            {WHO: "1.99975"},
            by_time=[("credit-expired", "5.00")],
        ),
    ]  # fmt: skip
