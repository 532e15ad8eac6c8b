"""Converts a fact from the wire to the core."""

from collections.abc import Callable, Mapping
from typing import Any

import avoir_events as wire
from avoir.core.model import facts
from avoir.core.model.money import parse_decimal


def fact_of(message: wire.Incoming) -> facts.Fact:
    """The fact in a parsed message; KeyError for a model that is no fact."""
    return _FACT_OF[type(message)](message)


def _invoice_finalized(message: wire.InvoiceFinalized) -> facts.InvoiceFinalized:
    return facts.InvoiceFinalized(
        invoice_id=message.invoice_id,
        number=message.number,
        owner=_owner(message.owner),
        currency=message.currency,
        automatic=message.finalization == "automatic",
        auto_apply=message.auto_apply_credit,
        lines=tuple(_line(line) for line in message.lines),
        total=parse_decimal(message.total),
        amount_paid=parse_decimal(message.amount_paid),
    )


def _line(line: wire.AnyLine) -> facts.InvoiceLine:
    # By kind: a `match` would check pydantic's classes one by one, which takes as long as everything else here.
    subject_id = credit_line_id = expires_at = None
    if line.kind == "booking":
        subject_id = line.booking_id
    elif line.kind == "plan":
        subject_id = line.plan_id
    elif line.kind == "credit":
        credit_line_id = line.credit_line_id
    elif line.kind == "prepaid":
        expires_at = line.expires_at
    return facts.InvoiceLine(
        line_id=line.line_id,
        kind=line.kind,
        subject_id=subject_id,
        period=_period(line.period),
        amount=parse_decimal(line.amount),
        tax=parse_decimal(line.tax),
        credit_line_id=credit_line_id,
        expires_at=expires_at,
    )


def _booking_cancelled(message: wire.BookingCancelled) -> facts.BookingCancelled:
    return facts.BookingCancelled(
        booking_id=message.booking_id,
        owner=_owner(message.owner),
        changed_by=message.changed_by,
        revision=message.revision,
        create_credit=message.create_credit,
        fee=_micros(message.fee) or 0,
        currency=message.currency if message.fee is not None else None,
    )


def _booking_shortened(message: wire.BookingShortened) -> facts.BookingShortened:
    return facts.BookingShortened(
        booking_id=message.booking_id,
        owner=_owner(message.owner),
        changed_by=message.changed_by,
        revision=message.revision,
        create_credit=message.create_credit,
        billed_period=_period(message.billed_period),
        remaining_period=_period(message.remaining_period),
        billed_price=_micros(message.billed_price),
        remaining_price=_micros(message.remaining_price),
        currency=message.currency if message.billed_price is not None else None,
    )


def _plan_cancelled(message: wire.PlanCancelled) -> facts.PlanCancelled:
    return facts.PlanCancelled(
        plan_id=message.plan_id,
        owner=_owner(message.owner),
        changed_by=message.changed_by,
        effective_at=message.effective_at,
        unused=message.unused,
        revision=message.revision,
        create_credit=message.create_credit,
    )


def _payment_recorded(message: wire.PaymentRecorded) -> facts.PaymentRecorded:
    return facts.PaymentRecorded(
        payment_id=message.payment_id,
        owner=_owner(message.owner),
        amount=parse_decimal(message.amount),
        currency=message.currency,
        invoice_ids=message.invoice_ids,
    )


def _payment_reversed(message: wire.PaymentReversed) -> facts.PaymentReversed:
    return facts.PaymentReversed(
        reversal_id=message.reversal_id,
        payment_id=message.payment_id,
        amount=parse_decimal(message.amount),
        currency=message.currency,
        reason=message.reason,
    )


def _invoice_voided(message: wire.InvoiceVoided) -> facts.InvoiceVoided:
    return facts.InvoiceVoided(message.invoice_id, message.reason)


def _application_rejected(message: wire.CreditApplicationRejected) -> facts.ApplicationRejected:
    return facts.ApplicationRejected(message.application_id, message.reason)


def _owner(owner: wire.Owner) -> facts.Owner:
    return facts.Owner(owner.type, owner.id)


def _period(period: wire.Period | None) -> facts.Period | None:
    return facts.Period(period.start, period.end) if period is not None else None


def _micros(amount: str | None) -> int | None:
    return parse_decimal(amount) if amount is not None else None


_FACT_OF: Mapping[type[wire.Incoming], Callable[[Any], facts.Fact]] = {
    wire.InvoiceFinalized: _invoice_finalized,
    wire.BookingCancelled: _booking_cancelled,
    wire.BookingShortened: _booking_shortened,
    wire.PlanCancelled: _plan_cancelled,
    wire.PaymentRecorded: _payment_recorded,
    wire.PaymentReversed: _payment_reversed,
    wire.InvoiceVoided: _invoice_voided,
    wire.CreditApplicationRejected: _application_rejected,
}
