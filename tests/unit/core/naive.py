"""The naive pass over everything that is known of an account: the model that the worklist is held against."""

from avoir.core.credit_lines import make_up
from avoir.core.draft import Draft
from avoir.core.events import AccountKey
from avoir.core.issue import issue
from avoir.core.reservations import use_reservations
from avoir.core.rows import Entitlement
from avoir.core.settle import apply_available, expire_overdue, settle_invoices
from avoir.core.take_back import take_back


def settle_everything_once(draft: Draft, account: AccountKey) -> bool:
    """What `settle_once` does, without asking what the message touched."""
    before = draft.writes
    expire_overdue(draft, account)
    for payment in draft.payments(account):
        settle_invoices(draft, payment)
    for entitlement in entitlements(draft, account):
        take_back(draft, entitlement)
    for grant in sorted(draft.grants(account), key=lambda grant: grant.key):
        make_up(draft, grant)
    for entitlement in entitlements(draft, account):
        if entitlement.key.kind in ("payment", "amount_paid"):
            issue(draft, entitlement)
    for key in sorted(draft.state.invoices_of_account.get(account) or ()):
        use_reservations(draft, key)
    for invoice in draft.open_invoices(account):
        if invoice.automatic and not invoice.barred:
            apply_available(draft, invoice)
    for entitlement in entitlements(draft, account):
        if entitlement.key.kind in ("line", "negative_total"):
            issue(draft, entitlement)
    return draft.writes != before


def entitlements(draft: Draft, account: AccountKey) -> list[Entitlement]:
    """All entitlements of an account, those of its invoices and of its payments, by key."""
    keys = {
        *(
            key
            for invoice in draft.state.invoices_of_account.get(account) or ()
            for key in draft.state.entitlements_of_invoice.get(invoice) or ()
        ),
        *(
            draft.state.payments[key].entitlement
            for key in draft.state.payments_of_account.get(account) or ()
        ),
    }
    known = (draft.state.entitlements.get(key) for key in sorted(keys))
    return [each for each in known if each is not None]
