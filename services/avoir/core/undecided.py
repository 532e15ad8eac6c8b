"""Decisions on messages that could not be decided: beyond the limits, or the code failed."""

from avoir.core.model.decision import Decision, Outcome, fitting, would_change
from avoir.core.model.message import Message
from avoir.core.model.money import OverLimitError
from avoir.core.model.reasons import Unhandled


def fail(message: Message, error: Exception) -> Decision:
    """Decision on a message that could not be decided: rejected if beyond the limits, otherwise parked."""
    if isinstance(error, OverLimitError):
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
    """Text recorded about an error, as `problem` in the facts."""
    return printable(str(error)) if isinstance(error, OverLimitError) else brief(error)


def brief(error: BaseException) -> str:
    """An error in one line of at most 500 characters."""
    return printable(f"{type(error).__name__}: {error}")


def printable(text: str) -> str:
    """Make a text storable in every column and header: no NUL, no unpaired surrogates, at most 500 characters."""
    return text.encode(errors="backslashreplace").decode().replace("\0", "\\0")[:500]
