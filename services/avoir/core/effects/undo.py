"""Undoes applications, payments and invoices: each the exact opposite of what was done."""

from itertools import chain
from typing import assert_never

from msgspec.structs import replace

from avoir.core.effects.allocation import Part
from avoir.core.effects.apply import in_runs, slices
from avoir.core.effects.due import retarget_payment
from avoir.core.effects.reservations import is_line_item, reserve_again
from avoir.core.effects.take_back import excess, take_from_grants, unreturned
from avoir.core.model.events import CreditReinstated
from avoir.core.model.ledger import Posting
from avoir.core.model.money import round_down, round_up
from avoir.core.model.reasons import Released
from avoir.core.model.rows import (
    Application,
    Entitlement,
    EntitlementKey,
    Grant,
    GrantKey,
    Invoice,
    InvoiceKey,
    Line,
    Payment,
    PaymentKey,
    Settlement,
)
from avoir.core.state.draft import Draft


def reinstate(draft: Draft, application: Application, reason: str) -> None:
    """Give applied credit back to its grants; the amount is due again as before.

    If a credit line had lowered the total, the total rises to what it would have been, and a credit note shrinks. What
    the line had used of a line item is reserved again for the owner's next invoice.
    """
    _reinstate(draft, application, reason)
    recompute_settled_at(draft, application.invoice)


def _reinstate(draft: Draft, application: Application, reason: str) -> None:
    """Reinstate an application without `settled_at`: the caller recomputes that once for all that it undoes."""
    invoice = draft.state.invoices[application.invoice]
    if application.applied_by == "line_item":
        invoice = replace(invoice, restored=invoice.restored + application.amount)
    else:
        invoice = replace(invoice, applied=invoice.applied - application.amount)
    draft.put(replace(application, reinstated=True), invoice)
    _lower_negative_total(draft, invoice)
    for run in in_runs(_slices(draft, application)):
        draft.record(
            application.account,
            CreditReinstated(
                application_id=application.key.id,
                undone="application",
                invoice_id=invoice.key.invoice_id,
                amount=sum(part.amount for part in run),
                amount_due=invoice.due,
                slices=slices(run),
                reason=reason,
            ),
            [Posting(part.grant.key.id, "applied", "available", part.amount) for part in run],
            cause=draft.cause,
        )
    _reserve_again(draft, application)


def _slices(draft: Draft, application: Application) -> list[Part]:
    tenant_id = application.key.tenant_id
    return [
        Part(draft.state.grants[GrantKey(tenant_id, grant_id)], amount)
        for grant_id, amount in application.slices
    ]


def _lower_negative_total(draft: Draft, invoice: Invoice) -> None:
    entitlement = draft.state.entitlements.get(negative_total_key(invoice.key))
    negative = max(0, -invoice.charged)
    if entitlement is not None and entitlement.target > negative:
        draft.put(replace(entitlement, target=negative))


def _reserve_again(draft: Draft, application: Application) -> None:
    for grant, amount in _slices(draft, application):
        reserve_again(draft, grant.key, _of_line_item(draft, application, grant, amount))


def _of_line_item(draft: Draft, application: Application, grant: Grant, amount: int) -> int:
    """Part of an application's slice that was a line item: used by a credit line, or moved by hand."""
    match application.applied_by:
        case "line_item":
            return amount if is_line_item(draft, grant.key) else 0
        case "command" | "reservation":
            return application.moved
        case "auto":
            return 0
        case never:
            assert_never(never)


def recompute_settled_at(draft: Draft, key: InvoiceKey) -> None:
    """Recompute an invoice's `settled_at` from the payments and applications that still stand.

    Reads all of them, so undo everything on the invoice first and call this once at the end.
    """
    state = draft.state
    invoice = state.invoices[key]
    settlements = (state.settlements[each] for each in state.settlements_of_invoice.get(key) or ())
    applications = (state.applications[each] for each in state.applications_of_invoice.get(key) or ())
    settled_at = max(
        chain(
            [invoice.finalized_at],
            (state.payments[each.payment].occurred_at for each in settlements if each.amount > 0),
            (each.applied_at for each in applications if not each.reinstated),
        )
    )
    draft.put(replace(invoice, settled_at=settled_at))


def settlements_on(draft: Draft, key: InvoiceKey) -> list[Settlement]:
    """Settlements of an invoice: `amount_paid` first, then by the payments' time and id."""
    known = [draft.state.settlements[each] for each in draft.state.settlements_of_invoice.get(key) or ()]

    def order(settlement: Settlement) -> tuple[object, ...]:
        payment = settlement.payment
        return payment.kind, draft.state.payments[payment].occurred_at, payment.id, settlement.n

    return sorted(known, key=order)


def entitlements_on(draft: Draft, key: InvoiceKey) -> list[Entitlement]:
    """The entitlements of an invoice: its lines in order, its negative total, and what its credit lines are short."""
    lines = sorted(draft.state.lines_of_invoice.get(key) or (), key=lambda line: line.position)
    keys = [line.key for line in lines]
    keys.append(negative_total_key(key))
    keys += [credit_line_key(line) for line in lines if line.kind == "credit"]
    known = (draft.state.entitlements.get(each) for each in keys)
    return [each for each in known if each is not None]


def negative_total_key(key: InvoiceKey) -> EntitlementKey:
    """Entitlement key of an invoice's negative total."""
    return EntitlementKey(key.tenant_id, "negative_total", key.invoice_id, "")


def credit_line_key(line: Line) -> EntitlementKey:
    """Entitlement key of a credit line that used more than its grant held."""
    return line.key._replace(kind="credit_line")


def undo_invoice(draft: Draft, key: InvoiceKey) -> None:
    """Undo a voided invoice: its applications, its lines' credit, and its payments.

    What could not be taken back from its lines is withheld from the payments; only the rest is overpayment.
    """
    why: Released = "invoice_voided"
    for application_key in sorted(draft.state.applications_of_invoice.get(key) or ()):
        application = draft.state.applications[application_key]
        if not application.reinstated:
            _reinstate(draft, application, why)
    for entitlement in entitlements_on(draft, key):
        above = excess(draft, entitlement)
        if above > 0:
            take_from_grants(draft, entitlement, above, "invoice_voided")
    # After the lines' credit is taken back: only then is it known what to withhold from the payments.
    _release(draft, key)
    recompute_settled_at(draft, key)


def _release(draft: Draft, key: InvoiceKey) -> None:
    # In the order of `settlements_on`: `amount_paid` is withheld before other payments.
    short = {
        each.key: unreturned(draft, each) for each in entitlements_on(draft, key) if each.key.kind == "line"
    }
    keep = sum(short.values())
    for settlement in settlements_on(draft, key):
        kept = min(settlement.amount, keep)
        keep -= kept
        if settlement.amount > kept:
            retarget_payment(draft, _undo(draft, settlement, settlement.amount - kept))
    covered = sum(short.values()) - keep
    for entitlement_key, amount in short.items():
        part = min(amount, covered)
        covered -= part
        if part:
            entitlement = draft.state.entitlements[entitlement_key]
            draft.put(replace(entitlement, covered=entitlement.covered + part))


def _undo(draft: Draft, settlement: Settlement, amount: int) -> Payment:
    """Undo an amount of a settlement; the caller retargets the payment, and recomputes `settled_at` at the end."""
    payment = draft.state.payments[settlement.payment]
    invoice = draft.state.invoices[settlement.invoice]
    payment = replace(payment, settled=payment.settled - amount)
    draft.put(
        replace(settlement, amount=settlement.amount - amount),
        payment,
        replace(invoice, settled=invoice.settled - amount),
    )
    return payment


def reverse(draft: Draft, key: PaymentKey, amount: int) -> None:
    """Reverse a further amount of a payment: its remaining overpayment first, then what it settled, last first.

    Only whole minor units, since draws may have left fractions: the amount due on an invoice must be payable in money.
    """
    payment = draft.state.payments[key]
    entitlement = draft.state.entitlements.get(payment.entitlement)
    over = amount - (payment.left - (entitlement.given if entitlement else 0))
    if entitlement is not None and over > 0:
        held = sum(grant.remaining for grant in draft.grants_for(entitlement.key))
        whole = round_down(held, payment.account.currency)
        over -= take_from_grants(draft, entitlement, min(over, whole), "payment_reversed")
    undone_on: dict[InvoiceKey, None] = {}
    for settlement_key in sorted(draft.state.settlements_of_payment.get(key) or (), reverse=True):
        settlement = draft.state.settlements[settlement_key]
        undone = min(round_up(max(over, 0), payment.account.currency), settlement.amount)
        if undone == 0:
            continue
        over -= undone
        _undo(draft, settlement, undone)
        _uncover(draft, settlement.invoice, undone)
        undone_on[settlement.invoice] = None
    for invoice_key in undone_on:
        recompute_settled_at(draft, invoice_key)
    payment = draft.state.payments[key]
    payment = replace(payment, reversed=payment.reversed + amount)
    draft.put(payment)
    # Only now: on the way the payment has more left than in the end, and would fix the policy of what is never given.
    retarget_payment(draft, payment)


def _uncover(draft: Draft, key: InvoiceKey, amount: int) -> None:
    if not draft.state.invoices[key].voided:
        return
    for entitlement in reversed(entitlements_on(draft, key)):
        part = min(amount, entitlement.covered)
        amount -= part
        if part:
            draft.put(replace(entitlement, covered=entitlement.covered - part))
