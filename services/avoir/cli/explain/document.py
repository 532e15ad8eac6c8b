"""The shape of `avoir explain --json`, as docs/cli.md fixes it."""

from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime
from typing import Any
from uuid import UUID

from avoir.cli.base.output import amount, rfc3339
from avoir.cli.explain.prose.explanation import Telling
from avoir.cli.explain.view import (
    DecisionMade,
    Explanation,
    GrantStanding,
    LineStanding,
    PaymentStanding,
    Step,
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


def explanation_json(explanation: Explanation, telling: Telling) -> dict[str, Any]:
    """The documented shape of `avoir explain --json`."""
    voids = {each.key: each for each in explanation.voids}
    return {
        "tenant_id": explanation.tenant_id,
        "subject": explanation.subject._asdict(),
        "as_of": rfc3339(explanation.as_of),
        "words": {"decided": telling.decided, "since": telling.since, "now": telling.now},
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


def _line(standing: LineStanding) -> dict[str, Any]:
    line, currency = standing.line, standing.invoice.account.currency
    return {
        "invoice_id": line.invoice.invoice_id,
        "line_id": line.line_id,
        "kind": line.kind,
        "subject_id": line.subject_id,
        "currency": currency,
        "billed": amount(line.amount + line.tax, currency),
        "cost": amount(line.cost, currency),
        "target": None if standing.target is None else amount(standing.target, currency),
        "given": amount(standing.given, currency),
        "shortfall": amount(standing.shortfall, currency),
    }


def _change(change: Change) -> dict[str, Any]:
    fee = change.fee if isinstance(change, BookingCancellation) else 0
    return {
        "topic": change.topic,
        "event_id": change.event_id,
        "revision": change.revision,
        "occurred_at": rfc3339(change.occurred_at),
        "changed_by": change.changed_by,
        "asked": change.asked,
        "fee": amount(fee, change.currency) if change.currency else None,
        "currency": change.currency,
        "effective_at": rfc3339(change.effective_at) if isinstance(change, PlanCancellation) else None,
    }


def _grant(standing: GrantStanding) -> dict[str, Any]:
    grant, currency = standing.grant, standing.grant.account.currency
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
        "expired": standing.is_expired,
        "topic": grant.topic,
        "event_id": grant.event_id,
        "recorded_at": rfc3339(standing.recorded_at),
        "given_for": given_for and {"kind": given_for.kind, "id": given_for.id, "line_id": given_for.line_id},
        "uses": [{**use._asdict(), "amount": amount(use.amount, currency)} for use in standing.uses],
        "held": [_reservation(each) for each in standing.held],
        "steps": [{**_plain(step), "amount": amount(step.amount, currency)} for step in standing.steps],
    }


def _payment(standing: PaymentStanding) -> dict[str, Any]:
    payment, currency = standing.payment, standing.payment.account.currency
    return {
        "kind": payment.key.kind,
        "payment_id": payment.key.id,
        "owner": payment.account.owner._asdict(),
        "currency": currency,
        **_amounts(payment, ("amount", "reversed", "settled"), currency),
        "occurred_at": rfc3339(payment.occurred_at),
        "settlements": [
            {"invoice_id": invoice_id, "amount": amount(part, currency)}
            for invoice_id, part in standing.settlements
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


def _plain(value: DecisionMade | Step) -> dict[str, Any]:
    return {name: _json_value(part) for name, part in asdict(value).items()}


def _json_value(value: Any) -> Any:
    if isinstance(value, datetime):
        return rfc3339(value)
    if isinstance(value, UUID):
        return str(value)
    if hasattr(value, "_asdict"):
        return value._asdict()
    return value
