"""The shape of `avoir explain --json`, as docs/cli.md fixes it."""

from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime
from typing import Any
from uuid import UUID

from avoir.cli.base.output import amount, rfc3339
from avoir.cli.explain.prose.explanation import Prose
from avoir.cli.explain.view import (
    Explanation,
    GrantEntry,
    GrantState,
    LineState,
    PaymentState,
    RecordedDecision,
)
from avoir.core.model.policy import PolicyVersion, stated
from avoir.core.model.rows import (
    Application,
    BookingCancellation,
    Change,
    Invoice,
    PlanCancellation,
    Reservation,
    Void,
)


def explanation_json(explanation: Explanation, prose: Prose) -> dict[str, Any]:
    """The documented shape of `avoir explain --json`."""
    voids = {each.key: each for each in explanation.voids}
    return {
        "tenant_id": explanation.tenant_id,
        "subject": explanation.subject._asdict(),
        "as_of": rfc3339(explanation.as_of),
        "words": {"decided": prose.decided, "since": prose.since, "now": prose.now},
        "decisions": [_plain(each) for each in explanation.decisions],
        "later_decisions": [_plain(each) for each in explanation.later],
        "invoices": [_invoice(each, voids.get(each.key)) for each in explanation.invoices],
        "lines": [_line(each) for each in explanation.lines],
        "changes": [_change(each) for each in explanation.changes],
        "grants": [_grant(each) for each in explanation.grants],
        "payments": [_payment(each) for each in explanation.payments],
        "applications": [_application(each) for each in explanation.applications],
        "reservations": [_reservation(each) for each in explanation.reservations],
        "policies": [_policy(each) for each in explanation.policies],
    }


def _invoice(invoice: Invoice, void: Void | None) -> dict[str, Any]:
    currency = invoice.account.currency
    return {
        "invoice_id": invoice.key.invoice_id,
        "number": invoice.number,
        "owner": invoice.account.owner._asdict(),
        "currency": currency,
        "finalized_at": rfc3339(invoice.finalized_at),
        **_amounts(invoice, ("total", "due", "settled", "applied"), currency),
        "settled_at": rfc3339(invoice.settled_at),
        "automatic": invoice.automatic,
        "barred": invoice.barred,
        "voided_at": None if void is None else rfc3339(void.occurred_at),
        "void_reason": None if void is None else void.reason,
    }


def _line(state: LineState) -> dict[str, Any]:
    line, currency = state.line, state.invoice.account.currency
    return {
        "invoice_id": line.invoice.invoice_id,
        "line_id": line.line_id,
        "kind": line.kind,
        "subject_id": line.subject_id,
        "currency": currency,
        "billed": amount(line.amount + line.tax, currency),
        "cost": amount(line.cost, currency),
        "target": None if state.target is None else amount(state.target, currency),
        "given": amount(state.given, currency),
        "shortfall": amount(state.shortfall, currency),
    }


def change_json(change: Change) -> dict[str, Any]:
    """What every change has, whatever it is explained with."""
    return {
        "topic": change.topic,
        "event_id": change.event_id,
        "revision": change.revision,
        "occurred_at": rfc3339(change.occurred_at),
        "changed_by": change.changed_by,
        "asked": change.asked,
    }


def _change(change: Change) -> dict[str, Any]:
    fee = change.fee if isinstance(change, BookingCancellation) else 0
    return {
        **change_json(change),
        "fee": amount(fee, change.currency) if change.currency else None,
        "currency": change.currency,
        "effective_at": rfc3339(change.effective_at) if isinstance(change, PlanCancellation) else None,
    }


def _grant(state: GrantState) -> dict[str, Any]:
    grant, currency = state.grant, state.grant.account.currency
    buckets = ("amount", "available", "reserved", "spent", "lost", "taken", "pending")
    given_for = grant.entitlement
    return {
        "grant_id": str(grant.key.id),
        "owner": grant.account.owner._asdict(),
        "currency": currency,
        **_amounts(grant, buckets, currency),
        "reference": grant.reference,
        "source": grant.source,
        "reason": grant.reason,
        "note": grant.note,
        "effective_at": rfc3339(grant.effective_at),
        "expires_at": rfc3339(grant.expires_at),
        "expired": state.is_expired,
        "topic": grant.topic,
        "event_id": grant.event_id,
        "recorded_at": rfc3339(state.recorded_at),
        "given_for": given_for and {"kind": given_for.kind, "id": given_for.id, "line_id": given_for.line_id},
        "uses": [{**use._asdict(), "amount": amount(use.amount, currency)} for use in state.uses],
        "held": [_reservation(each) for each in state.held],
        "steps": [{**_plain(entry), "amount": amount(entry.amount, currency)} for entry in state.entries],
    }


def _payment(state: PaymentState) -> dict[str, Any]:
    payment, currency = state.payment, state.payment.account.currency
    return {
        "kind": payment.key.kind,
        "payment_id": payment.key.id,
        "owner": payment.account.owner._asdict(),
        "currency": currency,
        **_amounts(payment, ("amount", "reversed", "settled"), currency),
        "occurred_at": rfc3339(payment.occurred_at),
        "settlements": [
            {"invoice_id": invoice_id, "amount": amount(part, currency)}
            for invoice_id, part in state.settlements
        ],
    }


def _application(use: Application) -> dict[str, Any]:
    currency = use.account.currency
    return {
        "application_id": str(use.key.id),
        "invoice_id": use.invoice.invoice_id,
        "currency": currency,
        "amount": amount(use.amount, currency),
        "applied_by": use.applied_by,
        "applied_at": rfc3339(use.applied_at),
        "reinstated": use.reinstated,
        "slices": [
            {"grant_id": str(grant_id), "amount": amount(part, currency)} for grant_id, part in use.slices
        ],
        "topic": use.topic,
        "event_id": use.event_id,
    }


def _reservation(row: Reservation) -> dict[str, Any]:
    return {
        "application_id": str(row.key.application_id),
        "grant_id": str(row.key.grant_id),
        "invoice_id": row.invoice_id,
        "reserved_for": row.reserved_for,
        "currency": row.account.currency,
        "amount": amount(row.amount, row.account.currency),
        "topic": row.topic,
        "event_id": row.event_id,
    }


def _policy(version: PolicyVersion) -> dict[str, Any]:
    return {
        "event_id": version.event_id,
        "scope": version.key.scope,
        "scope_id": version.key.id,
        "occurred_at": rfc3339(version.occurred_at),
        "keys": stated(version.keys),
    }


def _amounts(row: object, names: Iterable[str], currency: str) -> dict[str, str]:
    return {name: amount(getattr(row, name), currency) for name in names}


def _plain(value: RecordedDecision | GrantEntry) -> dict[str, Any]:
    return {name: _json_value(part) for name, part in asdict(value).items()}


def _json_value(value: Any) -> Any:
    if isinstance(value, datetime):
        return rfc3339(value)
    if isinstance(value, UUID):
        return str(value)
    if hasattr(value, "_asdict"):
        return value._asdict()
    return value
