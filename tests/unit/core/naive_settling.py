"""The naive pass over everything that is known of an account: the model that the worklist is held against."""

from typing import Any

from avoir.core.effects.credit_lines import make_up
from avoir.core.effects.issue import issue
from avoir.core.effects.reservations import use_reservations
from avoir.core.effects.settle import apply_available, expire_overdue, settle_invoices
from avoir.core.effects.take_back import take_back
from avoir.core.model.events import AccountKey
from avoir.core.model.reasons import Lowered
from avoir.core.model.rows import Entitlement
from avoir.core.state.draft import Draft, payment_order
from avoir.core.state.table import Table


def settle_everything_once(draft: Draft, account: AccountKey, reason: Lowered = "changed") -> bool:
    """What `settle_once` does, without asking what the message touched."""
    before = draft.writes
    invoices = of_account(draft.state.invoices, account)
    is_released = True
    while is_released:
        expire_overdue(draft, account)
        for payment in sorted(of_account(draft.state.payments, account), key=payment_order):
            overpayment = draft.state.entitlements.get(payment.entitlement)
            if overpayment is not None:
                take_back(draft, overpayment, reason)
            settle_invoices(draft, payment)
        for entitlement in entitlements(draft, account):
            take_back(draft, entitlement, reason)
        for grant in sorted(of_account(draft.state.grants, account), key=lambda grant: grant.key):
            make_up(draft, grant)
        for entitlement in entitlements(draft, account):
            if entitlement.key.kind in ("payment", "amount_paid"):
                issue(draft, entitlement)
        keys = sorted(each.key for each in invoices)
        is_released = bool([key for key in keys if use_reservations(draft, key)])
    for each in sorted(invoices, key=lambda invoice: invoice.sort_key):
        invoice = draft.state.invoices[each.key]
        if invoice.due and invoice.automatic and not invoice.barred:
            apply_available(draft, invoice)
    for entitlement in entitlements(draft, account):
        if entitlement.key.kind in ("line", "negative_total"):
            issue(draft, entitlement)
    return draft.writes != before


def entitlements(draft: Draft, account: AccountKey) -> list[Entitlement]:
    """All entitlements of an account, those of its invoices and of its payments, by key."""
    found: list[Entitlement] = of_account(draft.state.entitlements, account)
    return sorted(found, key=lambda each: each.key)


def of_account(table: Table[Any, Any], account: AccountKey) -> list[Any]:
    """All rows of an account in a table, in whatever layer they are."""
    found: dict[Any, Any] = {}
    layer: Table[Any, Any] | None = table
    while layer is not None:
        found = {**layer.rows, **found}
        layer = layer.below
    return [row for row in found.values() if row.account == account]
