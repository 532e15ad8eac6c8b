"""Issues credit that has become due, as new grants."""

from datetime import datetime
from uuid import UUID

from msgspec.structs import replace

from avoir.core.effects.due import credit_for, worth
from avoir.core.effects.reservations import reserve_as_line_item
from avoir.core.model.events import AccountKey, CreditIssued, LineItem
from avoir.core.model.ledger import Posting
from avoir.core.model.money import share
from avoir.core.model.rows import Entitlement, Grant, GrantKey, InvoiceKey, Line
from avoir.core.state.draft import BY_TIME, Draft
from avoir.core.worth.proration import days_later

DEFAULT_PRIORITY = 50


def issue(draft: Draft, entitlement: Entitlement) -> None:
    """Issue an entitlement's worth above what was given, as one new grant."""
    amount = worth(draft, entitlement) - entitlement.given
    if amount <= 0:
        return
    line = draft.state.lines.get(entitlement.key) if entitlement.key.kind == "line" else None
    effective_at = effective(draft, entitlement)
    ordinal = entitlement.grants + 1
    cause = draft.cause or BY_TIME
    grant = Grant(
        key=GrantKey(entitlement.key.tenant_id, draft.new_id(*entitlement.key, ordinal)),
        account=entitlement.account,
        amount=amount,
        pending=amount,
        available=0,
        reserved=0,
        spent=0,
        lost=0,
        taken=0,
        source=entitlement.source,
        reason=entitlement.source,
        note=None,
        priority=DEFAULT_PRIORITY,
        paid_for=True,
        effective_at=effective_at,
        expires_at=expiry(draft, entitlement, line, effective_at),
        reference=None,
        entitlement=entitlement.key,
        ordinal=ordinal,
        topic=cause.topic,
        event_id=cause.event_id,
    )
    item = (
        line_item(draft, entitlement, grant, line) if line is not None and line.subject is not None else None
    )
    draft.put(grant, replace(entitlement, given=entitlement.given + amount, grants=ordinal, overtakes=None))
    draft.record(
        entitlement.account,
        issued(grant, item, entitlement.overtakes),
        [Posting(grant.key.id, "issued", "available", amount)],
        cause=draft.cause,
    )
    if entitlement.as_line_item:
        reserve_as_line_item(draft, draft.state.grants[grant.key], amount)
    if entitlement.source == "prepaid":
        await_refill(draft, entitlement.account)


def issued(grant: Grant, line_item: LineItem | None = None, overtakes: UUID | None = None) -> CreditIssued:
    """The event that says that a grant is issued."""
    return CreditIssued(
        grant_id=grant.key.id,
        amount=grant.amount,
        source=grant.source,
        reason=grant.reason,
        note=grant.note,
        priority=grant.priority,
        effective_at=grant.effective_at,
        expires_at=grant.expires_at,
        document=grant.document,
        line_item=line_item,
        overtakes=overtakes,
    )


def await_refill(draft: Draft, key: AccountKey) -> None:
    """Record that prepaid credit came, so that a refill may be requested again."""
    account = draft.account(key)
    if account.refill_asked:
        draft.put(replace(account, refill_asked=False))


def effective(draft: Draft, entitlement: Entitlement) -> datetime:
    """Effective time of an entitlement's credit: the later of its cause and its invoice's settlement."""
    key = entitlement.invoice
    if key is None:
        return entitlement.due_from
    return max(entitlement.due_from, draft.state.invoices[key].settled_at)


def expiry(
    draft: Draft, entitlement: Entitlement, line: Line | None, effective_at: datetime
) -> datetime | None:
    """Expiry of new credit: prepaid lines have their own, the policy sets it for bookings, plans and overpayments.

    Credit of a negative total expires with the first of the invoice's credit lines.
    """
    if entitlement.source == "prepaid":
        return line.expires_at if line is not None else None
    if entitlement.source == "negative_invoice":
        return _first_expiry_of_credit_lines(draft, entitlement)
    if entitlement.expires_after_days is None:
        return None
    return days_later(effective_at, entitlement.expires_after_days, entitlement.time_zone)


def _first_expiry_of_credit_lines(draft: Draft, entitlement: Entitlement) -> datetime | None:
    key = InvoiceKey(entitlement.key.tenant_id, entitlement.key.id)
    keys = draft.state.applications_of_invoice.get(key) or ()
    used = (draft.state.applications[each] for each in keys)
    grants = (
        draft.state.grants[GrantKey(key.tenant_id, grant_id)]
        for application in used
        if application.applied_by == "line_item" and not application.reinstated
        for grant_id, _ in application.slices
    )
    return min((grant.expires_at for grant in grants if grant.expires_at is not None), default=None)


def line_item(draft: Draft, entitlement: Entitlement, grant: Grant, line: Line) -> LineItem:
    """Line item of a grant; tax is split off the cumulative credit in the proportion of the line's cost.

    Neither part may be positive, so if a line's amount and tax have opposite signs, tax is limited to between zero and
    the total.
    """
    # From the cumulative credit, so that the rounded tax of a line's grants adds up to the tax of their sum.
    currency = entitlement.account.currency
    whole = line.amount + line.tax if line.cost_tax is None else line.cost
    of_line = min(max(line.tax, 0), whole) if line.cost_tax is None else line.cost_tax
    tax_before = share(entitlement.given, of_line, whole, currency)
    tax = share(entitlement.given + grant.amount, of_line, whole, currency) - tax_before
    return LineItem(
        credit_line_id=grant.key.id,
        description=f"Credit for {line.kind} {line.subject_id}",
        amount=-(grant.amount - tax),
        tax=-tax,
        credit_for=credit_for(draft, entitlement),
    )
