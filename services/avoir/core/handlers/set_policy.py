"""`set-credit-policy`: a new version of some policy keys, for what occurs from its own time on."""

from collections.abc import Mapping
from typing import Any

from avoir.core.handlers.outcome import Conclusion, Handler, conclude
from avoir.core.model.commands import SetCreditPolicy
from avoir.core.model.events import CreditIssued
from avoir.core.model.message import Message
from avoir.core.model.policy import PolicyVersion, ScopeKey, merge_policy_used, stated
from avoir.core.model.rows import Entitlement, GrantKey
from avoir.core.state.draft import Draft

BY_POLICY = frozenset({"booking_cancelled", "booking_shortened", "plan_cancelled", "overpayment"})
"""Sources whose credit is kept, and expires, according to the policy."""


def set_policy(draft: Draft, message: Message, command: SetCreditPolicy) -> Conclusion:
    """Store the keys that are set; past decisions stand."""
    version = PolicyVersion(
        scope_of(message.tenant_id, command), message.event_id, message.occurred_at, command.keys
    )
    draft.put(version)
    facts = {"scope": version.key.scope, "of": version.key.id, "keys": stated(command.keys)}
    return conclude(message, "recorded", "policy_set", facts)


def scope_of(tenant_id: str, command: SetCreditPolicy) -> ScopeKey:
    """Scope that a command sets keys for."""
    if command.owner is not None:
        return ScopeKey.of_owner(tenant_id, command.owner)
    return ScopeKey(tenant_id, command.scope, command.invoice_id or "")


def policy_used_for_issued(draft: Draft) -> Mapping[str, Any]:
    """Policy values that counted for the credit that a message issued, including earlier changes and payments."""
    policy_used: Mapping[str, Any] = {}
    for event in draft.events:
        if isinstance(event.body, CreditIssued) and event.body.source in BY_POLICY:
            grant = draft.state.grants[GrantKey(event.tenant_id, event.body.grant_id)]
            if grant.entitlement is not None:
                policy_used = merge_policy_used(
                    policy_used, _policy_used_for(draft, draft.state.entitlements[grant.entitlement])
                )
    return policy_used


def _policy_used_for(draft: Draft, entitlement: Entitlement) -> Mapping[str, Any]:
    """Policy values stored with an entitlement, and who set them if they are still in force for its time."""
    kept: dict[str, Any] = {"expires_after_days": entitlement.expires_after_days}
    if entitlement.expires_after_days is not None:
        kept["time_zone"] = entitlement.time_zone
    if entitlement.key.kind == "line":
        kept["credit_as"] = "line_item" if entitlement.as_line_item else "balance"
    policy_used = draft.policy(entitlement.account, entitlement.due_from).used(*kept)
    return policy_used if kept.items() <= policy_used.items() else kept


HANDLERS: Mapping[type, Handler] = {SetCreditPolicy: set_policy}
