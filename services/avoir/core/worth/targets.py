"""Cost of invoice lines, and the credit that they are worth after changes to their booking or plan."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple, assert_never

from avoir.core.model.facts import InvoiceLine
from avoir.core.model.money import share
from avoir.core.model.rows import (
    BookingCancellation,
    BookingShortening,
    Change,
    EntitlementKey,
    Invoice,
    Line,
    PlanCancellation,
)
from avoir.core.worth.proration import (
    NOTHING,
    Fraction,
    length,
    unused_by_days,
    unused_by_time,
    unused_of_shortened,
)


class Billed(NamedTuple):
    """A line with the invoice it is on."""

    invoice: Invoice
    line: Line


class Target(NamedTuple):
    """Credit that a line is worth once its invoice is paid, in micros, and the change it comes from."""

    amount: int
    change: Change


def costs(lines: Sequence[InvoiceLine], currency: str) -> list[int]:
    """Cost of each line, in micros: total less its share of the discounts; zero for lines below zero.

    Discounts are all negative lines except kind `credit`, at most the sum of the positive lines, shared over these in
    order by rounding the cumulative share.
    """
    totals = [line.amount + line.tax for line in lines]
    positive = sum(total for total in totals if total > 0)
    discounts = sum(
        -total for line, total in zip(lines, totals, strict=True) if total < 0 and line.kind != "credit"
    )
    discount = min(discounts, positive)
    cost, seen, given = [], 0, 0
    for total in totals:
        if total <= 0:
            cost.append(0)
            continue
        # Rounding the cumulative share, not each share, makes the shares add up to the discount exactly.
        seen += total
        cumulative = share(discount, seen, positive, currency) if discount else 0
        cost.append(total - (cumulative - given))
        given = cumulative
    return cost


def change_order(change: Change) -> tuple[int, object, str, str]:
    """Sort key of changes, the last of which counts: revision (none below all), occurred_at, event id, topic."""
    # Event id and topic break ties, so that the order of arrival makes no difference.
    revision = -1 if change.revision is None else change.revision
    return revision, change.occurred_at, change.event_id, change.topic


def line_order(billed: Billed) -> tuple[object, str, int]:
    """Sort key of a booking's lines: finalization, invoice id, position on the invoice."""
    return billed.invoice.finalized_at, billed.invoice.key.invoice_id, billed.line.position


def is_timely(finalized_at: datetime, occurred_at: datetime) -> bool:
    """Check whether an invoice was finalized no later than a change occurred."""
    return finalized_at <= occurred_at


def is_same_currency(change: Change, invoice: Invoice) -> bool:
    """Check whether the change's amounts, if any, are in the invoice's currency."""
    return change.currency is None or change.currency == invoice.account.currency


def counts(change: Change, invoice: Invoice) -> bool:
    """Check whether a change counts for the lines of an invoice."""
    return is_timely(invoice.finalized_at, change.occurred_at) and is_same_currency(change, invoice)


class Deciding(NamedTuple):
    """The last change that counts for an invoice, and the last that asked for credit; None if there is none."""

    last: Change | None
    asked: Change | None


def deciding(in_order: Sequence[Change], invoice: Invoice) -> Deciding:
    """The changes that decide what a line of an invoice is worth; `in_order` are all of its booking or plan."""
    counted = [change for change in in_order if counts(change, invoice)]
    asked = next((change for change in reversed(counted) if change.asked), None)
    return Deciding(counted[-1] if counted else None, asked)


def supersedes(later: Change, earlier: Change) -> bool:
    """Check whether a change supersedes an earlier one for all lines, including future ones.

    It counts for every line that the earlier one counts for, and comes after it; and it asks, or the other did not.
    """
    return (
        change_order(later) > change_order(earlier)
        and later.occurred_at >= earlier.occurred_at
        and later.currency in (None, earlier.currency)
        and (later.asked or not earlier.asked)
    )


def unused_share(change: BookingShortening | PlanCancellation, line: Line) -> Fraction:
    """The share of a line's cost that a shortening or the end of a plan leaves unused."""
    match change:
        case BookingShortening():
            return _unused_of_booking(change, line)
        case PlanCancellation():
            return _unused_of_plan(change, line)
        case never:
            assert_never(never)


def _unused_of_booking(change: BookingShortening, line: Line) -> Fraction:
    if change.billed_price is not None and change.remaining_price is not None:
        unused = change.billed_price - change.remaining_price
        return Fraction(min(max(unused, 0), change.billed_price), change.billed_price)
    period = line.period or change.billed_period
    if period is None or change.remaining_period is None or length(period) <= 0:
        return NOTHING
    return unused_of_shortened(period, change.remaining_period)


def _unused_of_plan(change: PlanCancellation, line: Line) -> Fraction:
    if line.period is None:
        return NOTHING
    if line.period.start >= change.effective_at:
        return Fraction(1, 1)
    if change.unused == "whole_periods":
        return NOTHING
    if change.proration == "days":
        return unused_by_days(line.period, change.effective_at, change.time_zone)
    return unused_by_time(line.period, change.effective_at)


def worths(change: Change, billed: Sequence[Billed]) -> dict[EntitlementKey, int]:
    """Worth of each line after one change alone, in micros; `billed` in order, all lines that are not voided."""
    fee_left = change.fee if isinstance(change, BookingCancellation) else 0
    worth = {}
    for invoice, line in billed:
        if not counts(change, invoice):
            continue
        match change:
            case BookingCancellation():
                kept = min(fee_left, line.cost)
                fee_left -= kept
                worth[line.key] = line.cost - kept
            case BookingShortening() | PlanCancellation():
                part, whole = unused_share(change, line)
                worth[line.key] = share(line.cost, part, whole, invoice.account.currency)
            case never:
                assert_never(never)
    return worth


def targets(billed: Sequence[Billed], changes: Sequence[Change]) -> dict[EntitlementKey, Target]:
    """Target of each line of one booking or plan from all its known lines and changes; lines without one are left out.

    The target is what the last asked-for change is worth, and at most what the last change of all is worth.
    """
    lines = sorted((each for each in billed if not each.invoice.voided), key=line_order)
    in_order = sorted(changes, key=change_order)
    worth_of: dict[tuple[str, str], dict[EntitlementKey, int]] = {}

    def worth(change: Change, key: EntitlementKey) -> int:
        known = worth_of.get((change.topic, change.event_id))
        if known is None:
            known = worth_of[change.topic, change.event_id] = worths(change, lines)
        return known[key]

    target_of = {}
    for invoice, line in lines:
        last, asked = deciding(in_order, invoice)
        if last is not None and asked is not None and line.cost > 0:
            key = line.key
            target_of[key] = Target(min(worth(asked, key), worth(last, key)), asked)
    return target_of


def is_too_late(invoice: Invoice, settle_by: datetime | None) -> bool:
    """Check whether an invoice was settled after the time by which it must be, if any (`unpaid_change: never`)."""
    return settle_by is not None and invoice.settled_at > settle_by


def due_of(target: int, invoice: Invoice, settle_by: datetime | None) -> int:
    """The part of a target that is due now, in micros: all of it once the invoice is settled in time, else none."""
    is_settled = not invoice.voided and invoice.due == 0
    return target if is_settled and not is_too_late(invoice, settle_by) else 0
