"""What became of the fee that a cancellation asked for: kept from what the booking cost, or only asked for."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from avoir.cli.explain.view import DecisionMade
from avoir.core.model.money import format_decimal, parse_decimal
from avoir.core.worth.targets import is_timely

GAVE = frozenset({"issued", "applied", "recorded", "waiting"})
"""Outcomes of a change that is worth credit, or took some back."""

WORTH_LESS = frozenset({"nothing_unused", "already_credited"})
"""Reasons for declining a change that counts, and whose worth is what its fee left."""


def fee_words(decision: DecisionMade) -> str:
    """A sentence on the fee of a cancellation; empty where it asked for none."""
    facts = decision.facts
    if not (fee := facts.get("fee")):
        return ""
    currency = facts["currency"]
    asked, kept = parse_decimal(fee), _kept(decision)
    if not kept:
        return f"A cancellation fee of {fee} {currency} was asked for."
    was = "will be" if decision.outcome == "waiting" else "was"
    if kept == asked:
        return f"A cancellation fee of {fee} {currency} {was} kept."
    part = f"{format_decimal(kept, currency)} {currency}"
    return f"Of the cancellation fee of {fee} {currency}, {part} {was} kept: the booking cost no more."


def _kept(decision: DecisionMade) -> int:
    """How much of the fee the booking's lines bear; none where the change did not count, or too few lines are known."""
    facts = decision.facts
    if decision.outcome not in GAVE and decision.reason not in WORTH_LESS:
        return 0
    lines = facts.get("lines", [])
    asked = parse_decimal(facts["fee"])
    cost = sum(parse_decimal(line["cost"]) for line in lines if _counts(line, decision))
    is_cut = facts.get("lines_in_all", 0) > len(lines)
    return 0 if is_cut and cost < asked else min(asked, cost)


def _counts(line: Mapping[str, Any], decision: DecisionMade) -> bool:
    is_same_currency = line["currency"] == decision.facts["currency"]
    return was_billed(line, decision) and not line.get("voided") and is_same_currency


def was_billed(line: Mapping[str, Any], decision: DecisionMade) -> bool:
    """Check whether a line among a decision's facts had been billed when its change occurred."""
    finalized_at = datetime.fromisoformat(line["finalized_at"])
    return decision.occurred_at is None or is_timely(finalized_at, decision.occurred_at)
