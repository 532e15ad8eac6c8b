"""A message with its envelope, as it is decided on."""

from datetime import datetime
from typing import assert_never

from msgspec import Struct

from avoir.core.model.commands import (
    ApplyCredit,
    Command,
    DrawCredit,
    GrantCredit,
    RefundCredit,
    ReinstateCredit,
    SetCreditPolicy,
    VoidCredit,
)
from avoir.core.model.facts import (
    ApplicationRejected,
    BookingCancelled,
    BookingShortened,
    Fact,
    InvoiceFinalized,
    InvoiceVoided,
    PaymentRecorded,
    PaymentReversed,
    PlanCancelled,
)


class Message(Struct, frozen=True):
    """A fact or a command; `contents` is the SHA-256 of its canonical form, `topic` the default name."""

    tenant_id: str
    topic: str
    event_id: str
    occurred_at: datetime
    contents: bytes
    body: Fact | Command


def subject_of(message: Message) -> tuple[str, str]:
    """What a message is about, as decisions are looked up: kind and id."""
    match message.body:
        case InvoiceFinalized(invoice_id=invoice_id) | InvoiceVoided(invoice_id=invoice_id):
            return "invoice", invoice_id
        case BookingCancelled(booking_id=booking_id) | BookingShortened(booking_id=booking_id):
            return "booking", booking_id
        case PlanCancelled(plan_id=plan_id):
            return "plan", plan_id
        case PaymentRecorded(payment_id=payment_id) | PaymentReversed(payment_id=payment_id):
            return "payment", payment_id
        case (
            ApplicationRejected(application_id=application_id)
            | ReinstateCredit(application_id=application_id)
        ):
            return "application", application_id
        case ApplyCredit(invoice_id=invoice_id):
            return "invoice", invoice_id
        case VoidCredit(grant_id=grant_id):
            return "grant", grant_id
        case GrantCredit(owner=owner) | RefundCredit(owner=owner) | DrawCredit(owner=owner):
            return "owner", f"{owner.type}/{owner.id}"
        case SetCreditPolicy(scope=scope):
            return "policy", scope
        case never:
            assert_never(never)
