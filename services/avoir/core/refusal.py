"""A command that is refused: why, what was asked, and what would change it, as it is decided and published."""

from collections.abc import Mapping
from typing import Any

from avoir.core.conclusion import Conclusion, conclude
from avoir.core.decision import fitting, would_change
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
    remedy = would_change(reason, is_command=True) or ""
    body = CreditDeclined({"command": message.topic, **asked}, reason, fitting(facts), remedy)
    if account is not None:
        draft.record(account, body, cause=draft.cause)
    else:
        draft.record_without_account(message.tenant_id, None, body)
    return conclude(message, "declined", reason, {**asked, **facts})
