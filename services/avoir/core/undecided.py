"""Decisions on messages that could not be decided: too much was asked for, or the code failed on them."""

from avoir.core.model.decision import Decision, Outcome, fitting, would_change
from avoir.core.model.message import Message
from avoir.core.model.money import TooMuchError
from avoir.core.model.reasons import Unhandled


def fail(message: Message, error: Exception) -> Decision:
    """The decision on a message that could not be decided: rejected where it asks for too much, else parked."""
    if isinstance(error, TooMuchError):
        return _undecided(message, "rejected", "malformed", problem_of(error))
    return park(message, problem_of(error))


def park(message: Message, problem: str) -> Decision:
    """The decision on a message on which the code itself failed; `problem` is the error in one line."""
    return _undecided(message, "parked", "parked", problem)


def _undecided(message: Message, outcome: Outcome, reason: Unhandled, problem: str) -> Decision:
    subject = message.body.subject
    return Decision(
        tenant_id=message.tenant_id,
        topic=message.topic,
        event_id=message.event_id,
        occurred_at=message.occurred_at,
        outcome=outcome,
        reason=reason,
        facts=fitting({"problem": problem}),
        policy={},
        would_change_it=would_change(reason),
        subject_kind=subject.kind,
        subject_id=subject.id,
    )


def problem_of(error: Exception) -> str:
    """What is noted of an error that a message ran into."""
    return printable(str(error)) if isinstance(error, TooMuchError) else brief(error)


def brief(error: BaseException) -> str:
    """An error in one line of at most 500 characters."""
    return printable(f"{type(error).__name__}: {error}")


def printable(text: str) -> str:
    """A text as every column and header can hold it: without NUL and lone surrogates, at most 500 characters."""
    return text.encode(errors="backslashreplace").decode().replace("\0", "\\0")[:500]
