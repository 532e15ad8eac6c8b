"""Worth of an entitlement now, and the purpose of its credit."""

from msgspec.structs import replace

from avoir.core.model.events import CreditFor
from avoir.core.model.rows import Entitlement, Payment
from avoir.core.model.rules import REAL_LIFE
from avoir.core.state.draft import Draft
from avoir.core.worth.targets import due_of


def worth(draft: Draft, entitlement: Entitlement) -> int:
    """Worth of an entitlement now, in micros: its target once its invoice is settled."""
    key = entitlement.invoice
    if key is None:
        return entitlement.target
    return due_of(entitlement.target, draft.state.invoices[key], entitlement.settle_by)


def credit_for(draft: Draft, entitlement: Entitlement) -> CreditFor:
    """Invoice line or payment that an entitlement's credit is given for, in the form of the events."""
    key = entitlement.key
    if key.kind == "payment":
        return CreditFor(payment_id=key.id)
    line = draft.state.lines.get(key) if key.kind == "line" else None
    return CreditFor(
        invoice_id=key.id,
        line_id=key.line_id or None,
        booking_id=line.subject_id if line is not None and line.kind == "booking" else None,
        plan_id=line.subject_id if line is not None and line.kind == "plan" else None,
    )


def retarget_payment(draft: Draft, payment: Payment) -> None:
    """Set the target of a payment's entitlement to what the payment has left; makes the entitlement when needed."""
    entitlement = draft.state.entitlements.get(payment.entitlement)
    if entitlement is not None:
        if entitlement.target != payment.left:
            draft.put(replace(entitlement, target=payment.left))
    elif payment.left > 0:
        policy = draft.policy(payment.account, payment.occurred_at).policy
        draft.put(
            Entitlement(
                key=payment.entitlement,
                account=payment.account,
                cost=payment.amount,
                target=payment.left,
                source="overpayment",
                due_from=payment.occurred_at,
                expires_after_days=policy.expires_after_days,
                time_zone=policy.time_zone if draft.rules >= REAL_LIFE else "UTC",
            )
        )
