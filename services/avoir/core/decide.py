"""One decision for one message: what it records, what credit follows, and the reason."""

from collections.abc import Iterable, Mapping
from typing import Any, assert_never

from msgspec import Struct

from avoir.core import applications, changes, invoices, payments
from avoir.core.conclusion import Conclusion, conclude
from avoir.core.decision import Decision, Outcome, would_change
from avoir.core.draft import Draft, Moment
from avoir.core.events import AccountKey, Cause, CreditApplied, CreditIssued, Event
from avoir.core.facts import (
    ApplicationRejected,
    BookingCancelled,
    BookingShortened,
    InvoiceFinalized,
    InvoiceVoided,
    Message,
    PaymentRecorded,
    PaymentReversed,
    PlanCancelled,
)
from avoir.core.ledger import Entry
from avoir.core.rows import InboxKey
from avoir.core.settle import expire_overdue
from avoir.core.state import State


class Decided(Struct, frozen=True):
    """The decision on a message with what follows from it; `state` is the fork to take over."""

    decision: Decision
    events: list[Event]
    entries: list[Entry]
    state: State


def decide(state: State, message: Message, moment: Moment) -> Decided:
    """Decide one message over a fork of the state; the caller takes the fork over. Raises only on defects."""
    cause = Cause(message.topic, message.event_id)
    draft = Draft(state.fork(), moment, cause, message.occurred_at)
    inbox_key = InboxKey(message.tenant_id, message.topic, message.event_id)
    seen = state.inbox.get(inbox_key)
    conclusion = _handle(draft, message) if seen is None else _seen_before(message, seen)
    if conclusion.outcome != "conflict":
        draft.state.inbox.put(inbox_key, message.contents)
    outcome, reason = _outcome(draft, conclusion)
    decision = Decision(
        tenant_id=message.tenant_id,
        topic=message.topic,
        event_id=message.event_id,
        occurred_at=message.occurred_at,
        outcome=outcome,
        reason=reason,
        facts=conclusion.facts,
        policy=_policy(draft, conclusion),
        would_change_it=would_change(reason) if outcome in ("declined", "waiting", "conflict") else None,
        subject_kind=conclusion.subject_kind,
        subject_id=conclusion.subject_id,
    )
    return Decided(decision, draft.events, draft.entries, draft.state)


def expire(state: State, accounts: Iterable[AccountKey], moment: Moment) -> Draft:
    """Expire what is overdue in accounts, over a fork of the state; the caller takes the draft's state over."""
    draft = Draft(state.fork(), moment, None, moment.now)
    for account in accounts:
        expire_overdue(draft, account)
    return draft


def _policy(draft: Draft, conclusion: Conclusion) -> Mapping[str, Any]:
    if any(isinstance(event.body, CreditIssued) for event in draft.events):
        return {**conclusion.policy, "expires_after_days": draft.moment.policy.expires_after_days}
    return conclusion.policy


def _outcome(draft: Draft, conclusion: Conclusion) -> tuple[Outcome, str]:
    for event in draft.events:
        if isinstance(event.body, CreditIssued):
            return "issued", event.body.reason
    for event in draft.events:
        if isinstance(event.body, CreditApplied):
            return "applied", event.body.by
    return conclusion.outcome, conclusion.reason


def _handle(draft: Draft, message: Message) -> Conclusion:
    match message.fact:
        case InvoiceFinalized() as fact:
            return invoices.finalize(draft, message, fact)
        case BookingCancelled() | BookingShortened() | PlanCancelled() as fact:
            return changes.change(draft, message, fact)
        case PaymentRecorded() as fact:
            return payments.pay(draft, message, fact)
        case PaymentReversed() as fact:
            return payments.reverse(draft, message, fact)
        case InvoiceVoided() as fact:
            return invoices.void(draft, message, fact)
        case ApplicationRejected() as fact:
            return applications.reject(draft, message, fact)
        case never:
            assert_never(never)


def _seen_before(message: Message, contents: bytes) -> Conclusion:
    if contents == message.contents:
        return conclude(message, "duplicate", "duplicate", {"same": "event_id"})
    return conclude(message, "conflict", "conflict", {"same": "event_id"})
