"""A message that changed nothing: rejected, or Avoir failed on it. Never worded as if it had happened."""

from collections.abc import Iterator
from datetime import datetime

from avoir.cli.base.words import HAPPENED, UNREADABLE, date_words, outcome_words
from avoir.cli.explain.view import RecordedDecision


def unhandled(decision: RecordedDecision) -> Iterator[str]:
    """The message, its content if it was read, and why it changed nothing."""
    name = f"A message on {decision.topic}"
    if decision.event_id:
        name += f" (event {decision.event_id})"
    is_unread = decision.subject.kind == "message"
    if is_unread and decision.outcome == "rejected":
        yield f"{name} {UNREADABLE}"
    else:
        yield f"{name} was received." if is_unread else f"{name} says that {content(decision)}."
        yield outcome_words(decision.outcome)
    # Older decisions on parked messages have no problem: only the dead letter has the error.
    problem = decision.facts.get("problem")
    yield f"Reason: {problem}." if problem else "The dead letter gives the reason."


def content(decision: RecordedDecision) -> str:
    """Content of a message as a clause, with its day and subject."""
    words = HAPPENED.get(decision.topic, f"something about {decision.subject.kind} {{id}} happened")
    return f"{_when(decision.occurred_at)}{words.format(id=decision.subject.id)}"


def _when(moment: datetime | None) -> str:
    return f"on {date_words(moment)} " if moment else ""
