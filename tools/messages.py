"""Writes the facts in docs/messages.md from the models of the contract: a heading, a sentence and the fields of each.

`python -m tools.messages` writes them; `python -m tools.messages --check` exits with 1 if they are out of date.
"""

import inspect
import json
from collections.abc import Iterator, Mapping
from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from avoir_events import FACTS, AnyLine, Incoming, Owner, Period, scalars
from avoir_events.invoices import MAX_LINES
from tools.document import ROOT, between_marks, write_or_check

DOCUMENT = ROOT / "docs/messages.md"
BEGIN, END = "<!-- facts: written by `python -m tools.messages` -->", "<!-- end of the facts -->"

TYPES: Mapping[Any, str] = {
    bool: "boolean",
    scalars.Id: "id",
    scalars.Text: "text",
    scalars.Time: "time",
    scalars.Revision: "integer",
    scalars.Currency: "currency",
    scalars.Amount: "amount",
    scalars.AboveZero: "amount > 0",
    scalars.AtLeastZero: "amount >= 0",
    Owner: "[owner](#owner)",
    Period: "[period](#period)",
    AnyLine: f"[lines](#invoice-lines), at most {MAX_LINES:,}",
}
"""The names of field types in the document."""


def facts() -> str:
    """A section for each fact, in Markdown."""
    return "\n\n".join(_section(topic, model) for topic, model in FACTS.items())


def _section(topic: str, model: type[Incoming]) -> str:
    rows = ["| field | type | required | meaning |", "| --- | --- | --- | --- |", *_rows(model)]
    return "\n".join([f"### {topic}", "", inspect.cleandoc(model.__doc__ or ""), "", *rows])


def _rows(model: type[Incoming]) -> Iterator[str]:
    hints = get_type_hints(model, include_extras=True)
    for name, field in model.model_fields.items():
        if name not in Incoming.model_fields:
            required = "yes" if field.is_required() else f"no, `{json.dumps(field.default)}`"
            meaning = _as_clause(field.description or "")
            yield f"| `{name}` | {_type(hints[name])} | {required} | {meaning} |"


def _as_clause(sentence: str) -> str:
    # Lower case, unless the first word is an acronym or a single letter; a final "..." stays.
    first = sentence[0].lower() if sentence[1].islower() else sentence[0]
    rest = sentence[1:] if sentence.endswith("...") else sentence[1:].removesuffix(".")
    return first + rest


def _type(hint: Any) -> str:
    """The name of a type; KeyError if TYPES has none for it."""
    if hint in TYPES:
        return TYPES[hint]
    if get_origin(hint) is UnionType or NoneType in get_args(hint):
        return " or ".join("null" if each is NoneType else _type(each) for each in get_args(hint))
    if get_origin(hint) is Literal:
        return r" \| ".join(f'"{each}"' for each in get_args(hint))
    bare = hint.__origin__ if hasattr(hint, "__metadata__") else hint
    if get_origin(bare) is tuple:
        return f"list of {_type(get_args(bare)[0])}"
    raise KeyError(f"no name for the type {hint}: add it to TYPES")


def with_facts(text: str) -> str:
    """The document with the facts between its two marks; ValueError if they are missing."""
    return between_marks(text, BEGIN, END, facts())


if __name__ == "__main__":
    write_or_check(DOCUMENT, with_facts, "python -m tools.messages")
