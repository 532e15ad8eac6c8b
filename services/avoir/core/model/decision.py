"""A decision: the conclusion from one message and its reason, a row kept for ever."""

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
    """Meaning of an outcome as a sentence, and the resulting `events`.

    `note` adds details for docs/reasons.md. Events and note are Markdown.
    """

    words: str
    events: str = "nothing"
    note: str = ""


OUTCOMES: Mapping[Outcome | Literal["skipped"], OutcomeMeaning] = {
    "issued": OutcomeMeaning(
        "Credit was given.",
        "`credit-issued`, and any events that followed",
        "It was due for this message, or for another that had been waiting for it.",
    ),
    "applied": OutcomeMeaning(
        "Credit was used.", "`credit-applied`", "It was used on an invoice, and none was issued."
    ),
    "recorded": OutcomeMeaning(
        "It was recorded; there was no credit to give or to use.",
        "`credit-voided`, `credit-reinstated`, `credit-shortfall`, `credit-note-issued`, or nothing",
        "What it took back or undid has its own events.",
    ),
    "waiting": OutcomeMeaning(
        "No credit was given yet.",
        note="Something must come first; Avoir continues automatically when it does.",
    ),
    "declined": OutcomeMeaning(
        "No credit was given.",
        "`credit-declined` for changes of bookings and plans, and for commands",
        "A change gave nothing, for good or for now; or a command was refused.",
    ),
    "rejected": OutcomeMeaning(
        "It was rejected, so nothing was changed.",
        "`credit-dead-letter`",
        "The message could not be read, or its contents are not acceptable.",
    ),
    "duplicate": OutcomeMeaning(
        "The same message had already been handled, so nothing was changed.",
        note="A message with the same key and the same contents is the same message.",
    ),
    "conflict": OutcomeMeaning(
        "It contradicted an earlier message with the same key, so nothing was changed.",
        "`credit-dead-letter`",
        "The first message stands.",
    ),
    "parked": OutcomeMeaning(
        "Avoir failed on this message and parked it; it can be replayed after a fix.",
        "`credit-dead-letter`",
    ),
    "skipped": OutcomeMeaning("An operator skipped the message, because no program could read it."),
}

MAX_LISTED = 8
"""Maximum number of lines or ids in each list of a decision's facts; beyond that the facts give the number."""

MAX_FACTS = 2048
"""Maximum size of a decision's facts as JSON, in bytes."""

MAX_CUT = 64
"""Length of an id that is cut because the facts would be too long."""

CUT = "…"
"""Replacement for the cut part."""


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
    """Remedy for a decision that gave nothing, in a sentence; None if it gave something."""
    meaning = REASONS[reason]
    if is_command and meaning.refused is not None:
        return meaning.refused.remedy
    return meaning.declined if outcome == "declined" and meaning.declined else meaning.remedy


def listed(key: str, items: list[Any]) -> dict[str, Any]:
    """A list of facts, cut to the limit of a decision; the cut is marked."""
    if len(items) <= MAX_LISTED:
        return {key: items}
    return {key: items[:MAX_LISTED], f"{key}_in_all": len(items)}


def fitting(facts: Mapping[str, Any]) -> Mapping[str, Any]:
    """Facts of at most 2 KiB: lists lose their last items (with their number), then ids are cut."""
    # Spaces at most double what JSON takes without them, and few facts come near to their limit.
    if 2 * len(_COMPACT.encode(facts)) <= MAX_FACTS or _size(facts) <= MAX_FACTS:
        return facts
    shortened = dict(facts)
    lists = [key for key, value in facts.items() if isinstance(value, list)]
    while _size(shortened) > MAX_FACTS and any(len(shortened[key]) > 1 for key in lists):
        longest = max(lists, key=lambda key: len(shortened[key]))
        shortened.setdefault(f"{longest}_in_all", len(shortened[longest]))
        shortened[longest] = shortened[longest][:-1]
    return (
        shortened if _size(shortened) <= MAX_FACTS else {key: _cut(value) for key, value in shortened.items()}
    )


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
