"""The heart: after every message, until nothing changes, money and credit go where they are due.

For one account: (1) payments settle the invoices they are for; (2) what is no longer due is taken back, credit
lines that were short take what came back, then what is left of payments is issued; (3) invoices take what is
reserved for them, automatic ones then available credit; (4) what has become due is issued. Within a pass invoices
only become settled and never reopen, so each repetition settles at least one: `settle` ends.

Before a message everything is at rest, so only what the message touched, and what depends on it, can need anything.
That worklist is what a pass walks; tests hold it against the same pass over everything.
"""

from collections.abc import Iterable, Iterator

from msgspec.structs import replace

from avoir.core.allocation import allocate, usable, whole
from avoir.core.apply import apply
from avoir.core.credit_lines import make_up
from avoir.core.draft import Draft, Touched, invoice_order, payment_order
from avoir.core.entitled import retarget_payment
from avoir.core.events import AccountKey, CreditExpired
from avoir.core.issue import issue
from avoir.core.ledger import postings_of_all
from avoir.core.money import round_down
from avoir.core.reservations import lower_grant, use_reservations
from avoir.core.rows import (
    Entitlement,
    Grant,
    Invoice,
    InvoiceKey,
    Payment,
    PaymentKey,
    Settlement,
)
from avoir.core.take_back import take_back, take_from_grants


def settle(draft: Draft, accounts: Iterable[AccountKey]) -> None:
    """Bring the accounts to rest. RuntimeError if that took more passes than open invoices allow (a defect)."""
    for account in sorted(set(accounts)):
        expire_overdue(draft, account)
        bound = len(draft.state.invoices_of_account.get(account) or ()) + 3
        while settle_once(draft, account):
            bound -= 1
            if bound < 0:
                raise RuntimeError(f"account {account} does not come to rest")


def settle_once(draft: Draft, account: AccountKey) -> bool:
    """One pass over what the message touched in an account; says whether it takes another one."""
    touched = draft.begin_pass(account)
    _expire(draft, account, touched_grants(draft, touched))
    for payment in payments_concerned(draft, account, touched):
        settle_invoices(draft, payment)
    # What was written until now leaves nothing to do but what follows in this pass.
    before = draft.writes
    entitlements = _Concerned(draft, touched)
    for entitlement in entitlements:
        take_back(draft, entitlement)
    for grant in touched_grants(draft, touched):
        make_up(draft, grant)
    for entitlement in entitlements:
        if entitlement.key.kind in ("payment", "amount_paid"):
            issue(draft, entitlement)
    for key in sorted(touched.invoices):
        use_reservations(draft, key)
    if draft.account(account).available:
        for invoice in invoices_concerned(draft, account, touched):
            if draft.account(account).available == 0:
                break
            apply_available(draft, invoice)
    for entitlement in entitlements:
        if entitlement.key.kind in ("line", "negative_total"):
            issue(draft, entitlement)
    return draft.writes != before


class _Concerned:
    """The entitlements concerned, each time as they are then; they are looked up only where something was written."""

    def __init__(self, draft: Draft, touched: Touched) -> None:
        self._draft, self._touched = draft, touched
        self._writes = -1
        self._found: list[Entitlement] = []

    def __iter__(self) -> Iterator[Entitlement]:
        if self._writes != self._draft.writes:
            self._found = entitlements_concerned(self._draft, self._touched)
            self._writes = self._draft.writes
        return iter(self._found)


def touched_grants(draft: Draft, touched: Touched) -> list[Grant]:
    """The grants that the message moved something of."""
    return [draft.state.grants[key] for key in sorted(touched.grants)] if touched.grants else []


def payments_concerned(draft: Draft, account: AccountKey, touched: Touched) -> list[Payment]:
    """The payments that may have something to settle: touched ones, and all where a touched invoice is open."""
    for invoice in touched.invoices:
        if draft.state.invoices[invoice].due > 0:
            return draft.payments(account)
    keys = touched.payments
    if touched.grants:
        keys = keys | {
            PaymentKey(grant.entitlement.tenant_id, grant.entitlement.kind, grant.entitlement.id)
            for grant in touched_grants(draft, touched)
            if grant.entitlement is not None
            and (grant.entitlement.kind == "payment" or grant.entitlement.kind == "amount_paid")
        }
    return sorted((draft.state.payments[key] for key in keys), key=payment_order)


def entitlements_concerned(draft: Draft, touched: Touched) -> list[Entitlement]:
    """The entitlements whose worth or credit may have changed: touched themselves, or their invoice or a grant."""
    keys = set(touched.entitlements)
    for invoice in touched.invoices:
        keys.update(draft.state.entitlements_of_invoice.get(invoice) or ())
    for grant in touched_grants(draft, touched):
        if grant.entitlement is not None:
            keys.add(grant.entitlement)
    known = map(draft.state.entitlements.get, sorted(keys))
    return [entitlement for entitlement in known if entitlement is not None]


def invoices_concerned(draft: Draft, account: AccountKey, touched: Touched) -> list[Invoice]:
    """The open invoices that may take credit: touched ones, and all that a touched grant is early enough for."""
    available = [grant.effective_at for grant in touched_grants(draft, touched) if grant.available > 0]
    early_enough = draft.open_invoices(account, min(available)) if available else []
    found = {each.key: each for each in early_enough}
    for key in touched.invoices:
        found[key] = draft.state.invoices[key]
    open_ones = [each for each in found.values() if each.due > 0 and each.automatic and not each.barred]
    return sorted(open_ones, key=invoice_order)


def expire_overdue(draft: Draft, account: AccountKey) -> None:
    """Expire what remains of all of an account's grants whose time has come, to the second."""
    _expire(draft, account, draft.grants(account))


def _expire(draft: Draft, account: AccountKey, grants: Iterable[Grant]) -> None:
    now = draft.moment.now
    overdue = [
        (grant.expires_at, grant.key, grant)
        for grant in grants
        if grant.expires_at is not None and grant.expires_at <= now and grant.remaining > 0
    ]
    for expires_at, _, grant in sorted(overdue, key=lambda each: each[:2]):
        lower_grant(draft, grant.key, grant.reserved)
        draft.record(
            account,
            CreditExpired(grant.key.id, grant.remaining),
            postings_of_all(grant, "expired"),
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
    """What a payment could still settle, in micros: what is not issued yet, and what remains of its overpayment.

    Draws may leave fractions of a minor unit; these settle nothing, so that what is due stays in whole ones.
    """
    entitlement = draft.state.entitlements.get(payment.entitlement)
    if entitlement is None:
        return payment.left
    unissued = payment.left - entitlement.given
    remaining = sum(grant.available for grant in draft.grants_for(entitlement.key))
    return round_down(max(0, unissued + remaining), payment.account.currency)


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


def apply_available(draft: Draft, invoice: Invoice) -> None:
    """Use available credit, effective no later than the finalization, on an invoice with something due."""
    grants = usable(draft.grants(invoice.account), invoice.finalized_at, draft.moment.now)
    amount = min(round_down(invoice.due, invoice.account.currency), sum(map(whole, grants)))
    if amount > 0:
        apply(draft, invoice, allocate(amount, grants), "auto", at=invoice.finalized_at)
