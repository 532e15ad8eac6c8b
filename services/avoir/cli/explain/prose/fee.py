"""The cancellation fee: the part kept from the booking's cost, or only requested."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from avoir.cli.explain.view import RecordedDecision
from avoir.core.model.money import format_decimal, parse_decimal
from avoir.core.worth.targets import is_timely

GAVE = frozenset({"issued", "applied", "recorded", "waiting"})
"""Outcomes of a change that is worth credit or takes credit back."""

WORTH_LESS = frozenset({"nothing_unused", "already_credited"})
"""Reasons for declining a change that counts, whose worth is what its fee left."""


def fee_words(decision: RecordedDecision) -> str:
    """A sentence on the cancellation fee; empty if there was none."""
    facts = decision.facts
    if not (fee := facts.get("fee")):
        return ""
    currency = facts["currency"]
    asked, kept = parse_decimal(fee), _kept(decision)
    if not kept:
        return f"A cancellation fee of {fee} {currency} was requested."
    was = "will be" if decision.outcome == "waiting" else "was"
    if kept == asked:
        return f"A cancellation fee of {fee} {currency} {was} kept."
    part = f"{format_decimal(kept, currency)} {currency}"
    return f"Of the cancellation fee of {fee} {currency}, {part} {was} kept: the booking did not cost more."


def _kept(decision: RecordedDecision) -> int:
    """Part of the fee that the booking's lines bear, in micros; 0 if the change does not count or lines are missing."""
    facts = decision.facts
    if decision.outcome not in GAVE and decision.reason not in WORTH_LESS:
        return 0
    lines = facts.get("lines", [])
    asked = parse_decimal(facts["fee"])
    cost = sum(parse_decimal(line["cost"]) for line in lines if _counts(line, decision))
    is_cut = facts.get("lines_in_all", 0) > len(lines)
    return 0 if is_cut and cost < asked else min(asked, cost)


def _counts(line: Mapping[str, Any], decision: RecordedDecision) -> bool:
    is_same_currency = line["currency"] == decision.facts["currency"]
    return was_billed(line, decision) and not line.get("voided") and is_same_currency


def was_billed(line: Mapping[str, Any], decision: RecordedDecision) -> bool:
    """Check whether a line among a decision's facts had been billed when its change occurred."""
    finalized_at = datetime.fromisoformat(line["finalized_at"])
    return decision.occurred_at is None or is_timely(finalized_at, decision.occurred_at)
