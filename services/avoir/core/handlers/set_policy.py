"""`set-credit-policy`: a new version of some policy keys, for what occurs from its own time on."""

from collections.abc import Mapping
from typing import Any

from avoir.core.handlers.outcome import Conclusion, Handler, conclude
from avoir.core.model.commands import SetCreditPolicy
from avoir.core.model.events import CreditIssued
from avoir.core.model.message import Message
from avoir.core.model.policy import PolicyVersion, ScopeKey, both_told, stated
from avoir.core.model.rows import Entitlement, GrantKey
from avoir.core.state.draft import Draft

BY_POLICY = frozenset({"booking_cancelled", "booking_shortened", "plan_cancelled", "overpayment"})
"""The sources whose credit is kept, and expires, as the policy says."""


def set_policy(draft: Draft, message: Message, command: SetCreditPolicy) -> Conclusion:
    """Keep the keys that are set; what was decided before stays as it is."""
    version = PolicyVersion(
        scope_of(message.tenant_id, command), message.event_id, message.occurred_at, command.keys
    )
    draft.put(version)
    facts = {"scope": version.key.scope, "of": version.key.id, "keys": stated(command.keys)}
    return conclude(message, "recorded", "policy_set", facts)


def scope_of(tenant_id: str, command: SetCreditPolicy) -> ScopeKey:
    """Whom a policy is for."""
    if command.owner is not None:
        return ScopeKey.of_owner(tenant_id, command.owner)
    return ScopeKey(tenant_id, command.scope, command.invoice_id or "")


def told_of_issued(draft: Draft) -> Mapping[str, Any]:
    """The policy values that counted for the credit that a message issued, of earlier changes and payments too."""
    told: Mapping[str, Any] = {}
    for event in draft.events:
        if isinstance(event.body, CreditIssued) and event.body.source in BY_POLICY:
            grant = draft.state.grants[GrantKey(event.tenant_id, event.body.grant_id)]
            if grant.entitlement is not None:
                told = both_told(told, _told_of(draft, draft.state.entitlements[grant.entitlement]))
    return told


def _told_of(draft: Draft, entitlement: Entitlement) -> Mapping[str, Any]:
    """What an entitlement has kept of the policy, and who set it where that is still what is in force for its time."""
    kept: dict[str, Any] = {"expires_after_days": entitlement.expires_after_days}
    if entitlement.key.kind == "line":
        kept["credit_as"] = "line_item" if entitlement.as_line_item else "balance"
    told = draft.policy(entitlement.account, entitlement.due_from).told(*kept)
    return told if kept.items() <= told.items() else kept


HANDLERS: Mapping[type, Handler] = {SetCreditPolicy: set_policy}
