"""Asks for a refill when a use has left little: once, and again only after prepaid credit came.

quiet --a use leaves less than the threshold--> asked --a prepaid line or a purchase is issued--> quiet
"""

from msgspec.structs import replace

from avoir.core.draft import Draft
from avoir.core.events import AccountKey, CreditApplied, CreditDrawn, CreditRefillRequested


def ask_for_refills(draft: Draft) -> None:
    """Ask for a refill of each account in which this message used available credit, where the policy says so."""
    for key in dict.fromkeys(_used(draft)):
        account = draft.account(key)
        refill = draft.policy(key, draft.occurred_at).policy.refill
        if refill is None or account.refill_asked or account.available >= refill[0]:
            continue
        threshold, amount = refill
        draft.put(replace(account, refill_asked=True))
        draft.record(key, CreditRefillRequested(amount, threshold), cause=draft.cause)


def _used(draft: Draft) -> list[AccountKey]:
    return [
        event.account
        for event in draft.events
        if event.account is not None
        and (
            isinstance(event.body, CreditDrawn)
            or (isinstance(event.body, CreditApplied) and event.body.by in ("auto", "command"))
        )
    ]
