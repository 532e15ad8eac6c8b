"""A command that is refused: why, what was asked, and what would change it, as it is decided and published."""

from collections.abc import Mapping
from typing import Any

from avoir.core.conclusion import Conclusion, conclude
from avoir.core.decision import would_change
from avoir.core.draft import Draft
from avoir.core.events import AccountKey, CreditDeclined
from avoir.core.message import Message


def refuse(
    draft: Draft,
    message: Message,
    reason: str,
    facts: Mapping[str, Any],
    *,
    asked: Mapping[str, Any],
    account: AccountKey | None,
) -> Conclusion:
    """Refuse a command; `asked` holds what it wanted and `facts` what stands against it, amounts as decimal strings."""
    conclusion = conclude(message, "declined", reason, facts)
    body = CreditDeclined(
        {"command": message.topic, **asked}, reason, conclusion.facts, would_change(reason) or ""
    )
    if account is not None:
        draft.record(account, body, cause=draft.cause)
    else:
        draft.record_without_account(message.tenant_id, None, body)
    return conclusion
