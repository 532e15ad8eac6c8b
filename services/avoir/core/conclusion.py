"""What a message comes to where it gave no credit: outcome, reason, facts and policy."""

from collections.abc import Mapping
from typing import Any, NamedTuple, assert_never

from avoir.core.commands import (
    ApplyCredit,
    DrawCredit,
    GrantCredit,
    RefundCredit,
    ReinstateCredit,
    SetCreditPolicy,
    VoidCredit,
)
from avoir.core.decision import Outcome, fitting
from avoir.core.facts import (
    ApplicationRejected,
    BookingCancelled,
    BookingShortened,
    InvoiceFinalized,
    InvoiceVoided,
    PaymentRecorded,
    PaymentReversed,
    PlanCancelled,
)
from avoir.core.message import Message


class Conclusion(NamedTuple):
    """What a handler concludes where no credit was issued or applied."""

    outcome: Outcome
    reason: str
    subject_kind: str
    subject_id: str
    facts: Mapping[str, Any]
    policy: Mapping[str, Any]
    would_change_it: str | None = None
    """Where it is not what the reason alone says."""


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


def conclude(
    message: Message,
    outcome: Outcome,
    reason: str,
    facts: Mapping[str, Any],
    policy: Mapping[str, Any] | None = None,
    would_change_it: str | None = None,
) -> Conclusion:
    return Conclusion(outcome, reason, *subject_of(message), fitting(facts), policy or {}, would_change_it)


def key_taken(message: Message, contents: bytes, key: str) -> Conclusion:
    same = contents == message.contents
    outcome: Outcome = "duplicate" if same else "conflict"
    return conclude(message, outcome, outcome, {"same": key})
