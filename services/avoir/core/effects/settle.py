"""Settling: after every message, until nothing changes, money and credit go where they are due.

For one account: (1) payments settle their invoices; (2) credit that is no longer due is taken back, credit lines with
a shortfall use what came back, then the rest of each payment is issued; (3) invoices use what is reserved for them,
then automatic ones use available credit; (4) credit that has become due is issued. Within a pass invoices only become
settled and never reopen, so each repetition settles at least one: `settle` ends.

Before a message everything is at rest, so only what the message touched, and what depends on it, can need work. A pass
covers only this worklist; tests compare it with the same pass over everything.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from heapq import merge
from itertools import takewhile

from msgspec.structs import replace

from avoir.core.effects.allocation import allocate, is_unexpired, usable, whole
from avoir.core.effects.apply import apply
from avoir.core.effects.credit_lines import make_up
from avoir.core.effects.due import retarget_payment
from avoir.core.effects.issue import issue
from avoir.core.effects.reservations import lower_grant, use_reservations
from avoir.core.effects.take_back import take_back, take_from_grants
from avoir.core.model.events import AccountKey, CreditExpired
from avoir.core.model.ledger import postings_of_all
from avoir.core.model.money import round_down
from avoir.core.model.reasons import Lowered
from avoir.core.model.rows import (
    Entitlement,
    Grant,
    Invoice,
    InvoiceKey,
    Payment,
    PaymentKey,
    Settlement,
)
from avoir.core.state.draft import Draft, Touched, payment_order


def settle(draft: Draft, accounts: Iterable[AccountKey], reason: Lowered) -> None:
    """Bring the accounts to rest; credit that is no longer due is taken back for this reason.

    Raises RuntimeError after more passes than the changed invoices allow (a defect).
    """
    # Sorted, so that a retry, in another process too, makes the same events in the same order.
    for account in sorted(set(accounts)):
        expire_overdue(draft, account)
        passes = 0
        while settle_once(draft, account, reason):
            passes += 1
            if passes > len(draft.attempt.rows(draft.state.invoices)) + 3:
                raise RuntimeError(f"account {account} does not come to rest")


def settle_once(draft: Draft, account: AccountKey, reason: Lowered) -> bool:
    """One pass over what the message touched in an account; returns whether another is needed."""
    touched = draft.begin_pass(account)
    entitlements = _EntitlementsToCheck(draft, touched)
    before, released = 0, True
    while released:
        before = _settle_money(draft, account, touched, entitlements, reason)
        # What is released may be a payment's: payments have their turn again before an invoice takes available credit.
        released = bool([key for key in sorted(touched.invoices) if use_reservations(draft, key)])
    for invoice in invoices_to_check(draft, account, touched):
        apply_available(draft, invoice)
    for entitlement in entitlements:
        if entitlement.key.kind in ("line", "negative_total"):
            issue(draft, entitlement)
    return draft.writes != before


def _settle_money(
    draft: Draft,
    account: AccountKey,
    touched: Touched,
    entitlements: Iterable[Entitlement],
    reason: Lowered,
) -> int:
    """The first two steps of a pass; returns the number of writes before the second.

    The rest of the pass covers the writes up to there; only later ones make another pass necessary.
    """
    _expire(draft, account, touched_grants(draft, touched), draft.moment.now)
    for payment in payments_to_check(draft, account, touched):
        overpayment = draft.state.entitlements.get(payment.entitlement)
        if overpayment is not None:
            # Before the rest settles anything, or what was given too much would count as settled.
            take_back(draft, overpayment, reason)
        settle_invoices(draft, payment)
    before = draft.writes
    for entitlement in entitlements:
        take_back(draft, entitlement, reason)
    for grant in touched_grants(draft, touched):
        make_up(draft, grant)
    for entitlement in entitlements:
        if entitlement.key.kind in ("payment", "amount_paid"):
            issue(draft, entitlement)
    return before


class _EntitlementsToCheck:
    """Entitlements to check, in their current state; looked up only if something was written."""

    def __init__(self, draft: Draft, touched: Touched) -> None:
        self._draft, self._touched = draft, touched
        self._writes = -1
        self._found: list[Entitlement] = []

    def __iter__(self) -> Iterator[Entitlement]:
        if self._writes != self._draft.writes:
            self._found = entitlements_to_check(self._draft, self._touched)
            self._writes = self._draft.writes
        return iter(self._found)


def touched_grants(draft: Draft, touched: Touched) -> list[Grant]:
    """Grants of which the message moved something."""
    if not touched.grants:
        return []
    # Sorted, as sets have no order of their own that a retry could rely on.
    return [draft.state.grants[key] for key in sorted(touched.grants, key=lambda key: key.id.int)]


def payments_to_check(draft: Draft, account: AccountKey, touched: Touched) -> list[Payment]:
    """Payments that may settle something: touched ones, and those for a touched open invoice."""
    keys = set(touched.payments)
    keys |= {key for grant in touched_grants(draft, touched) if (key := grant.payment_key) is not None}
    open_ones = [invoice for key in touched.invoices if (invoice := draft.state.invoices[key]).due > 0]
    due = sum(invoice.due for invoice in open_ones)
    for invoice in open_ones:
        keys.update(_payments_for(draft, invoice, due))
    payments = [payment for key in keys if (payment := draft.state.payments[key]).account == account]
    return sorted(payments, key=payment_order)


def _payments_for(draft: Draft, invoice: Invoice, due: int) -> Iterator[PaymentKey]:
    """Payments that name the invoice, and as many of those that name none as the amount due can need."""
    yield from draft.state.payments_of_invoice.get(invoice.key) or ()
    for payment in draft.state.walk("free_payments", invoice.account, (invoice.finalized_at,)):
        yield payment.key
        due -= free_amount(draft, payment)
        if due <= 0:
            break


def entitlements_to_check(draft: Draft, touched: Touched) -> list[Entitlement]:
    """Entitlements whose worth or credit may have changed: touched, or with a touched invoice or grant."""
    keys = set(touched.entitlements)
    for invoice in touched.invoices:
        keys.update(draft.state.entitlements_of_invoice.get(invoice) or ())
    for grant in touched_grants(draft, touched):
        if grant.entitlement is not None:
            keys.add(grant.entitlement)
    known = map(draft.state.entitlements.get, sorted(keys))
    return [entitlement for entitlement in known if entitlement is not None]


def invoices_to_check(draft: Draft, account: AccountKey, touched: Touched) -> Iterator[Invoice]:
    """Invoices that may take credit, oldest first: touched ones, and those that a touched grant is early enough for.

    The latter only while the grant has something left: any other credit would already be on them.
    """
    if not draft.account(account).available:
        return
    now, grants = draft.moment.now, [grant for grant in touched_grants(draft, touched) if grant.available > 0]

    def is_something_left(invoice: Invoice) -> bool:
        at, held = invoice.finalized_at, (draft.state.grants[grant.key] for grant in grants)
        return any(whole(grant) > 0 and is_unexpired(grant, at, now) for grant in held)

    others: Iterable[Invoice] = ()
    if grants:
        since = min(grant.effective_at for grant in grants)
        others = takewhile(is_something_left, draft.state.walk("taking_invoices", account, (since,)))
    # Read lazily: each invoice may use up credit, and the rest needs no look once nothing is available.
    mine = sorted((draft.state.invoices[key] for key in touched.invoices), key=_sort_key)
    for invoice in merge(mine, others, key=_sort_key):
        if not draft.account(account).available:
            return
        invoice = draft.state.invoices[invoice.key]
        if invoice.takes_credit:
            yield invoice


def _sort_key(invoice: Invoice) -> tuple[object, ...]:
    return invoice.sort_key


def expire_overdue(draft: Draft, account: AccountKey, by: datetime | None = None) -> None:
    """Expire what remains of an account's grants whose `expires_at` has come, by now or by an earlier time."""
    by = by or draft.moment.now
    over = takewhile(lambda grant: grant.is_expired(by), draft.state.walk("grants_to_expire", account))
    _expire(draft, account, list(over), by)


def _expire(draft: Draft, account: AccountKey, grants: Iterable[Grant], by: datetime) -> None:
    overdue = [
        (grant.expires_at, grant.key, grant)
        for grant in grants
        if grant.is_expired(by) and grant.remaining > 0
    ]
    for expires_at, _, grant in sorted(overdue, key=lambda each: each[:2]):
        lower_grant(draft, grant.key, grant.reserved)
        draft.record(
            account,
            CreditExpired(grant.key.id, grant.remaining, grant.source, grant.document),
            postings_of_all(grant, "expired"),
            # The time of expiry, not the time at which it was handled.
            occurred_at=expires_at,
        )


def settle_invoices(draft: Draft, payment: Payment) -> None:
    """Use what a payment has left, including its unspent overpayment, on its invoices."""
    free = free_amount(draft, payment)
    if free <= 0:
        return
    for invoice in invoices_for(draft, payment):
        amount = min(free, invoice.due)
        payment = _settle_invoice(draft, payment, invoice, amount)
        free -= amount
        if free == 0:
            break
    retarget_payment(draft, payment)


def free_amount(draft: Draft, payment: Payment) -> int:
    """Amount that a payment could still settle, in micros: the unissued part plus its remaining overpayment.

    Fractions left by draws settle nothing, so amounts due stay in whole minor units.
    """
    entitlement = draft.state.entitlements.get(payment.entitlement)
    if entitlement is None:
        return payment.left
    unissued = payment.left - entitlement.given
    remaining = sum(grant.available for grant in draft.grants_for(entitlement.key))
    return round_down(max(0, unissued + remaining), payment.account.currency)


def invoices_for(draft: Draft, payment: Payment) -> Iterable[Invoice]:
    """Open invoices of a payment: those it names, otherwise the owner's, oldest finalization first."""
    if payment.invoice_ids:
        keys = [InvoiceKey(payment.key.tenant_id, each) for each in dict.fromkeys(payment.invoice_ids)]
        invoices = (draft.state.invoices.get(key) for key in keys)
        return [
            each for each in invoices if each is not None and each.account == payment.account and each.due > 0
        ]
    return takewhile(
        lambda invoice: invoice.finalized_at <= payment.occurred_at, draft.open_invoices(payment.account)
    )


def _settle_invoice(draft: Draft, payment: Payment, invoice: Invoice, amount: int) -> Payment:
    entitlement = draft.state.entitlements.get(payment.entitlement)
    if entitlement is not None:
        issued = amount - (payment.left - entitlement.given)
        if issued > 0:
            take_from_grants(draft, entitlement, issued, "payment_settled_invoice")
    # Undone settlements keep their number, with a lower amount, so the last number gives the next one.
    n = (draft.state.last_settlement.get(payment.key) or 0) + 1
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


def apply_available(draft: Draft, invoice: Invoice) -> None:
    """Use available credit, effective no later than the finalization, on an invoice with something due."""
    grants = usable(draft.grants_in_use(invoice.account), invoice.finalized_at, draft.moment.now)
    parts, _ = allocate(round_down(invoice.due, invoice.account.currency), grants)
    if parts:
        apply(draft, invoice, parts, "auto", at=invoice.finalized_at)
