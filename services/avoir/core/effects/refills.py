"""Requests a refill when a use leaves little credit: once, and again only after prepaid credit came.

quiet --a use leaves less than the threshold--> asked --a prepaid line or a purchase is issued--> quiet
"""

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from avoir.core.model.events import AccountKey, CreditApplied, CreditDrawn, CreditRefillRequested
from avoir.core.model.money import format_decimal
from avoir.core.state.draft import Draft


def ask_for_refills(draft: Draft) -> Mapping[str, Any]:
    """Request a refill for each account whose available credit this message used, if the policy says so.

    Returns the policy values used, as a decision records them.
    """
    policy_used: Mapping[str, Any] = {}
    for key in dict.fromkeys(_used(draft)):
        account, policy = draft.account(key), draft.policy(key, draft.occurred_at)
        refill = policy.policy.refill
        if refill is None:
            continue
        threshold, amount = refill
        policy_used = policy.used("refill_threshold", "refill_amount") | {
            "refill_threshold": format_decimal(threshold, key.currency),
            "refill_amount": format_decimal(amount, key.currency),
        }
        if not account.refill_asked and account.available < threshold:
            draft.put(replace(account, refill_asked=True))
            draft.record(key, CreditRefillRequested(amount, threshold), cause=draft.cause)
    return policy_used


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
