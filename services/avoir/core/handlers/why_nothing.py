"""Reason why a change of a booking or plan gave nothing."""

from collections.abc import Sequence
from typing import NamedTuple

from avoir.core.model.decision import Outcome, would_change
from avoir.core.model.reasons import UNUSED_AND_PAID, NothingGiven
from avoir.core.model.rows import Change
from avoir.core.state.draft import Draft
from avoir.core.worth.targets import (
    Billed,
    change_order,
    deciding,
    is_same_currency,
    is_timely,
    is_too_late,
)


class Why(NamedTuple):
    """Outcome of a change that issued nothing, and the remedy if the reason alone does not give it."""

    outcome: Outcome
    reason: NothingGiven
    would_change_it: str | None = None


def why_nothing(draft: Draft, change: Change, billed: Sequence[Billed], *, is_repeated: bool) -> Why:
    """Find why a change gave nothing: the first reason that leaves no line to give credit for."""
    # In the order of `NothingGiven`, which the contract publishes: the first reason that holds is the one given.
    if not billed:
        return Why("declined", "not_billed")
    lines = [each for each in billed if not each.invoice.voided]
    if not lines:
        return Why("declined", "invoice_voided")
    lines = [each for each in lines if is_timely(each.invoice.finalized_at, change.occurred_at)]
    if not lines:
        return Why("declined", "billed_after_change")
    lines = [each for each in lines if is_same_currency(change, each.invoice)]
    if not lines:
        return Why("declined", "currency_mismatch")
    entitlements = [draft.state.entitlements.get(each.line.key) for each in lines]
    if is_repeated and any(each.given for each in entitlements if each is not None):
        return Why("declined", "already_credited")
    lines = [each for each in lines if _is_decisive(draft, change, each)]
    if not lines:
        return Why("declined", "superseded")
    if not change.asked:
        return Why("declined", "not_requested")
    lines = [each for each in lines if each.line.cost > 0]
    if not lines:
        return Why("declined", "free")
    return _why_asked_gave_nothing(draft, change, lines)


def _why_asked_gave_nothing(draft: Draft, change: Change, lines: Sequence[Billed]) -> Why:
    due = [each for each in lines if each.invoice.due > 0]
    in_time = [each for each in lines if each.invoice.due == 0 and not _is_too_late(draft, each)]
    unused_and_paid = UNUSED_AND_PAID if due else would_change("nothing_unused")
    remedy = None if any(_target(draft, each) for each in lines) else unused_and_paid
    if len(due) == len(lines) or any(_target(draft, each) for each in due):
        return Why("waiting" if change.settle_by is None else "declined", "unpaid", remedy)
    if not in_time:
        return Why("declined", "unpaid", remedy)
    if not any(_target(draft, each) for each in in_time):
        return Why("declined", "nothing_unused")
    return Why("declined", "already_credited")


def _is_too_late(draft: Draft, billed: Billed) -> bool:
    return is_too_late(billed.invoice, draft.state.entitlements[billed.line.key].settle_by)


def _is_decisive(draft: Draft, change: Change, billed: Billed) -> bool:
    """Check whether a line's target comes from this change: the last, or the last asked for if that leaves a target."""
    last, asked = deciding(sorted(draft.changes(change.subject), key=change_order), billed.invoice)
    decisive = (last, asked if _target(draft, billed) > 0 else None)
    return any(each is not None and each.contents == change.contents for each in decisive)


def _target(draft: Draft, billed: Billed) -> int:
    entitlement = draft.state.entitlements.get(billed.line.key)
    return 0 if entitlement is None else entitlement.target
