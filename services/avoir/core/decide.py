"""One decision for one message: what it records, what credit follows, and the reason."""

from collections.abc import Iterable, Mapping

from msgspec import Struct

from avoir.core.effects.refills import ask_for_refills
from avoir.core.handlers import (
    apply_credit,
    changes,
    grants,
    invoices,
    payments,
    reinstate,
    set_policy,
    spend,
)
from avoir.core.handlers.outcome import Conclusion, Handler, conclude
from avoir.core.handlers.set_policy import policy_used_for_issued
from avoir.core.model.commands import Command
from avoir.core.model.decision import Decision, Outcome, fitting, would_change
from avoir.core.model.events import AccountKey, Cause, CreditApplied, CreditIssued, Event
from avoir.core.model.ledger import Entry
from avoir.core.model.message import Message
from avoir.core.model.policy import merge_policy_used
from avoir.core.model.reasons import Reason
from avoir.core.model.rows import InboxKey
from avoir.core.state.draft import Draft, Moment
from avoir.core.state.state import Attempt, State

HANDLERS: Mapping[type, Handler] = {
    **invoices.HANDLERS,
    **changes.HANDLERS,
    **payments.HANDLERS,
    **reinstate.HANDLERS,
    **grants.HANDLERS,
    **apply_credit.HANDLERS,
    **spend.HANDLERS,
    **set_policy.HANDLERS,
}
"""Handlers of facts and commands."""


class Decided(Struct, frozen=True):
    """The decision on a message, with its effects."""

    decision: Decision
    events: list[Event]
    entries: list[Entry]
    attempt: Attempt


def decide(state: State, message: Message, moment: Moment) -> Decided:
    """Decide one message in a state, which keeps its effects: all of them, or none if this raises (a defect)."""
    with state.attempt() as attempt:
        cause = Cause(message.topic, message.event_id)
        by = message.body.actor if isinstance(message.body, Command) else None
        draft = Draft(state, attempt, moment, cause, message.occurred_at, message.rules, by)
        return Decided(_decision(draft, message), draft.events, draft.entries, attempt)


def _decision(draft: Draft, message: Message) -> Decision:
    inbox_key = InboxKey(message.tenant_id, message.topic, message.event_id)
    seen = draft.state.inbox.get(inbox_key)
    conclusion = _handle(draft, message) if seen is None else _seen_before(message, seen)
    policy_used = merge_policy_used(policy_used_for_issued(draft), conclusion.policy)
    policy_used = merge_policy_used(policy_used, ask_for_refills(draft))
    if conclusion.outcome != "conflict":
        draft.state.put("inbox", inbox_key, message.contents)
    outcome, reason = _outcome(draft, conclusion)
    return Decision(
        tenant_id=message.tenant_id,
        topic=message.topic,
        event_id=message.event_id,
        occurred_at=message.occurred_at,
        outcome=outcome,
        reason=reason,
        facts=conclusion.facts,
        policy=policy_used,
        would_change_it=_remedy(message, conclusion, outcome, reason),
        subject_kind=conclusion.subject_kind,
        subject_id=conclusion.subject_id,
    )


def expire(state: State, accounts: Iterable[AccountKey], moment: Moment) -> Draft:
    """Apply the effects of time in accounts to a state, all or none: grants begin and expire."""
    with state.attempt() as attempt:
        draft = Draft(state, attempt, moment, None, moment.now)
        for account in accounts:
            grants.pass_time(draft, account)
        ask_for_refills(draft)
        return draft


def _remedy(message: Message, conclusion: Conclusion, outcome: Outcome, reason: Reason) -> str | None:
    if outcome not in ("declined", "waiting", "conflict"):
        return None
    is_command = isinstance(message.body, Command)
    return conclusion.would_change_it or would_change(reason, outcome, is_command=is_command)


def _outcome(draft: Draft, conclusion: Conclusion) -> tuple[Outcome, Reason]:
    for event in draft.events:
        if isinstance(event.body, CreditIssued):
            return "issued", event.body.reason
    for event in draft.events:
        if isinstance(event.body, CreditApplied):
            return "applied", event.body.by
    return conclusion.outcome, conclusion.reason


def _handle(draft: Draft, message: Message) -> Conclusion:
    body = message.body
    conclusion = HANDLERS[type(body)](draft, message, body)
    if isinstance(body, Command):
        return conclusion._replace(
            facts=fitting({**conclusion.facts, "by": f"{body.actor.type}/{body.actor.id}"})
        )
    return conclusion


def _seen_before(message: Message, contents: bytes) -> Conclusion:
    if contents == message.contents:
        return conclude(message, "duplicate", "duplicate", {"same": "event_id"})
    return conclude(message, "conflict", "conflict", {"same": "event_id"})
