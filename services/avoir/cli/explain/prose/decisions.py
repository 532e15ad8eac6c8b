"""One decision in a few sentences: event, facts known then, decision, remedy."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from avoir.cli.base.words import (
    HAPPENED,
    UNHANDLED,
    date_words,
    is_zero,
    joined,
    outcome_words,
    policy_words,
    reason_words,
    recorded_words,
    refusal_words,
    scope_words,
)
from avoir.cli.explain.prose.commands import command_background, command_opening, command_verdict
from avoir.cli.explain.prose.fee import fee_words, was_billed
from avoir.cli.explain.prose.unhandled import unhandled
from avoir.cli.explain.prose.voids import void_words
from avoir.cli.explain.view import Explanation, RecordedDecision
from avoir.core.handlers.payments import MISMATCHED
from avoir.core.model.money import format_decimal
from avoir.core.model.rows import PlanCancellation
from avoir_events import COMMANDS

REPEATED = ("duplicate", "conflict")


def money(micros: int, currency: str) -> str:
    """An amount as people read it: 121.00 EUR."""
    return f"{format_decimal(micros, currency)} {currency}"


def paragraph(explanation: Explanation, decision: RecordedDecision) -> str:
    """A decision in a few sentences."""
    sentences = (
        [*unhandled(decision)] if decision.outcome in UNHANDLED else [*_handled(explanation, decision)]
    )
    if settings := _settings(explanation, decision):
        sentences.append(settings)
    if decision.would_change_it and decision.reason != "not_effective":
        sentences.append(_would_change(decision.would_change_it))
    return " ".join(sentences)


def _handled(explanation: Explanation, decision: RecordedDecision) -> Iterator[str]:
    yield _opening(explanation, decision)
    yield from command_background(decision) if decision.topic in COMMANDS else _background(decision)
    yield from _verdict(explanation, decision)


def _would_change(words: str) -> str:
    nothing, _, why = words.partition(": ")
    if nothing.startswith("Nothing"):
        return f"Nothing would change this: {why}"
    return f"What would change this: {words[:1].lower()}{words[1:]}"


def _opening(explanation: Explanation, decision: RecordedDecision) -> str:
    when = f"On {date_words(decision.occurred_at)} " if decision.occurred_at else ""
    if decision.topic in COMMANDS:
        words = command_opening(decision)
    else:
        pattern = HAPPENED.get(decision.topic, f"the message {decision.topic} {decision.event_id} came")
        words = pattern.format(id=decision.subject.id) + _amount_of(decision) + _by(explanation, decision)
    return f"{when}{words}." if when else f"{words[0].upper()}{words[1:]}."


def _by(explanation: Explanation, decision: RecordedDecision) -> str:
    for change in explanation.changes:
        if (change.topic, change.event_id) == (decision.topic, decision.event_id):
            words = " by the customer" if change.changed_by == "customer" else " by an admin"
            if isinstance(change, PlanCancellation):
                words += f", from {date_words(change.effective_at)} on"
            return words
    return ""


def _amount_of(decision: RecordedDecision) -> str:
    key = {"payment-recorded": "amount", "invoice-finalized": "total"}.get(decision.topic, "")
    facts = decision.facts
    return f" for {facts[key]} {facts['currency']}" if key in facts and "currency" in facts else ""


def _background(decision: RecordedDecision) -> Iterator[str]:
    facts = decision.facts
    lines = facts.get("lines", [])
    for line in lines:
        yield _billed(line, decision)
    if facts.get("lines_in_all", 0) > len(lines):
        yield f"It was billed on {facts['lines_in_all'] - len(lines)} more lines."
    if "undone" in facts:
        yield from void_words(facts)
    elif "due" in facts:
        yield _paid(facts)
    if "auto_apply" in decision.policy and facts["automatic"] != decision.policy["auto_apply"]:
        yield f"The message turned automatic use of credit {'on' if facts['automatic'] else 'off'} for it."
    if "left" in facts:
        yield _used(facts)
    if others := facts.get("not_of_this_owner_and_currency"):
        yield f"It names invoices of another owner, or in another currency: {', '.join(map(str, others))}."
    if mismatched := facts.get(MISMATCHED):
        yield (
            f"Reversals {joined(mismatched)} had been waiting for it. "
            "They do not count: they are in another currency."
        )
    if unknown := facts.get("lines_of_unknown_credit"):
        yield f"Its credit lines {joined(unknown)} name no credit of this customer: they only lower the total."
    if same := facts.get("same"):
        yield f"An earlier message has the same {str(same).replace('_', ' ')}."


def _billed(line: Mapping[str, Any], decision: RecordedDecision) -> str:
    before, day = was_billed(line, decision), date_words(datetime.fromisoformat(line["finalized_at"]))
    due = line["due_on_invoice"]
    state = (
        "voided"
        if line.get("voided")
        else "paid"
        if is_zero(due)
        else f"with {due} {line['currency']} still due"
    )
    return (
        f"It {'had been billed' if before else 'was billed only afterwards,'} on invoice {line['invoice_id']} of {day} "
        f"({line['cost']} {line['currency']}, {state})."
    )


def _paid(facts: Mapping[str, Any]) -> str:
    currency = facts["currency"]
    if is_zero(facts["due"]) and is_zero(facts["credit_applied"]):
        return "Nothing was due on it." if is_zero(facts["paid"]) else "It was paid in full."
    return (
        f"Of it, {facts['paid']} {currency} was paid in money and {facts['credit_applied']} {currency} with credit; "
        f"{facts['due']} {currency} was still due."
    )


def _used(facts: Mapping[str, Any]) -> str:
    currency = facts["currency"]
    back = f"{facts['reversed']} {currency} of it was reversed, " if not is_zero(facts["reversed"]) else ""
    used = f"{facts['settled']} settled invoices and {facts['left']} was left"
    return f"Of its {facts['amount']} {currency}, {back}{used}."


def _verdict(explanation: Explanation, decision: RecordedDecision) -> Iterator[str]:
    # A repeated message has the same event id as the one that gave the credit.
    is_first = decision.outcome not in REPEATED
    given = list(_given_by(explanation, decision)) if is_first else []
    used = list(_used_by(explanation, decision)) if is_first else []
    yield from (f"Credit of {amount} was given." for amount in given)
    yield from (f"Credit of {amount} was used on it." for amount in used)
    if decision.topic in COMMANDS:
        yield from command_verdict(explanation, decision, is_mentioned=bool(given or used))
    elif decision.outcome == "recorded":
        if "undone" not in decision.facts:
            yield recorded_words(decision.topic, decision.reason)
    elif not given and not used:
        yield outcome_words(decision.outcome)
    yield from _reason(decision)
    if fee := fee_words(decision):
        yield fee


def _reason(decision: RecordedDecision) -> Iterator[str]:
    match decision.outcome:
        case "declined" if decision.topic in COMMANDS:
            yield refusal_words(decision.reason)
        case "waiting" | "declined" | "skipped" if decision.reason != "not_effective":
            yield reason_words(decision.reason)


def _given_by(explanation: Explanation, decision: RecordedDecision) -> Iterator[str]:
    for grant in (each.grant for each in explanation.grants):
        is_cause = (grant.topic, grant.event_id) == (decision.topic, decision.event_id)
        if is_cause and decision.outcome != "waiting":
            yield money(grant.amount, grant.account.currency)


def _used_by(explanation: Explanation, decision: RecordedDecision) -> Iterator[str]:
    for use in explanation.applications:
        if (use.topic, use.event_id) == (decision.topic, decision.event_id):
            yield money(use.amount, use.account.currency)


def _settings(explanation: Explanation, decision: RecordedDecision) -> str:
    """The policy values that affected the outcome, with the messages that set them."""
    set_by = decision.policy.get("set_by", {})
    known = {each.event_id: each for each in explanation.policies}
    parts = []
    for key, value in decision.policy.items():
        if not _mattered(key, value, decision):
            continue
        words = policy_words(key, value)
        if event_id := set_by.get(key):
            version = known.get(event_id)
            scope = f" for {scope_words(version.key.scope, version.key.id)}" if version else ""
            when = f" of {date_words(version.occurred_at)}" if version else ""
            words += f" (set{scope} by message {event_id}{when})"
        parts.append(words)
    return f"Settings that counted: {'; '.join(parts)}." if parts else ""


def _mattered(key: str, value: object, decision: RecordedDecision) -> bool:
    """Check whether a policy value affected the outcome."""
    match key:
        case "set_by":
            return False
        case "auto_apply":
            return bool(decision.facts.get("automatic") == value)
        case "unpaid_change":
            return decision.reason == "unpaid"
        case "time_zone" if decision.policy.get("proration") != "days":
            return decision.policy.get("expires_after_days") is not None and decision.outcome == "issued"
        case "proration" | "time_zone":
            return decision.outcome in ("issued", "recorded") or decision.reason == "nothing_unused"
        case _:
            return decision.outcome in ("issued", "applied")
