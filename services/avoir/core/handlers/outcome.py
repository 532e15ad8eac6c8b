"""Result of a message: a handler's conclusion, or the refusal of a command."""

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

from avoir.core.model.decision import Outcome, fitting, would_change
from avoir.core.model.events import AccountKey, CreditDeclined
from avoir.core.model.message import Message
from avoir.core.model.reasons import Reason, Refusal
from avoir.core.state.draft import Draft


class Conclusion(NamedTuple):
    """A handler's conclusion if no credit was issued or applied."""

    outcome: Outcome
    reason: Reason
    subject_kind: str
    subject_id: str
    facts: Mapping[str, Any]
    policy: Mapping[str, Any]
    would_change_it: str | None = None
    """Remedy, if the reason alone does not give it."""


Handler = Callable[[Draft, Message, Any], Conclusion]
"""A handler of a message, which takes the body last."""


def conclude(
    message: Message,
    outcome: Outcome,
    reason: Reason,
    facts: Mapping[str, Any],
    policy: Mapping[str, Any] | None = None,
    would_change_it: str | None = None,
) -> Conclusion:
    return Conclusion(outcome, reason, *message.body.subject, fitting(facts), policy or {}, would_change_it)


def key_taken(message: Message, contents: bytes, key: str) -> Conclusion:
    outcome: Literal["duplicate", "conflict"] = "duplicate" if contents == message.contents else "conflict"
    return conclude(message, outcome, outcome, {"same": key})


def refuse(
    draft: Draft,
    message: Message,
    reason: Refusal,
    facts: Mapping[str, Any],
    *,
    asked: Mapping[str, Any],
    account: AccountKey | None,
) -> Conclusion:
    """Refuse a command; `asked` holds the request and `facts` the obstacles, amounts as decimal strings."""
    remedy = would_change(reason, is_command=True) or ""
    body = CreditDeclined({"command": message.topic, **asked}, reason, fitting(facts), remedy, final=True)
    if account is not None:
        draft.record(account, body, cause=draft.cause)
    else:
        draft.record_without_account(message.tenant_id, None, body)
    return conclude(message, "declined", reason, {**asked, **facts})
