"""The heart: after every message, until nothing changes, money and credit go where they are due.

For one account: (1) payments settle the invoices they are for; (2) what is no longer due is taken back, then what is
left of payments is issued; (3) automatic invoices take available credit; (4) what has become due is issued. Within a
pass invoices only become settled and never reopen, so each repetition settles at least one: `settle` ends.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from avoir.core.allocation import allocate, usable
from avoir.core.draft import Draft
from avoir.core.events import (
    AccountKey,
    CreditApplied,
    CreditExpired,
    CreditFor,
    CreditIssued,
    CreditShortfall,
    CreditVoided,
    LineItem,
    ShortfallReason,
    Slice,
)
from avoir.core.ledger import CustomerAccount, Posting
from avoir.core.money import round_down, share
from avoir.core.state import (
    Application,
    ApplicationKey,
    Entitlement,
    Grant,
    GrantKey,
    Invoice,
    InvoiceKey,
    Line,
    Payment,
    Settlement,
)

BUCKETS: tuple[CustomerAccount, CustomerAccount] = ("available", "reserved")
DEFAULT_PRIORITY = 50


def settle(draft: Draft, accounts: Iterable[AccountKey]) -> None:
    """Bring the accounts to rest. RuntimeError if that took more passes than open invoices allow (a defect)."""
    for account in sorted(set(accounts)):
        bound = len(draft.state.invoices_of_account.get(account) or ()) + 3
        while settle_once(draft, account):
            bound -= 1
            if bound < 0:
                raise RuntimeError(f"account {account} does not come to rest")


def settle_once(draft: Draft, account: AccountKey) -> bool:
    """One pass over what is open in an account; says whether anything changed."""
    before = draft.writes
    expire_overdue(draft, account)
    for payment in draft.payments(account):
        settle_invoices(draft, payment)
    for entitlement in draft.entitlements(account):
        take_back(draft, entitlement)
    for entitlement in draft.entitlements(account):
        if entitlement.key.kind in ("payment", "amount_paid"):
            issue(draft, entitlement)
    for invoice in applicable(draft, account):
        if draft.account(account).available == 0:
            break
        apply_available(draft, invoice)
    for entitlement in draft.entitlements(account):
        if entitlement.key.kind in ("line", "negative_total"):
            issue(draft, entitlement)
    return draft.writes != before


def expire_overdue(draft: Draft, account: AccountKey) -> None:
    """Expire what remains of the account's grants whose time has come, to the second."""
    now = draft.moment.now
    overdue = [
        (grant.expires_at, grant.key, grant)
        for grant in draft.grants(account)
        if grant.expires_at is not None and grant.expires_at <= now and grant.available + grant.reserved > 0
    ]
    for expires_at, _, grant in sorted(overdue, key=lambda each: each[:2]):
        remaining = grant.available + grant.reserved
        postings = [Posting(grant.key.id, bucket, "expired", getattr(grant, bucket)) for bucket in BUCKETS]
        draft.record(
            account,
            CreditExpired(grant.key.id, remaining),
            [posting for posting in postings if posting.amount],
            occurred_at=expires_at,
        )


def settle_invoices(draft: Draft, payment: Payment) -> None:
    """Use what a payment has left, its unspent overpayment included, on the invoices it is for."""
    free = free_of(draft, payment)
    if free <= 0:
        return
    for invoice in invoices_for(draft, payment):
        amount = min(free, invoice.due)
        if amount > 0:
            payment = _settle_invoice(draft, payment, invoice, amount)
            free -= amount
    retarget_payment(draft, payment)


def free_of(draft: Draft, payment: Payment) -> int:
    """What a payment could still settle, in micros: what is not issued yet, and what remains of its overpayment."""
    entitlement = draft.state.entitlements.get(payment.entitlement)
    if entitlement is None:
        return payment.left
    unissued = payment.left - entitlement.given
    remaining = sum(grant.available for grant in draft.grants_for(entitlement.key))
    return max(0, unissued + round_down(remaining, payment.account.currency))


def invoices_for(draft: Draft, payment: Payment) -> list[Invoice]:
    """The open invoices that a payment is for: those it names, or else the owner's, oldest finalization first."""
    if payment.invoice_ids:
        keys = [InvoiceKey(payment.key.tenant_id, each) for each in dict.fromkeys(payment.invoice_ids)]
        named = (draft.state.invoices.get(key) for key in keys)
        return [
            each for each in named if each is not None and each.account == payment.account and each.due > 0
        ]
    return [each for each in draft.open_invoices(payment.account) if each.finalized_at <= payment.occurred_at]


def _settle_invoice(draft: Draft, payment: Payment, invoice: Invoice, amount: int) -> Payment:
    entitlement = draft.state.entitlements.get(payment.entitlement)
    if entitlement is not None:
        issued = amount - (payment.left - entitlement.given)
        if issued > 0:
            take_from_grants(draft, entitlement, issued, "payment_settled_invoice")
    n = len(draft.state.settlements_of_payment.get(payment.key) or ()) + 1
    payment = replace(payment, settled=payment.settled + amount)
    draft.put(
        Settlement(payment.key, n, invoice.key, amount),
        payment,
        replace(
            invoice,
            settled=invoice.settled + amount,
            settled_at=max(invoice.settled_at, payment.occurred_at),
        ),
    )
    return payment


def retarget_payment(draft: Draft, payment: Payment) -> None:
    """Make what a payment has left its entitlement's target; one with nothing left and nothing given has none."""
    entitlement = draft.state.entitlements.get(payment.entitlement)
    if entitlement is not None:
        if entitlement.target != payment.left:
            draft.put(replace(entitlement, target=payment.left))
    elif payment.left:
        draft.put(
            Entitlement(
                key=payment.entitlement,
                account=payment.account,
                cost=payment.amount,
                target=payment.left,
                given=0,
                covered=0,
                shortfall=0,
                shortfall_reason=None,
                grants=0,
                source="overpayment",
                due_from=payment.occurred_at,
                settle_by=None,
            )
        )


def worth(draft: Draft, entitlement: Entitlement) -> int:
    """What an entitlement is worth as things stand, in micros: its target once its invoice is settled."""
    if entitlement.invoice is None:
        return entitlement.target
    invoice = draft.state.invoices[entitlement.invoice]
    if invoice.voided or invoice.due > 0:
        return 0
    if entitlement.settle_by is not None and invoice.settled_at > entitlement.settle_by:
        return 0
    return entitlement.target


def take_back(draft: Draft, entitlement: Entitlement) -> None:
    """Take back what was given above the worth, as far as it remains, and report what could not be as a shortfall."""
    above = excess(draft, entitlement)
    if above <= 0 and entitlement.shortfall == 0:
        return
    reason = draft.reason
    if above > 0:
        take_from_grants(draft, entitlement, above, reason)
    report_shortfall(draft, draft.state.entitlements[entitlement.key], reason)


def excess(draft: Draft, entitlement: Entitlement) -> int:
    """What was given above the worth; of what a voided invoice's payments have covered, nothing is taken twice."""
    above = entitlement.given - entitlement.covered - worth(draft, entitlement)
    return above - lost_of(draft, entitlement) if entitlement.covered else above


def lost_of(draft: Draft, entitlement: Entitlement) -> int:
    """What of an entitlement's credit expired or was voided."""
    return sum(grant.lost for grant in draft.grants_for(entitlement.key))


def take_from_grants(draft: Draft, entitlement: Entitlement, amount: int, reason: str) -> int:
    """Take up to an amount back from an entitlement's grants, last issued first, available before reserved."""
    taken = 0
    for bucket in BUCKETS:
        for grant in reversed(draft.grants_for(entitlement.key)):
            part = min(amount - taken, getattr(grant, bucket))
            if part > 0:
                draft.record(
                    entitlement.account,
                    CreditVoided(grant.key.id, part, reason),
                    [Posting(grant.key.id, bucket, "taken_back", part)],
                    cause=draft.cause,
                )
                taken += part
    if taken:
        draft.put(replace(entitlement, given=entitlement.given - taken))
    return taken


def unreturned(draft: Draft, entitlement: Entitlement) -> int:
    """What was given above the worth and spent; what expired or was voided is no shortfall."""
    above = entitlement.given - entitlement.covered - worth(draft, entitlement)
    return max(0, above - lost_of(draft, entitlement))


def report_shortfall(draft: Draft, entitlement: Entitlement, reason: str) -> None:
    """Record the change of an entitlement's shortfall, if there is one; a smaller one keeps the reason it had."""
    outstanding = unreturned(draft, entitlement)
    change = outstanding - entitlement.shortfall
    if change == 0:
        return
    why = (
        shortfall_reason(reason)
        if change > 0 or not entitlement.shortfall_reason
        else entitlement.shortfall_reason
    )
    draft.put(replace(entitlement, shortfall=outstanding, shortfall_reason=why))
    body = CreditShortfall(change, outstanding, why, credit_for(draft, entitlement))
    draft.record(entitlement.account, body, cause=draft.cause)


def shortfall_reason(reason: str) -> ShortfallReason:
    """The reason of a shortfall from the reason that credit was taken back for."""
    match reason:
        case "invoice_voided":
            return "invoice_voided"
        case "payment_reversed":
            return "payment_reversed"
        case _:
            return "changed"


def credit_for(draft: Draft, entitlement: Entitlement) -> CreditFor:
    """What an entitlement's credit was given for, in the words of the events."""
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


def issue(draft: Draft, entitlement: Entitlement) -> None:
    """Issue what an entitlement is worth above what was given, as one new grant."""
    amount = worth(draft, entitlement) - entitlement.given
    if amount <= 0:
        return
    line = draft.state.lines.get(entitlement.key) if entitlement.key.kind == "line" else None
    effective_at = effective(draft, entitlement)
    ordinal = entitlement.grants + 1
    grant = Grant(
        key=GrantKey(entitlement.key.tenant_id, draft.new_id(*entitlement.key, ordinal)),
        account=entitlement.account,
        amount=amount,
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
        topic=draft.cause.topic if draft.cause else "",
        event_id=draft.cause.event_id if draft.cause else "",
    )
    item = (
        line_item(draft, entitlement, grant, line) if line is not None and line.subject is not None else None
    )
    draft.put(grant, replace(entitlement, given=entitlement.given + amount, grants=ordinal))
    draft.record(
        entitlement.account,
        CreditIssued(
            grant_id=grant.key.id,
            amount=amount,
            source=grant.source,
            reason=grant.reason,
            note=None,
            priority=grant.priority,
            effective_at=effective_at,
            expires_at=grant.expires_at,
            line_item=item,
        ),
        [Posting(grant.key.id, "issued", "available", amount)],
        cause=draft.cause,
    )


def effective(draft: Draft, entitlement: Entitlement) -> datetime:
    """When an entitlement's credit counts: the later of what it comes from and its invoice's settlement."""
    if entitlement.invoice is None:
        return entitlement.due_from
    return max(entitlement.due_from, draft.state.invoices[entitlement.invoice].settled_at)


def expiry(
    draft: Draft, entitlement: Entitlement, line: Line | None, effective_at: datetime
) -> datetime | None:
    """When new credit expires: prepaid lines say so, the policy does for bookings, plans and overpayment."""
    if entitlement.source == "prepaid":
        return line.expires_at if line is not None else None
    days = draft.moment.policy.expires_after_days
    if days is None or entitlement.source == "negative_invoice":
        return None
    return effective_at + timedelta(days=days)


def line_item(draft: Draft, entitlement: Entitlement, grant: Grant, line: Line) -> LineItem:
    """How a grant shows on an invoice; tax is split off the cumulative credit in the line's own proportion."""
    currency = entitlement.account.currency
    total = line.amount + line.tax
    tax_before = share(entitlement.given, line.tax, total, currency)
    tax = share(entitlement.given + grant.amount, line.tax, total, currency) - tax_before
    return LineItem(
        credit_line_id=grant.key.id,
        description=f"Credit for {line.kind} {line.subject_id}",
        amount=-(grant.amount - tax),
        tax=-tax,
        credit_for=credit_for(draft, entitlement),
    )


def applicable(draft: Draft, account: AccountKey) -> list[Invoice]:
    """The open invoices that some available credit is early enough for, oldest finalization first."""
    earliest = min(
        (grant.effective_at for grant in draft.grants(account) if grant.available > 0), default=None
    )
    if earliest is None:
        return []
    return [each for each in draft.open_invoices(account, earliest) if each.automatic and not each.barred]


def apply_available(draft: Draft, invoice: Invoice) -> None:
    """Use available credit, effective no later than the finalization, on an invoice with something due."""
    grants = usable(draft.grants(invoice.account), invoice.finalized_at, draft.moment.now)
    available = sum(grant.available for grant in grants)
    amount = round_down(min(invoice.due, available), invoice.account.currency)
    if amount > 0:
        apply(draft, invoice, amount, grants)


def apply(draft: Draft, invoice: Invoice, amount: int, grants: Sequence[Grant]) -> None:
    """Apply an amount of credit to an invoice, from grants in the order given."""
    parts = allocate(amount, grants)
    cause = draft.cause
    application = Application(
        key=ApplicationKey(
            invoice.key.tenant_id, draft.new_id(invoice.key.tenant_id, "application", *invoice.key)
        ),
        account=invoice.account,
        invoice=invoice.key,
        amount=amount,
        applied_by="auto",
        applied_at=invoice.finalized_at,
        reinstated=False,
        slices=tuple((part.grant.key.id, part.amount) for part in parts),
        topic=cause.topic if cause else "",
        event_id=cause.event_id if cause else "",
    )
    draft.put(application, replace(invoice, applied=invoice.applied + amount))
    draft.record(
        invoice.account,
        CreditApplied(
            application_id=application.key.id,
            invoice_id=invoice.key.invoice_id,
            amount=amount,
            amount_due=invoice.due - amount,
            by="auto",
            slices=tuple(Slice(part.grant.key.id, part.amount, part.grant.source) for part in parts),
        ),
        [Posting(part.grant.key.id, "available", "applied", part.amount) for part in parts],
        cause=cause,
    )
