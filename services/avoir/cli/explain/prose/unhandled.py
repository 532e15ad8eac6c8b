"""A message that changed nothing, as it was not accepted or Avoir failed on it: never told as if it had happened."""

from collections.abc import Iterator
from datetime import datetime

from avoir.cli.base.words import HAPPENED, UNREADABLE, date_words, outcome_words
from avoir.cli.explain.view import DecisionMade


def unhandled(decision: DecisionMade) -> Iterator[str]:
    """What came, what a message that was read says, and why it changed nothing."""
    name = f"A message on {decision.topic}"
    if decision.event_id:
        name += f" (event {decision.event_id})"
    is_unread = decision.subject.kind == "message"
    if is_unread and decision.outcome == "rejected":
        yield f"{name} {UNREADABLE}"
    else:
        yield f"{name} came." if is_unread else f"{name} says that {said(decision)}."
        yield outcome_words(decision.outcome)
    # Decisions on parked messages did not hold the error once: only the dead letter has it.
    problem = decision.facts.get("problem")
    yield f"The reason noted: {problem}." if problem else "The dead letter says why."


def said(decision: DecisionMade) -> str:
    """What a message says, as a clause: with its day, and about what."""
    words = HAPPENED.get(decision.topic, f"something about {decision.subject.kind} {{id}} happened")
    return f"{_when(decision.occurred_at)}{words.format(id=decision.subject.id)}"


def _when(moment: datetime | None) -> str:
    return f"on {date_words(moment)} " if moment else ""
