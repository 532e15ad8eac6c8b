"""Says an explanation in words that a support person can read out to a customer."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from avoir.core.money import format_decimal
from avoir.read.story import (
    DecisionMade,
    Explanation,
    GrantStory,
    InvoiceStory,
    LineStory,
    PaymentStory,
    Step,
)
from avoir.read.words import CAUSES, HAPPENED, MOVED, OUTCOMES, date_words, reason_words, recorded_words


@dataclass(frozen=True, slots=True)
class Telling:
    """Paragraphs on what was decided, dated sentences on what happened since, sentences on how things stand."""

    decided: tuple[str, ...]
    since: tuple[str, ...]
    now: tuple[str, ...]


def tell(explanation: Explanation) -> Telling:
    """The words for an explanation."""
    told = {(each.topic, each.event_id) for each in (*explanation.decisions, *explanation.later)}
    moved = [line for grant in explanation.grants for line in _movements(grant, told)]
    later = [(each.recorded_at, paragraph(explanation, each)) for each in explanation.later]
    return Telling(
        tuple(paragraph(explanation, each) for each in explanation.decisions),
        tuple(words for _, words in sorted([*moved, *later], key=lambda each: each[0])),
        tuple(_standing(explanation)),
    )


def money(micros: int, currency: str) -> str:
    """An amount as people read it: 121.00 EUR."""
    return f"{format_decimal(micros, currency)} {currency}"


def paragraph(explanation: Explanation, decision: DecisionMade) -> str:
    """A decision in a few sentences: what happened, what was known then, what was decided, what would change it."""
    sentences = [_opening(explanation, decision), *_background(decision), *_verdict(explanation, decision)]
    if decision.would_change_it:
        sentences.append(_would_change(decision.would_change_it))
    return " ".join(sentences)


def _would_change(words: str) -> str:
    nothing, _, why = words.partition(": ")
    if nothing.startswith("Nothing"):
        return f"Nothing would change this: {why}"
    return f"What would change this: {_as_clause(words)}"


def _opening(explanation: Explanation, decision: DecisionMade) -> str:
    when = f"On {date_words(decision.occurred_at)} " if decision.occurred_at else ""
    pattern = HAPPENED.get(decision.topic, f"the message {decision.topic} {decision.event_id} came")
    words = pattern.format(id=decision.subject.id) + _amount_of(decision)
    for change in explanation.changes:
        if (change.topic, change.event_id) == (decision.topic, decision.event_id):
            words += " by the customer" if change.changed_by == "customer" else " by an admin"
            words += f", from {date_words(change.effective_at)} on" if change.effective_at else ""
    return f"{when}{words}." if when else f"{words[0].upper()}{words[1:]}."


def _amount_of(decision: DecisionMade) -> str:
    key = {"payment-recorded": "amount", "invoice-finalized": "total"}.get(decision.topic, "")
    facts = decision.facts
    return f" over {facts[key]} {facts['currency']}" if key in facts and "currency" in facts else ""


def _background(decision: DecisionMade) -> Iterator[str]:
    facts = decision.facts
    lines = facts.get("lines", [])
    for line in lines:
        yield _billed(line, decision.occurred_at)
    if facts.get("lines_in_all", 0) > len(lines):
        yield f"It was billed on {facts['lines_in_all'] - len(lines)} more lines."
    if "due" in facts:
        yield _paid(facts)
    if "left" in facts:
        yield _used(facts)
    if others := facts.get("not_of_this_owner_and_currency"):
        yield f"It names invoices of somebody else, or in another currency: {', '.join(map(str, others))}."
    if same := facts.get("same"):
        yield f"An earlier message has the same {str(same).replace('_', ' ')}."


def _billed(line: Mapping[str, Any], occurred_at: datetime | None) -> str:
    finalized_at = datetime.fromisoformat(line["finalized_at"])
    before = occurred_at is None or finalized_at <= occurred_at
    due = line["due_on_invoice"]
    state = (
        "voided"
        if line.get("voided")
        else "paid"
        if _is_zero(due)
        else f"with {due} {line['currency']} still due"
    )
    return (
        f"It {'had been' if before else 'was only'} billed on invoice {line['invoice_id']} of "
        f"{date_words(finalized_at)}{'' if before else ', after that'} ({line['cost']} {line['currency']}, {state})."
    )


def _paid(facts: Mapping[str, Any]) -> str:
    currency = facts["currency"]
    if _is_zero(facts["due"]) and _is_zero(facts["credit_applied"]):
        return "Nothing was due on it." if _is_zero(facts["paid"]) else "It was paid in full."
    return (
        f"Of it, {facts['paid']} {currency} was paid in money and {facts['credit_applied']} {currency} with credit; "
        f"{facts['due']} {currency} was still due."
    )


def _used(facts: Mapping[str, Any]) -> str:
    currency = facts["currency"]
    back = f"{facts['reversed']} {currency} of it went back, " if not _is_zero(facts["reversed"]) else ""
    used = f"{facts['settled']} settled invoices and {facts['left']} was left"
    return f"Of its {facts['amount']} {currency}, {back}{used}."


def _is_zero(amount: str) -> bool:
    return not amount.strip("-0.")


def _verdict(explanation: Explanation, decision: DecisionMade) -> Iterator[str]:
    # A repetition has the ids of the message that gave the credit.
    is_first = decision.outcome not in ("duplicate", "conflict")
    given = list(_given_by(explanation, decision)) if is_first else []
    used = list(_used_by(explanation, decision)) if is_first else []
    yield from (f"Credit of {amount} was given." for amount in given)
    yield from (f"Credit of {amount} was used on it." for amount in used)
    if decision.outcome == "recorded":
        yield recorded_words(decision.topic, decision.reason)
    elif not given and not used:
        yield OUTCOMES.get(decision.outcome, f"The outcome was {decision.outcome}.")
    if decision.outcome in ("rejected", "parked"):
        yield f"The reason noted: {decision.reason}."
    elif decision.outcome not in ("issued", "applied", "recorded", "duplicate", "conflict"):
        yield reason_words(decision.reason)
    if fee := decision.facts.get("fee"):
        yield f"A cancellation fee of {fee} {decision.facts.get('currency', '')} was kept."


def _given_by(explanation: Explanation, decision: DecisionMade) -> Iterator[str]:
    for grant in explanation.grants:
        if (grant.topic, grant.event_id) == (decision.topic, decision.event_id):
            yield money(grant.amount, grant.currency)


def _used_by(explanation: Explanation, decision: DecisionMade) -> Iterator[str]:
    for use in explanation.applications:
        if (use.topic, use.event_id) == (decision.topic, decision.event_id):
            yield money(use.amount, use.currency)


def _movements(grant: GrantStory, told: set[tuple[str, str]]) -> Iterator[tuple[datetime, str]]:
    for steps in _grouped(grant.steps):
        step = steps[0]
        if step.event == "issued" and (step.topic, step.event_id) in told:
            continue
        amount = money(abs(sum(each.amount for each in steps)), grant.currency)
        yield step.recorded_at, f"On {date_words(step.occurred_at)} {_movement(step, amount)}"


def _grouped(steps: Iterable[Step]) -> list[list[Step]]:
    groups: list[list[Step]] = []
    for step in steps:
        same = groups and (groups[-1][0].recorded_at, _kind(groups[-1][0])) == (step.recorded_at, _kind(step))
        if same:
            groups[-1].append(step)
        else:
            groups.append([step])
    return groups


def _kind(step: Step) -> tuple[str, str, str | None, str, str]:
    return step.event, step.counter_account, step.invoice_id, step.topic, step.event_id


def _movement(step: Step, amount: str) -> str:
    key = step.counter_account if step.event == "voided" else step.event
    pattern = MOVED.get(key, "{amount} moved ({event})")
    words = pattern.format(amount=amount, invoice=step.invoice_id, event=step.event)
    if step.event == "issued":
        return f"{words}{CAUSES.get(step.topic, '')}."
    if step.event in ("voided", "reinstated"):
        return f"{words}: {_as_clause(reason_words(step.reason))}"
    return f"{words}."


def _as_clause(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]


def _standing(explanation: Explanation) -> Iterator[str]:
    numbers = {each.invoice_id: each for each in explanation.invoices}
    for invoice in explanation.invoices:
        yield _invoice(invoice)
    for line in explanation.lines:
        if line.target is not None or line.subject_id is not None:
            yield _line(line, numbers)
    for payment in explanation.payments:
        yield _payment(payment)
    for grant in explanation.grants:
        yield _grant(grant)
    if len(explanation.changes) > 1:
        last = explanation.changes[-1]
        yield f"There were {len(explanation.changes)} changes; the one of {date_words(last.occurred_at)} counts last."


def _invoice(invoice: InvoiceStory) -> str:
    total = money(invoice.total, invoice.currency)
    start = f"Invoice {_label(invoice)} of {date_words(invoice.finalized_at)} over {total}"
    if invoice.voided_at is not None:
        return f"{start} was voided on {date_words(invoice.voided_at)} ({invoice.void_reason})."
    if invoice.total < 0:
        return f"{start} is a credit note: nothing is due on it."
    if invoice.due:
        return f"{start} has {money(invoice.due, invoice.currency)} still due."
    return f"{start} is paid: {_ways(invoice)}."


def _ways(invoice: InvoiceStory) -> str:
    ways = {"in money": invoice.settled, "with credit": invoice.applied}
    return (
        " and ".join(f"{money(part, invoice.currency)} {way}" for way, part in ways.items() if part) or "free"
    )


def _label(invoice: InvoiceStory) -> str:
    same = invoice.number == invoice.invoice_id
    return invoice.invoice_id if same else f"{invoice.invoice_id} (number {invoice.number})"


def _line(line: LineStory, invoices: Mapping[str, InvoiceStory]) -> str:
    what = f"{line.kind.capitalize()} {line.subject_id}" if line.subject_id else f"Line {line.line_id}"
    parts = [f"cost {money(line.cost, line.currency)}"]
    if line.target is not None:
        parts.append(f"is worth {money(line.target, line.currency)} of credit")
        parts.append(f"was given {money(line.given, line.currency)}")
    if line.shortfall:
        parts.append(f"and {money(line.shortfall, line.currency)} could not be taken back")
    return f"{what} on invoice {line.invoice_id} {', '.join(parts)}."


def _payment(payment: PaymentStory) -> str:
    name = "The payment told with invoice" if payment.kind == "amount_paid" else "Payment"
    used = [
        f"{money(amount, payment.currency)} on invoice {invoice}" for invoice, amount in payment.settlements
    ]
    left = payment.amount - payment.reversed - payment.settled
    parts = [
        f"{name} {payment.payment_id} of {money(payment.amount, payment.currency)} is used: {_listed(used)}"
    ]
    if payment.reversed:
        parts.append(f"{money(payment.reversed, payment.currency)} went back")
    if left:
        parts.append(f"{money(left, payment.currency)} was paid above what is due")
    return "; ".join(parts) + "."


def _listed(parts: Sequence[str]) -> str:
    return ", ".join(parts) or "on nothing"


def _grant(grant: GrantStory) -> str:
    places = {
        "available": 0 if grant.expired else grant.available,
        "set aside": 0 if grant.expired else grant.reserved,
        "used": grant.spent,
        "expired or voided": grant.lost + (grant.available + grant.reserved if grant.expired else 0),
        "taken back": grant.taken,
    }
    parts = [f"{money(amount, grant.currency)} {place}" for place, amount in places.items() if amount]
    end = ""
    if grant.expires_at is not None:
        end = f" It {'expired' if grant.expired else 'expires'} on {date_words(grant.expires_at.astimezone(UTC))}."
    return (
        f"Of the credit of {money(grant.amount, grant.currency)} ({grant.grant_id}): {', '.join(parts)}.{end}"
    )
