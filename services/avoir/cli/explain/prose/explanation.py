"""Says an explanation in words that a support person can read out to a customer."""

from dataclasses import dataclass

from avoir.cli.explain.prose.decisions import paragraph
from avoir.cli.explain.prose.movements import movements
from avoir.cli.explain.prose.standing import standing
from avoir.cli.explain.view import Explanation


@dataclass(frozen=True, slots=True)
class Telling:
    """Paragraphs on what was decided, dated sentences on what happened since, sentences on how things stand."""

    decided: tuple[str, ...]
    since: tuple[str, ...]
    now: tuple[str, ...]


def tell(explanation: Explanation) -> Telling:
    """The words for an explanation; of an owner's credit only the decisions and how it stands."""
    later = [(each.recorded_at, paragraph(explanation, each)) for each in explanation.later]
    moved = movements(explanation) if explanation.subject.kind != "owner" else []
    return Telling(
        tuple(paragraph(explanation, each) for each in explanation.decisions),
        tuple(words for _, words in sorted([*moved, *later], key=lambda each: each[0])),
        tuple(standing(explanation)),
    )
