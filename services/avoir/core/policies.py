"""`set-credit-policy`: a new version of some policy keys, for what occurs from its own time on."""

from avoir.core.commands import SetCreditPolicy
from avoir.core.conclusion import Conclusion, conclude
from avoir.core.draft import Draft
from avoir.core.message import Message
from avoir.core.policy import PolicyVersion, ScopeKey, stated


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
