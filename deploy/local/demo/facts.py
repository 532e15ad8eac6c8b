"""A booking business, step by step: facts, which give the same credit in whatever order they arrive."""

from collections.abc import Sequence

from deploy.local.demo.messages import booking_line, cancelled, hours, invoice, message, owner, payment
from deploy.local.demo.scenario import Json, Message, Step


def _shortened(day: str, remaining: Json) -> Json:
    return message(
        day,
        booking_id="b5",
        owner=owner("user/u3"),
        changed_by="customer",
        channel="app",
        billed_period=hours("2025-06-20", 9, 13),
        remaining_period=remaining,
    )


def _month(month: int) -> Json:
    start, end = f"2025-{month:02}-01T00:00:00Z", f"2025-{month + 1:02}-01T00:00:00Z"
    return {
        "line_id": f"l-p1-{month}",
        "kind": "plan",
        "plan_id": "p1",
        "period": {"start": start, "end": end},
        "amount": "200.00",
    }


def _plan_cancelled(day: str) -> Json:
    return message(
        day,
        plan_id="p1",
        owner=owner("team/t7"),
        effective_at="2025-06-16T00:00:00Z",
        changed_by="admin",
        create_credit=True,
        unused="whole_periods",
    )


def facts() -> list[Step]:
    """The steps, in the order in which they happened."""
    return [*_bookings(), _shortenings(), *_other_sources(), *_uses()]


def _bookings() -> list[Step]:
    return [
        Step(
            "Booked on May 1, cancelled on May 15, before the invoice of June 1",
            "Nothing was billed yet, so there is nothing to give back.",
            [
                Message("customer u1 cancels booking b1", "booking-cancelled", cancelled("2025-05-15", "b1", "user/u1"),
                     "declined", "not_billed", [("credit-declined", None)]),
            ],
        ),
        Step(
            "Booked on May 30, paid on June 1, cancelled on June 2",
            "It was billed and paid, so all of it comes back as credit, tax included.",
            [
                Message("invoice i1 bills booking b2: 100.00 + 21.00 tax", "invoice-finalized",
                     invoice("2025-06-01", "i1", "user/u1", [booking_line("b2", "100.00", "21.00")], "121.00"),
                     "recorded", "recorded"),
                Message("u1 pays 121.00 for invoice i1", "payment-recorded",
                     payment("2025-06-01", "pay1", "user/u1", "121.00", "i1"), "recorded", "recorded"),
                Message("customer u1 cancels booking b2", "booking-cancelled", cancelled("2025-06-02", "b2", "user/u1"),
                     "issued", "booking_cancelled", [("credit-issued", "121.00")]),
            ],
            {"user/u1": "121.00"},
        ),
        Step(
            "A booking that is not paid yet is cancelled",
            "The credit waits and comes with the payment.",
            [
                Message("invoice i2 bills booking b3: 60.50", "invoice-finalized",
                     invoice("2025-06-01", "i2", "user/u2", [booking_line("b3", "50.00", "10.50")], "60.50"),
                     "recorded", "recorded"),
                Message("customer u2 cancels booking b3", "booking-cancelled", cancelled("2025-06-03", "b3", "user/u2"),
                     "waiting", "unpaid"),
                Message("u2 pays 60.50 for invoice i2", "payment-recorded",
                     payment("2025-06-05", "pay2", "user/u2", "60.50", "i2"),
                     "issued", "booking_cancelled", [("credit-issued", "60.50")]),
            ],
            {"user/u2": "60.50"},
        ),
        Step(
            "A free booking is cancelled",
            "It cost nothing, so there is nothing to give back.",
            [
                Message("invoice i3 bills booking b4: 0.00", "invoice-finalized",
                     invoice("2025-06-03", "i3", "user/u2", [booking_line("b4", "0.00")], "0.00"),
                     "recorded", "recorded"),
                Message("customer u2 cancels booking b4", "booking-cancelled", cancelled("2025-06-04", "b4", "user/u2"),
                     "declined", "free", [("credit-declined", None)]),
            ],
            {"user/u2": "60.50"},
        ),
    ]  # fmt: skip


def _shortenings() -> Step:
    cut_to_two = _shortened("2025-06-06", hours("2025-06-20", 9, 11))
    return Step(
        "A booking of four hours is shortened to three, then to two; the last message comes twice",
        "Each time only the difference is given; the repeated message changes nothing.",
        [
            Message("invoice i4, paid, bills booking b5: 4 hours, 80.00", "invoice-finalized",
                 invoice("2025-06-01", "i4", "user/u3",
                         [booking_line("b5", "80.00", period=hours("2025-06-20", 9, 13))], "80.00",
                         amount_paid="80.00"),
                 "recorded", "recorded"),
            Message("customer u3 shortens b5 to 3 hours", "booking-shortened",
                 _shortened("2025-06-05", hours("2025-06-20", 9, 12)),
                 "issued", "booking_shortened", [("credit-issued", "20.00")]),
            Message("customer u3 shortens b5 to 2 hours", "booking-shortened", cut_to_two,
                 "issued", "booking_shortened", [("credit-issued", "20.00")]),
            Message("the same message once more", "booking-shortened", cut_to_two, "duplicate", "duplicate"),
        ],
        {"user/u3": "40.00"},
    )  # fmt: skip


def _other_sources() -> list[Step]:
    return [
        Step(
            "A plan paid for three months ends in the middle of the first",
            "An admin asks for credit for the unused months: July and August, not the running June.",
            [
                Message("invoice i5, paid, bills plan p1: June, July, August, 200.00 each", "invoice-finalized",
                     invoice("2025-06-01", "i5", "team/t7", [_month(6), _month(7), _month(8)], "600.00",
                             amount_paid="600.00"),
                     "recorded", "recorded"),
                Message("an admin cancels plan p1 from June 16 on, with credit", "plan-cancelled",
                     _plan_cancelled("2025-06-15"), "issued", "plan_cancelled",
                     [("credit-issued", "200.00"), ("credit-issued", "200.00")]),
            ],
            {"team/t7": "400.00"},
        ),
        Step(
            "A customer who owes nothing pays 100.00",
            "What is paid above the amount due becomes credit for the next invoice.",
            [
                Message("u4 pays 100.00 and names no invoice", "payment-recorded",
                     payment("2025-06-10", "pay3", "user/u4", "100.00"),
                     "issued", "overpayment", [("credit-issued", "100.00")]),
            ],
            {"user/u4": "100.00"},
        ),
        Step(
            "A malformed message",
            "It becomes a dead letter with its reason, not a guess; the messages around it are handled.",
            [
                Message("a payment whose amount is a number instead of text", "payment-recorded",
                     payment("2025-06-10", "pay4", "user/u4", "100.00") | {"amount": 100.0},
                     "rejected", "malformed", [("credit-dead-letter", None)]),
            ],
            {"user/u4": "100.00"},
        ),
    ]  # fmt: skip


def _uses() -> list[Step]:
    return [
        Step(
            "The next invoice uses the credit automatically",
            "Available credit pays the new invoice up to what is due; the rest is due as usual.",
            [
                Message("invoice i6 bills booking b6: 150.00", "invoice-finalized",
                     invoice("2025-07-01", "i6", "user/u1", [booking_line("b6", "150.00")], "150.00"),
                     "applied", "auto", [("credit-applied", "121.00")]),
            ],
            {"user/u1": "0.00"},
        ),
        Step(
            "That invoice was a mistake: it is voided, and the right one sent",
            "The credit comes back exactly, and pays the right invoice.",
            [
                Message("invoice i6 is voided", "invoice-voided",
                     message("2025-07-02", invoice_id="i6", reason="wrong price"),
                     "recorded", "invoice_voided", [("credit-reinstated", "121.00")]),
                Message("invoice i7 bills booking b6: 90.00", "invoice-finalized",
                     invoice("2025-07-02", "i7", "user/u1", [booking_line("b6", "90.00")], "90.00"),
                     "applied", "auto", [("credit-applied", "90.00")]),
            ],
            {"user/u1": "31.00"},
        ),
    ]  # fmt: skip


def in_another_order(steps: Sequence[Step]) -> list[Message]:
    """Return the messages of the steps in reverse order, but each owner's invoices in the order they were finalized.

    Changes come before their payments, payments before their invoices, a void before the invoice that it voids.
    """
    messages = [each for step in steps for each in step.messages]
    others = [each for each in reversed(messages) if each.topic != "invoice-finalized"]
    return [*others, *(each for each in messages if each.topic == "invoice-finalized")]
