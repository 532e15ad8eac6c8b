"""The heart: after every message, until nothing changes, money and credit go where they are due.

For one account: (1) payments settle the invoices they are for; (2) what is no longer due is taken back, credit
lines that were short take what came back, then what is left of payments is issued; (3) invoices take what is
reserved for them, automatic ones then available credit; (4) what has become due is issued. Within a pass invoices
only become settled and never reopen, so each repetition settles at least one: `settle` ends.

Before a message everything is at rest, so only what the message touched, and what depends on it, can need anything.
That worklist is what a pass walks; tests hold it against the same pass over everything.
"""

from collections.abc import Iterable, Iterator
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

    RuntimeError if that took more passes than the changed invoices allow (a defect).
    """
    for account in sorted(set(accounts)):
        expire_overdue(draft, account)
        passes = 0
        while settle_once(draft, account, reason):
            passes += 1
            if passes > sum(1 for _ in draft.state.changed("invoices")) + 3:
                raise RuntimeError(f"account {account} does not come to rest")


def settle_once(draft: Draft, account: AccountKey, reason: Lowered) -> bool:
    """One pass over what the message touched in an account; says whether it takes another one."""
    touched = draft.begin_pass(account)
    _expire(draft, account, touched_grants(draft, touched))
    for payment in payments_concerned(draft, account, touched):
        settle_invoices(draft, payment)
    # What was written until now leaves nothing to do but what follows in this pass.
    before = draft.writes
    entitlements = _Concerned(draft, touched)
    for entitlement in entitlements:
        take_back(draft, entitlement, reason)
    for grant in touched_grants(draft, touched):
        make_up(draft, grant)
    for entitlement in entitlements:
        if entitlement.key.kind in ("payment", "amount_paid"):
            issue(draft, entitlement)
    for key in sorted(touched.invoices):
        use_reservations(draft, key)
    for invoice in invoices_concerned(draft, account, touched):
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
    return [draft.state.grants[key] for key in sorted(touched.grants, key=lambda key: key.id.int)]


def payments_concerned(draft: Draft, account: AccountKey, touched: Touched) -> list[Payment]:
    """The payments that may have something to settle: touched ones, and those for a touched invoice that is open."""
    keys = set(touched.payments)
    keys |= {key for grant in touched_grants(draft, touched) if (key := grant.payment_key) is not None}
    open_ones = [invoice for key in touched.invoices if (invoice := draft.state.invoices[key]).due > 0]
    due = sum(invoice.due for invoice in open_ones)
    for invoice in open_ones:
        keys.update(_payments_for(draft, invoice, due))
    known = (draft.state.payments[key] for key in keys)
    return sorted((each for each in known if each.account == account), key=payment_order)


def _payments_for(draft: Draft, invoice: Invoice, due: int) -> Iterator[PaymentKey]:
    """Those that name the invoice, and of those that name none as many as can be needed, given all that is due."""
    yield from draft.state.payments_of_invoice.get(invoice.key) or ()
    for payment in draft.state.walk("free_payments", invoice.account, (invoice.finalized_at,)):
        yield payment.key
        due -= free_of(draft, payment)
        if due <= 0:
            break


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


def invoices_concerned(draft: Draft, account: AccountKey, touched: Touched) -> Iterator[Invoice]:
    """The invoices that may take credit, oldest first: touched ones, and those a touched grant is early enough for.

    The latter only while such a grant has something left: any other credit would be on them already.
    """
    now, grants = draft.moment.now, [grant for grant in touched_grants(draft, touched) if grant.available > 0]

    def is_something_left(invoice: Invoice) -> bool:
        at, held = invoice.finalized_at, (draft.state.grants[grant.key] for grant in grants)
        return any(whole(grant) > 0 and is_unexpired(grant, at, now) for grant in held)

    others: Iterable[Invoice] = ()
    if grants:
        since = min(grant.effective_at for grant in grants)
        others = takewhile(is_something_left, draft.state.walk("taking_invoices", account, (since,)))
    mine = sorted((draft.state.invoices[key] for key in touched.invoices), key=_place)
    for invoice in merge(mine, others, key=_place):
        if not draft.account(account).available:
            return
        invoice = draft.state.invoices[invoice.key]
        if invoice.takes_credit:
            yield invoice


def _place(invoice: Invoice) -> tuple[object, ...]:
    return invoice.place


def expire_overdue(draft: Draft, account: AccountKey) -> None:
    """Expire what remains of all of an account's grants whose time has come, to the second."""
    now = draft.moment.now
    over = takewhile(lambda grant: grant.is_expired(now), draft.state.walk("grants_to_expire", account))
    _expire(draft, account, list(over))


def _expire(draft: Draft, account: AccountKey, grants: Iterable[Grant]) -> None:
    now = draft.moment.now
    overdue = [
        (grant.expires_at, grant.key, grant)
        for grant in grants
        if grant.is_expired(now) and grant.remaining > 0
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
        payment = _settle_invoice(draft, payment, invoice, amount)
        free -= amount
        if free == 0:
            break
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


def invoices_for(draft: Draft, payment: Payment) -> Iterable[Invoice]:
    """The open invoices that a payment is for: those it names, or else the owner's, oldest finalization first."""
    if payment.invoice_ids:
        keys = [InvoiceKey(payment.key.tenant_id, each) for each in dict.fromkeys(payment.invoice_ids)]
        named = (draft.state.invoices.get(key) for key in keys)
        return [
            each for each in named if each is not None and each.account == payment.account and each.due > 0
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
