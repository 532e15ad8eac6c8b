"""Writes the tables of docs/reasons.md from the service's lists of outcomes and reasons.

`python -m tools.reasons` writes them; `python -m tools.reasons --check` exits with 1 if they are out of date.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, get_args

from avoir.core.model import reasons
from avoir.core.model.decision import OUTCOMES
from avoir.core.model.reasons import REASONS, Meaning
from tools.document import ROOT, write_or_check

DOCUMENT = ROOT / "docs/reasons.md"
TABLE = re.compile(
    r"(<!-- table: (\w+), written by `python -m tools\.reasons` -->\n).*?(\n<!-- end -->)", re.DOTALL
)


def outcomes() -> str:
    """The table of outcomes, with meaning and events of each."""
    rows = [(f"`{name}`", _joined(each.words, each.note), each.events) for name, each in OUTCOMES.items()]
    return _table(("outcome", "meaning", "events"), rows)


def with_remedies(kind: Any, meaning: Callable[[Meaning], Meaning] = lambda each: each) -> str:
    """The table of a kind of reason, with meaning and remedy of each."""
    rows = []
    for name in get_args(kind):
        each = meaning(REASONS[name])
        remedy = (
            f"With `waiting`: {each.remedy} With `declined`: {each.declined}"
            if each.declined
            else each.remedy
        )
        rows.append((f"`{name}`", _joined(each.words, each.note), remedy or ""))
    return _table(("reason", "meaning", "what would change it"), rows)


def without_remedies(*kinds: Any) -> str:
    """The table of kinds of reason that need no remedy, with the meaning of each."""
    names = dict.fromkeys(name for kind in kinds for name in get_args(kind))
    rows = [(f"`{name}`", _moved(REASONS[name])) for name in names]
    return _table(("reason", "meaning"), rows)


def _moved(meaning: Meaning) -> str:
    return meaning.moved or _joined(meaning.words, meaning.note)


def _joined(*sentences: str) -> str:
    return " ".join(filter(None, sentences))


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |".replace("|  |", "| |") for cells in lines)


TABLES: Mapping[str, Callable[[], str]] = {
    "outcomes": outcomes,
    "nothing_given": lambda: with_remedies(reasons.NothingGiven),
    "refusals": lambda: with_remedies(reasons.Refusal, lambda each: each.refused or each),
    "waiting": lambda: with_remedies(reasons.Waiting),
    "unhandled": lambda: with_remedies(reasons.Unhandled),
    "recorded": lambda: without_remedies(reasons.Recorded),
    "sources": lambda: without_remedies(reasons.Source, reasons.GrantReason),
    "applied_by": lambda: without_remedies(reasons.AppliedBy),
    "taken_back": lambda: without_remedies(reasons.TakenBack),
    "shortfall": lambda: without_remedies(reasons.ShortfallReason),
    "released": lambda: without_remedies(reasons.Released),
}
"""The tables by their names in the document's marks."""


def with_tables(text: str) -> str:
    """The document with its tables; ValueError if its marks don't name each of them once."""
    if sorted(match[2] for match in TABLE.finditer(text)) != sorted(TABLES):
        raise ValueError(f"{DOCUMENT.name} must have one mark for each of the tables {', '.join(TABLES)}")
    return TABLE.sub(lambda match: f"{match[1]}\n{TABLES[match[2]]()}\n{match[3]}", text)


if __name__ == "__main__":
    write_or_check(DOCUMENT, with_tables, "python -m tools.reasons")
