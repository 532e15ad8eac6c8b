"""What happened to credit since, in dated sentences: one for each message, and one for each day's draws."""

from collections.abc import Iterable, Iterator
from datetime import datetime

from avoir.cli.base.words import CAUSES, MOVED, date_words, invoice_words, moved_words
from avoir.cli.explain.prose.decisions import money
from avoir.cli.explain.view import Explanation, GrantStanding, Step
from avoir.core.model.rows import Grant

TOLD_WITH_DECISION = frozenset({"issued", "drawn", "refunded", "voided"})
"""Movements whose amount the paragraph on their message tells."""

COMMANDED = frozenset({"draw-credit", "refund-credit", "void-credit", "grant-credit"})


def movements(explanation: Explanation) -> list[tuple[datetime, str]]:
    """What happened to the grants of an explanation, with when it was recorded; of an event only since then."""
    told = {(each.topic, each.event_id) for each in (*explanation.decisions, *explanation.later)}
    return [
        told_movement
        for each in explanation.grants
        for told_movement in _movements(
            each.grant,
            _steps(explanation, each, told),
            of="it" if len(explanation.grants) == 1 else _named(each.grant),
        )
    ]


def _named(grant: Grant) -> str:
    return f"the {money(grant.amount, grant.account.currency)} of {date_words(grant.effective_at)}"


def _steps(explanation: Explanation, standing: GrantStanding, told: set[tuple[str, str]]) -> Iterator[Step]:
    """The entries to tell: of a message those since then, of an application its own."""
    subject, since = explanation.subject, None
    if subject.kind == "event" and explanation.decisions:
        since = explanation.decisions[0].recorded_at
    for step in standing.steps:
        is_about = subject.kind != "application" or str(step.application_id) == subject.id.lower()
        is_since = since is None or step.recorded_at >= since
        if is_about and is_since and not _is_other_side(step) and not _is_told(step, told, subject.kind):
            yield step


def _is_told(step: Step, told: set[tuple[str, str]], kind: str) -> bool:
    if (step.topic, step.event_id) not in told:
        return False
    with_decision = step.event in TOLD_WITH_DECISION and step.topic in COMMANDED
    return step.event == "issued" or with_decision or kind == "application"


def _movements(grant: Grant, told: Iterable[Step], *, of: str) -> Iterator[tuple[datetime, str]]:
    for steps in _grouped(told):
        step = steps[0]
        amount = money(abs(sum(each.amount for each in steps)), grant.account.currency)
        times = f", in {len(steps)} draws" if step.event == "drawn" and len(steps) > 1 else ""
        yield step.recorded_at, f"On {date_words(step.occurred_at)} {_movement(step, amount, of, times)}"


def _is_other_side(step: Step) -> bool:
    """Between available and reserved an entry stands on either side: one of them is told."""
    return step.ledger_account == "available" and step.counter_account == "reserved"


def _grouped(steps: Iterable[Step]) -> list[list[Step]]:
    groups: list[list[Step]] = []
    for step in steps:
        if groups and _kind(groups[-1][0]) == _kind(step):
            groups[-1].append(step)
        else:
            groups.append([step])
    return groups


def _kind(step: Step) -> tuple[object, ...]:
    if step.event == "drawn":
        return step.event, step.occurred_at.date()
    message = (step.recorded_at, step.topic, step.event_id)
    return step.event, step.counter_account, step.invoice_id, *message


def _movement(step: Step, amount: str, of: str, times: str) -> str:
    invoice = invoice_words(step.invoice_id)
    words = MOVED.get(_key(step), "{amount} moved ({event})")
    words = words.format(amount=amount, of=of, invoice=invoice, event=step.event) + times
    match step.event:
        case "issued":
            return f"{words}{CAUSES.get(step.topic, '')}."
        case "voided" | "reinstated":
            why = moved_words(step.reason)
            return f"{words}: {why[:1].lower()}{why[1:]}"
        case "refunded":
            return f"{words} ({step.reason})."
        case _:
            return f"{words}."


def _key(step: Step) -> str:
    if step.event == "voided":
        return step.counter_account
    return "released" if step.event == "reinstated" and step.ledger_account == "reserved" else step.event
