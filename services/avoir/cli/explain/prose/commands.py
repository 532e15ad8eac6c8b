"""What was asked of Avoir by a command, what stood against it, and what was done."""

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
from avoir.cli.explain.view import DecisionMade, Explanation
from avoir.core.model.money import format_decimal
from avoir.core.model.rows import Grant

ASKED = {
    "grant-credit": "credit of {amount} was granted to {id}",
    "apply-credit": "{amount} was to be used on invoice {id}",
    "refund-credit": "{amount} of the credit of {id} was to be paid out in money ({reference})",
    "draw-credit": "{amount} of the credit of {id} was to be drawn for usage ({reference})",
}
"""What a command asks, where its facts tell the amount."""

SPENT = frozenset({"applied", "drawn", "refunded"})


def command_opening(decision: DecisionMade) -> str:
    """What was asked, and by whom."""
    facts, id_ = decision.facts, decision.subject.id
    words = HAPPENED[decision.topic].format(id=id_)
    if decision.topic in ASKED and "amount" in facts and "currency" in facts:
        amount = f"{facts['amount']} {facts['currency']}" if facts["amount"] else "as much credit as possible"
        words = ASKED[decision.topic].format(amount=amount, id=id_, reference=facts.get("reference"))
    if decision.topic == "set-credit-policy" and "scope" in facts:
        words = f"the credit settings of {scope_words(facts['scope'], facts['of'])} were set"
    who = str(facts.get("by", "")).replace("/", " ", 1)
    return f"{words} by {who}" if who else words


def command_background(decision: DecisionMade) -> Iterator[str]:
    """What stood for or against it."""
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


def _was_to_come(decision: DecisionMade) -> bool:
    """Whether a void took credit that was never given, of which there was nothing to take back."""
    return decision.outcome == "recorded" and "voided" not in decision.facts


def _day(text: str) -> str:
    return date_words(datetime.fromisoformat(text))


def _keys(keys: dict[str, object]) -> str:
    currency = keys.get("currency")
    told = []
    for key, value in keys.items():
        if key == "currency":
            continue
        if value is None:
            told.append(f"{POLICY_NAMES.get(key, key)}: as the wider setting says again")
        else:
            is_amount = key.startswith("refill_")
            told.append(policy_words(key, f"{value} {currency}" if is_amount else value))
    return f"From then on: {'; '.join(told)}."


def command_verdict(explanation: Explanation, decision: DecisionMade, *, is_told: bool) -> Iterator[str]:
    """What was decided; amounts given or used that were told already are not told again."""
    facts = decision.facts
    match decision.outcome, decision.topic:
        case "declined", _:
            yield REFUSED
        case "waiting", "grant-credit":
            yield f"It was to be given on {_day(facts['effective_at'])}."
        case "issued", "grant-credit":
            if not is_told:
                yield outcome_words("issued")
            yield reason_words(decision.reason)
            yield from (
                f'The note on it: "{each.note}".' for each in _given(explanation, decision) if each.note
            )
        case "recorded", "draw-credit" if "drawn" in facts and facts["drawn"] != facts["amount"]:
            yield f"Only {facts['drawn']} {facts['currency']} of it was drawn: that was all there was."
        case "recorded", "void-credit" if _was_to_come(decision):
            yield f"Its time had not come yet, so its {facts['amount']} {facts['currency']} will not be given."
        case "recorded", "void-credit":
            yield f"{facts['voided']} {facts['currency']} was taken back."
        case "recorded", _:
            yield recorded_words(decision.topic, decision.reason)
        case outcome, _ if not is_told:
            yield outcome_words(outcome)
    if sources := _sources(explanation, decision):
        yield f"It came from {joined(sources)}."


def _given(explanation: Explanation, decision: DecisionMade) -> list[Grant]:
    event = (decision.topic, decision.event_id)
    return [each.grant for each in explanation.grants if (each.grant.topic, each.grant.event_id) == event]


def _sources(explanation: Explanation, decision: DecisionMade) -> list[str]:
    """How much of which credit a command used, drew or paid out."""
    event, found = (decision.topic, decision.event_id), []
    for each in explanation.grants:
        grant, currency = each.grant, each.grant.account.currency
        spent = -sum(
            step.amount
            for step in each.steps
            if (step.topic, step.event_id) == event and step.counter_account in SPENT
        )
        if spent > 0:
            found.append(f"{format_decimal(spent, currency)} {currency} of {grant_words(grant)}")
    return found


def grant_words(grant: Grant) -> str:
    """A credit as people name it: by its day and what it was given for."""
    return f"the credit of {date_words(grant.effective_at)} given {given_for(grant)}"


def given_for(grant: Grant) -> str:
    """What a credit was given for, in a few words."""
    return GIVEN_FOR.get(grant.reason, f"for {grant.reason}")
