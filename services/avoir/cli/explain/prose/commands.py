"""Words on a command: its request, the obstacles, and the result."""

from collections.abc import Iterator
from datetime import datetime

from avoir.cli.base.words import (
    GIVEN_FOR,
    HAPPENED,
    POLICY_NAMES,
    REFUSED,
    date_words,
    joined,
    outcome_words,
    policy_words,
    reason_words,
    recorded_words,
    scope_words,
)
from avoir.cli.explain.view import Explanation, RecordedDecision
from avoir.core.model.money import format_decimal
from avoir.core.model.rows import Grant

ASKED = {
    "grant-credit": "credit of {amount} was granted to {id}",
    "apply-credit": "{amount} was to be used on invoice {id}",
    "refund-credit": "{amount} of the credit of {id} was to be paid out in money ({reference})",
    "draw-credit": "{amount} of the credit of {id} was to be drawn for usage ({reference})",
}
"""Request of a command, if its facts have the amount."""

SPENT = frozenset({"applied", "drawn", "refunded"})


def command_opening(decision: RecordedDecision) -> str:
    """The request, and who made it."""
    facts, id_ = decision.facts, decision.subject.id
    words = HAPPENED[decision.topic].format(id=id_)
    if decision.topic in ASKED and "amount" in facts and "currency" in facts:
        amount = f"{facts['amount']} {facts['currency']}" if facts["amount"] else "as much credit as possible"
        words = ASKED[decision.topic].format(amount=amount, id=id_, reference=facts.get("reference"))
    if decision.topic == "set-credit-policy" and "scope" in facts:
        words = f"the credit settings of {scope_words(facts['scope'], facts['of'])} were set"
    who = str(facts.get("by", "")).replace("/", " ", 1)
    return f"{words} by {who}" if who else words


def command_background(decision: RecordedDecision) -> Iterator[str]:
    """Circumstances for or against a command."""
    facts = decision.facts
    currency = facts.get("currency", "")
    if "available" in facts:
        due = f", and {facts['due_on_invoice']} {currency} was due on it" if "due_on_invoice" in facts else ""
        yield f"{facts['available']} {currency} was available for it{due}."
    if decision.topic == "grant-credit" and facts.get("expires_at"):
        yield f"It expires on {_day(facts['expires_at'])}."
    if decision.topic == "void-credit" and "remaining" in facts and not _was_to_come(decision):
        given = f"{facts['amount']} {currency} had been given"
        yield f"{given}, and {facts['remaining']} {currency} was left of it."
    if facts.get("undone_already"):
        yield "It had been undone before."
    if decision.topic == "set-credit-policy" and facts.get("keys"):
        yield _keys(facts["keys"])
    if same := facts.get("same"):
        yield f"An earlier message has the same {str(same).replace('_', ' ')}."


def _was_to_come(decision: RecordedDecision) -> bool:
    """Check whether a void took pending credit, so that nothing had to be taken back."""
    return decision.outcome == "recorded" and "voided" not in decision.facts


def _day(text: str) -> str:
    return date_words(datetime.fromisoformat(text))


def _keys(keys: dict[str, object]) -> str:
    currency = keys.get("currency")
    parts = []
    for key, value in keys.items():
        if key == "currency":
            continue
        if value is None:
            parts.append(f"{POLICY_NAMES.get(key, key)}: from the wider scope again")
        else:
            is_amount = key.startswith("refill_")
            parts.append(policy_words(key, f"{value} {currency}" if is_amount else value))
    return f"From then on: {'; '.join(parts)}."


def command_verdict(
    explanation: Explanation, decision: RecordedDecision, *, is_mentioned: bool
) -> Iterator[str]:
    """Result of a command; leaves out amounts that were already given."""
    facts = decision.facts
    match decision.outcome, decision.topic:
        case "declined", _:
            yield REFUSED
        case "waiting", "grant-credit":
            yield f"It was to take effect on {_day(facts['effective_at'])}."
        case "issued", "grant-credit":
            if not is_mentioned:
                yield outcome_words("issued")
            yield reason_words(decision.reason)
            yield from (
                f'The note on it: "{each.note}".' for each in _given(explanation, decision) if each.note
            )
        case "recorded", "draw-credit" if "drawn" in facts and facts["drawn"] != facts["amount"]:
            yield f"Only {facts['drawn']} {facts['currency']} of it was drawn: that was all the credit available."
        case "recorded", "void-credit" if _was_to_come(decision):
            yield f"It had not taken effect yet, so its {facts['amount']} {facts['currency']} will not be given."
        case "recorded", "void-credit":
            yield f"{facts['voided']} {facts['currency']} was taken back."
        case "recorded", _:
            yield recorded_words(decision.topic, decision.reason)
        case outcome, _ if not is_mentioned:
            yield outcome_words(outcome)
    if sources := _sources(explanation, decision):
        yield f"It came from {joined(sources)}."


def _given(explanation: Explanation, decision: RecordedDecision) -> list[Grant]:
    event = (decision.topic, decision.event_id)
    return [each.grant for each in explanation.grants if (each.grant.topic, each.grant.event_id) == event]


def _sources(explanation: Explanation, decision: RecordedDecision) -> list[str]:
    """Amounts that a command used, drew or paid out, with their grants."""
    event, sources = (decision.topic, decision.event_id), []
    for each in explanation.grants:
        grant, currency = each.grant, each.grant.account.currency
        spent = -sum(
            entry.amount
            for entry in each.entries
            if (entry.topic, entry.event_id) == event and entry.counter_account in SPENT
        )
        if spent > 0:
            sources.append(f"{format_decimal(spent, currency)} {currency} of {grant_words(grant)}")
    return sources


def grant_words(grant: Grant) -> str:
    """Name of a grant for people: its day and purpose."""
    return f"the credit of {date_words(grant.effective_at)} given {given_for(grant)}"


def given_for(grant: Grant) -> str:
    """Purpose of a grant in a few words."""
    return GIVEN_FOR.get(grant.reason, f"for {grant.reason}")
