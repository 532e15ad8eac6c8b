"""Decisions in words that can be read out to a customer."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from avoir.cli.base.words import outcome_words
from avoir.cli.explain.prose.decisions import paragraph
from avoir.cli.explain.view import Explanation, RecordedDecision, Subject
from avoir.core.model.events import AccountKey
from avoir.core.model.facts import ChangedBy, Owner
from avoir.core.model.reasons import REASONS, Reason
from avoir.core.model.rows import Application, ApplicationKey, BookingCancellation, InvoiceKey, SubjectKey

AT = datetime(2025, 6, 2, 10, tzinfo=UTC)
LINE = {
    "invoice_id": "i1",
    "line_id": "l1",
    "currency": "EUR",
    "finalized_at": "2025-06-01T00:00:00+00:00",
    "cost": "121.00",
    "target": "121.00",
    "given": "0.00",
    "due_on_invoice": "0.00",
}


def explained(
    outcome: str, reason: Reason, *lines: dict[str, Any], by: ChangedBy = "customer", **more: Any
) -> str:
    facts = {"booking_id": "b1", "lines": list(lines), **more}
    subject = Subject("booking", "b1")
    would_change = REASONS[reason].remedy
    decision = RecordedDecision(
        "booking-cancelled", "e2", 0, 7, AT, AT, outcome, reason, facts, {}, would_change, subject
    )
    change = BookingCancellation(
        subject=SubjectKey("t1", "booking", "b1"),
        owner=Owner("user", "u1"),
        event_id="e2",
        revision=None,
        occurred_at=AT,
        changed_by=by,
        asked=True,
        fee=0,
        currency=None,
        unpaid_change="wait",
        credit_as="balance",
        expires_after_days=None,
        time_zone="UTC",
        contents=b"",
        superseded=False,
        rules=2,
        declined=None,
    )
    return paragraph(Explanation("t1", subject, AT, decisions=(decision,), changes=(change,)), decision)


def test_a_booking_never_billed() -> None:
    assert explained("declined", "not_billed").startswith(
        "On 2 June 2025 booking b1 was cancelled by the customer. No credit was given. It had not been billed on any "
        "finalized invoice by then. What would change this: a finalized invoice"
    )


def test_an_unpaid_invoice_waits() -> None:
    words = explained("waiting", "unpaid", LINE | {"due_on_invoice": "21.00"})
    assert "(121.00 EUR, with 21.00 EUR still due). No credit was given yet." in words
    assert words.endswith("What would change this: payment of the rest of the invoice.")


def test_billed_only_after_the_change() -> None:
    words = explained("declined", "billed_after_change", LINE | {"finalized_at": "2025-06-30T00:00:00+00:00"})
    assert "It was billed only afterwards, on invoice i1 of 30 June 2025" in words
    assert (
        "What would change this: an invoice that bills it, finalized no later than this change and told later"
        in words
    )


def test_an_admin_who_did_not_ask() -> None:
    assert "was cancelled by an admin." in explained("declined", "not_requested", LINE, by="admin")


def test_a_booking_on_many_lines_says_how_many() -> None:
    assert "It was billed on 4 more lines." in explained("declined", "superseded", LINE, lines_in_all=5)


def test_a_fee_is_told() -> None:
    assert "A cancellation fee of 10.00 EUR was kept." in explained(
        "issued", "booking_cancelled", LINE, fee="10.00", currency="EUR"
    )


def test_a_void_whose_decision_did_not_keep_what_it_undid_claims_nothing() -> None:
    facts = {"currency": "EUR", "paid": "0.00", "credit_applied": "0.00", "due": "0.00"}
    subject = Subject("invoice", "i1")
    decision = RecordedDecision(
        "invoice-voided", "v1", 0, 7, AT, AT, "recorded", "invoice_voided", facts, {}, None, subject
    )
    words = paragraph(Explanation("t1", subject, AT, decisions=(decision,)), decision)
    assert words.endswith("for it were undone, if there were any.")


VOIDED = LINE | {"voided": True}
FREE = LINE | {"cost": "0.00"}
CHEAP = LINE | {"cost": "10.00"}
AFTERWARDS = LINE | {"finalized_at": "2025-06-30T00:00:00+00:00"}


@pytest.mark.parametrize(
    ("outcome", "reason", "lines"),
    [
        ("declined", "not_billed", ()),
        ("declined", "invoice_voided", (VOIDED,)),
        ("declined", "billed_after_change", (AFTERWARDS,)),
        ("declined", "currency_mismatch", (LINE | {"currency": "USD"},)),
        ("declined", "superseded", (LINE,)),
        ("declined", "not_requested", (LINE,)),
        ("declined", "free", (FREE,)),
        ("declined", "unpaid", (LINE,)),
    ],
)
def test_a_fee_that_nothing_was_kept_of_was_only_asked_for(
    outcome: str, reason: Reason, lines: tuple[dict[str, Any], ...]
) -> None:
    words = explained(outcome, reason, *lines, fee="21.00", currency="EUR")
    assert "A cancellation fee of 21.00 EUR was requested." in words
    assert "kept" not in words


@pytest.mark.parametrize(
    ("outcome", "reason", "lines"),
    [
        ("declined", "nothing_unused", (CHEAP,)),
        ("issued", "booking_cancelled", (CHEAP, VOIDED, AFTERWARDS)),
        ("recorded", "changed", (FREE, CHEAP)),
    ],
)
def test_no_more_of_a_fee_is_told_to_be_kept_than_the_booking_cost(
    outcome: str, reason: Reason, lines: tuple[dict[str, Any], ...]
) -> None:
    words = explained(outcome, reason, *lines, fee="21.00", currency="EUR")
    assert "Of the cancellation fee of 21.00 EUR, 10.00 EUR was kept: the booking did not cost more." in words


def test_a_fee_of_what_is_not_paid_yet_is_to_be_kept() -> None:
    words = explained("waiting", "unpaid", LINE, fee="21.00", currency="EUR")
    assert "A cancellation fee of 21.00 EUR will be kept." in words


def test_a_fee_beyond_the_lines_that_are_listed_is_not_told_to_be_kept_in_part() -> None:
    words = explained("issued", "booking_cancelled", CHEAP, lines_in_all=9, fee="21.00", currency="EUR")
    assert "A cancellation fee of 21.00 EUR was requested." in words


def unhandled(outcome: str, event_id: str, subject: Subject, **facts: str) -> str:
    topic = "invoice-finalized"
    decision = RecordedDecision(topic, event_id, 0, 7, AT, AT, outcome, outcome, facts, {}, None, subject)
    return paragraph(Explanation("t1", subject, AT, decisions=(decision,)), decision)


def test_what_was_parked_before_the_error_was_kept_refers_to_the_dead_letter() -> None:
    assert unhandled("parked", "f1", Subject("message", "f1")) == (
        "A message on invoice-finalized (event f1) was received. Avoir failed on this message and parked it; it can be "
        "replayed after a fix. The dead letter gives the reason."
    )


def test_what_has_no_event_id_is_told_without_one() -> None:
    assert unhandled("rejected", "", Subject("message", ""), problem="no JSON") == (
        "A message on invoice-finalized could not be read, so nothing was changed. Reason: no JSON."
    )


@pytest.mark.parametrize("outcome", ["duplicate", "conflict"])
def test_a_repetition_is_not_told_to_have_used_credit(outcome: str) -> None:
    subject = Subject("invoice", "i1")
    first, again = (
        RecordedDecision("invoice-finalized", "e1", 0, at, AT, AT, said, said, {}, {}, None, subject)
        for at, said in ((1, "applied"), (2, outcome))
    )
    use = Application(
        ApplicationKey("t1", UUID(int=1)),
        AccountKey("t1", "user", "u1", "EUR"),
        InvoiceKey("t1", "i1"),
        5_000_000,
        "auto",
        AT,
        reinstated=False,
        slices=(),
        topic="invoice-finalized",
        event_id="e1",
    )
    explained = Explanation("t1", subject, AT, decisions=(first, again), applications=(use,))
    assert "Credit of 5.00 EUR was used on it." in paragraph(explained, first)
    assert paragraph(explained, again).endswith(outcome_words(outcome))
