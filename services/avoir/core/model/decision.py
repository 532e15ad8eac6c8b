"""What Avoir concluded from one message, and why: the row that is kept for ever."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

import msgspec
from msgspec import Struct

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
    reason: str
    facts: Mapping[str, Any]
    policy: Mapping[str, Any]
    would_change_it: str | None
    subject_kind: str
    subject_id: str


WOULD_CHANGE_IT: Mapping[str, str] = {
    "not_billed": "A finalized invoice that bills it, finalized no later than this change.",
    "invoice_voided": "Nothing: the invoice that billed it is void, and a void invoice gives no credit.",
    "billed_after_change": "An invoice that bills it, finalized no later than this change and told later, once paid.",
    "currency_mismatch": "The same change with its amounts in the currency of the invoice.",
    "already_credited": "Nothing: the credit for this has been given already.",
    "superseded": "Nothing for this change: a later change counts.",
    "not_requested": "The same change by the customer, or by an admin with create_credit set to true.",
    "free": "Nothing: it cost nothing, so there is nothing to give back.",
    "unpaid": "Payment of the rest of the invoice.",
    "nothing_unused": "A change that leaves some of what was paid for unused.",
    "unknown_invoice": "The invoice's finalization.",
    "unknown_payment": "The payment itself.",
    "unknown_application": "The id of an application or reservation of this tenant that was not undone since.",
    "unknown_grant": "The id of a grant of this owner and tenant.",
    "insufficient_credit": "An amount of at most what is available, or more credit.",
    "invoice_settled": "Nothing: nothing is due on the invoice any more.",
    "credit_expired": "Nothing: what was left of the credit has expired; new credit can be granted.",
    "not_effective": "Its effective date: the credit is given then.",
    "malformed": "The message corrected and sent again.",
    "conflict": "A new id for different contents; the first message with this id stands.",
    "parked": "A mended release of Avoir, and the message replayed.",
}

_JSON = json.JSONEncoder(ensure_ascii=False)
_COMPACT = msgspec.json.Encoder()


UNPAID_IN_TIME = (
    "A payment that had come in by the time of the change and is told later, while the invoice is still due; "
    "what was paid after the change gives no credit (unpaid_change: never)."
)

UNUSED_AND_PAID = (
    "A change that leaves some of it unused, and payment of the rest of the invoice; "
    "payment alone gives no credit."
)

WOULD_CHANGE_REFUSAL: Mapping[str, str] = {
    "unknown_invoice": "An invoice of this owner.",
    "currency_mismatch": "The same command in the currency of the invoice or of the credit.",
    "invoice_voided": "Nothing: the invoice is void, and nothing is due on it.",
}
"""Where a command that was refused needs something else than a fact for the same reason."""


def would_change(reason: str, outcome: Outcome = "declined", *, is_command: bool = False) -> str | None:
    """What would change a decision that gave nothing, in a sentence; None where it gave something."""
    if is_command and reason in WOULD_CHANGE_REFUSAL:
        return WOULD_CHANGE_REFUSAL[reason]
    return UNPAID_IN_TIME if (outcome, reason) == ("declined", "unpaid") else WOULD_CHANGE_IT.get(reason)


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
