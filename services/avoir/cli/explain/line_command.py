"""`avoir explain --invoice I --line L`: the worth of one line as JSON."""

from typing import Any

from avoir.cli.base.output import amount, rfc3339
from avoir.cli.explain.document import change_json
from avoir.cli.explain.line_query import ChangeWorth, LineWorth
from avoir.core.model.facts import Period
from avoir.core.model.rows import BookingCancellation, BookingShortening, Change, PlanCancellation


def line_worth_json(worth: LineWorth, words: list[str]) -> dict[str, Any]:
    """The documented shape of `avoir explain --invoice I --line L --json`."""
    invoice, line, currency = worth.invoice, worth.line, worth.invoice.account.currency
    amounts = {
        "amount": line.amount,
        "tax": line.tax,
        "total": worth.total,
        "discounts_on_invoice": worth.discounts,
        "discount": max(worth.total, 0) - line.cost,
        "cost": line.cost,
        "target": worth.target,
        "due_now": worth.due_now,
        "given": worth.given,
        "covered": worth.covered,
        "shortfall": worth.shortfall,
    }
    return {
        "tenant_id": worth.tenant_id,
        "subject": {"kind": "line", "id": line.line_id, "invoice_id": invoice.key.invoice_id},
        "as_of": rfc3339(worth.as_of),
        "words": words,
        "kind": line.kind,
        "subject_id": line.subject_id,
        "period": _period(line.period),
        "currency": currency,
        **{name: None if each is None else amount(each, currency) for name, each in amounts.items()},
        "invoice": {
            "finalized_at": rfc3339(invoice.finalized_at),
            "due": amount(invoice.due, currency),
            "voided": invoice.voided,
            "settled_at": rfc3339(invoice.settled_at) if not invoice.due else None,
            "settle_by": rfc3339(worth.settle_by),
        },
        "changes": [_change_json(each, currency) for each in worth.changes],
    }


def _change_json(each: ChangeWorth, currency: str) -> dict[str, Any]:
    change = each.change
    ended = change if isinstance(change, PlanCancellation) else None
    return {
        **change_json(change),
        "role": each.role,
        "worth": None if each.worth is None else amount(each.worth, currency),
        "fee": _fee(change),
        "fee_kept": amount(each.fee, currency),
        "unused": list(each.share) if each.share else None,
        "remaining_period": _period(change.remaining_period)
        if isinstance(change, BookingShortening)
        else None,
        "effective_at": rfc3339(ended.effective_at) if ended else None,
        "proration": ended.proration if ended else None,
        "time_zone": ended.time_zone if ended else None,
    }


def _fee(change: Change) -> str | None:
    if not isinstance(change, BookingCancellation) or not change.currency or not change.fee:
        return None
    return amount(change.fee, change.currency)


def _period(period: Period | None) -> dict[str, str | None] | None:
    return {"start": rfc3339(period.start), "end": rfc3339(period.end)} if period else None
