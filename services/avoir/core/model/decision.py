"""What Avoir concluded from one message, and why: the row that is kept for ever."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

import msgspec
from msgspec import Struct

from avoir.core.model.reasons import REASONS, Reason

Outcome = Literal[
    "issued",
    "applied",
    "recorded",
    "waiting",
    "declined",
    "rejected",
    "duplicate",
    "conflict",
    "parked",
]


class OutcomeMeaning(Struct, frozen=True):
    """What an outcome means as a sentence, and the `events` that come of it; `note` adds for docs/reasons.md what the
    words leave out. Events and note are Markdown.
    """

    words: str
    events: str = "nothing"
    note: str = ""


OUTCOMES: Mapping[Outcome | Literal["skipped"], OutcomeMeaning] = {
    "issued": OutcomeMeaning(
        "Credit was given.",
        "`credit-issued`, and whatever else followed",
        "It was due for this message, or for another that had waited for it.",
    ),
    "applied": OutcomeMeaning(
        "Credit was used.", "`credit-applied`", "It was used on an invoice, and none was given."
    ),
    "recorded": OutcomeMeaning(
        "It was recorded; there was no credit to give or to use.",
        "`credit-voided`, `credit-reinstated`, `credit-shortfall`, `credit-note-issued`, or nothing",
        "What it took back or undid has its own events.",
    ),
    "waiting": OutcomeMeaning(
        "No credit was given yet.",
        note="Something has to come first; the message is picked up by itself when it does.",
    ),
    "declined": OutcomeMeaning(
        "No credit was given.",
        "`credit-declined` for changes of bookings and plans, and for commands",
        "A change gave nothing, for good or as things stand; or a command was refused.",
    ),
    "rejected": OutcomeMeaning(
        "It was not accepted, so nothing was changed.",
        "`credit-dead-letter`",
        "The message could not be read, or says what cannot be taken.",
    ),
    "duplicate": OutcomeMeaning(
        "The same message had been handled before, so nothing was changed.",
        note="A message with the same key and the same contents counts as the same.",
    ),
    "conflict": OutcomeMeaning(
        "It contradicted an earlier message with the same key, so nothing was changed.",
        "`credit-dead-letter`",
        "The first message stands.",
    ),
    "parked": OutcomeMeaning(
        "Avoir failed on this message and set it aside; it can be replayed after a fix.",
        "`credit-dead-letter`",
    ),
    "skipped": OutcomeMeaning("An operator passed by the message, because no program could read it."),
}

MAX_LISTED = 8
"""How many lines or ids the facts of a decision name; beyond that they say how many there are."""

MAX_FACTS = 2048
"""How many bytes the facts of a decision have as JSON at most."""

MAX_CUT = 64
"""How much of an id is kept in facts that would be too long otherwise."""

CUT = "…"
"""What stands for the rest of it."""


class Decision(Struct, frozen=True):
    """The outcome of one message with its reason, the facts used (ids, decimal amounts) and the policy that counted."""

    tenant_id: str
    topic: str
    event_id: str
    occurred_at: datetime | None
    outcome: Outcome
    reason: Reason
    facts: Mapping[str, Any]
    policy: Mapping[str, Any]
    would_change_it: str | None
    subject_kind: str
    subject_id: str


_JSON = json.JSONEncoder(ensure_ascii=False)
_COMPACT = msgspec.json.Encoder()


def would_change(reason: Reason, outcome: Outcome = "declined", *, is_command: bool = False) -> str | None:
    """What would change a decision that gave nothing, in a sentence; None where it gave something."""
    meaning = REASONS[reason]
    if is_command and meaning.refused is not None:
        return meaning.refused.remedy
    return meaning.declined if outcome == "declined" and meaning.declined else meaning.remedy


def listed(key: str, items: list[Any]) -> dict[str, Any]:
    """A list of facts, cut to what a decision may hold; the cut is named."""
    if len(items) <= MAX_LISTED:
        return {key: items}
    return {key: items[:MAX_LISTED], f"{key}_in_all": len(items)}


def fitting(facts: Mapping[str, Any]) -> Mapping[str, Any]:
    """Facts of at most 2 KiB: lists lose their last items (and say how many there were), then ids their end."""
    # Spaces at most double what JSON takes without them, and few facts come near to their limit.
    if 2 * len(_COMPACT.encode(facts)) <= MAX_FACTS or _size(facts) <= MAX_FACTS:
        return facts
    found = dict(facts)
    lists = [key for key, value in facts.items() if isinstance(value, list)]
    while _size(found) > MAX_FACTS and any(len(found[key]) > 1 for key in lists):
        longest = max(lists, key=lambda key: len(found[key]))
        found.setdefault(f"{longest}_in_all", len(found[longest]))
        found[longest] = found[longest][:-1]
    return found if _size(found) <= MAX_FACTS else {key: _cut(value) for key, value in found.items()}


def _size(facts: Mapping[str, Any]) -> int:
    return len(_JSON.encode(facts).encode())


def _cut(value: Any) -> Any:
    match value:
        case str() if len(value) > MAX_CUT:
            return value[:MAX_CUT] + CUT
        case list():
            return [_cut(each) for each in value]
        case dict():
            return {key: _cut(each) for key, each in value.items()}
        case _:
            return value
