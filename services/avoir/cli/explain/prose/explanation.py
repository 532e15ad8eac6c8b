"""An explanation in words that customer support can read to a customer."""

from dataclasses import dataclass

from avoir.cli.explain.prose.decisions import paragraph
from avoir.cli.explain.prose.movements import movements
from avoir.cli.explain.prose.state import current_state
from avoir.cli.explain.view import Explanation


@dataclass(frozen=True, slots=True)
class Prose:
    """Paragraphs on the decisions, dated sentences on later events, sentences on the current state."""

    decided: tuple[str, ...]
    since: tuple[str, ...]
    now: tuple[str, ...]


def prose_of(explanation: Explanation) -> Prose:
    """Write an explanation in words; for an owner only the decisions and the current state."""
    later = [(each.recorded_at, paragraph(explanation, each)) for each in explanation.later]
    moved = movements(explanation) if explanation.subject.kind != "owner" else []
    return Prose(
        tuple(paragraph(explanation, each) for each in explanation.decisions),
        tuple(words for _, words in sorted([*moved, *later], key=lambda each: each[0])),
        tuple(current_state(explanation)),
    )
