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
from avoir.core.model.rules import REAL_LIFE, TODAY
from avoir.core.worth.proration import (
    ALL,
    MICROSECOND,
    NOTHING,
    Fraction,
    given_up,
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


class Cost(NamedTuple):
    """Cost of a line, in micros, and the tax in it; None if that is in the proportion of the line's own tax."""

    amount: int
    tax: int | None


def costs(lines: Sequence[InvoiceLine], currency: str, rules: int = TODAY) -> list[Cost]:
    """Cost of each line: total less its share of the discounts; zero for lines below zero.

    Discounts are all negative lines except kind `credit`. They lower the positive lines net by net and tax by tax.
    Where one of the two exceeds what it can lower, the totals are lowered, at most to zero.
    """
    positive = [line for line in lines if line.amount + line.tax > 0]
    discounts = [line for line in lines if line.amount + line.tax < 0 and line.kind != "credit"]
    nets, taxes = [line.amount for line in positive], [line.tax for line in positive]
    net, tax = -sum(line.amount for line in discounts), -sum(line.tax for line in discounts)
    is_mixed = min(0, *nets, *taxes, net, tax) < 0 or net > sum(nets) or tax > sum(taxes)
    if is_mixed or rules < REAL_LIFE:
        return [Cost(gross, None) for gross in _gross_costs(lines, currency)]
    lowered = zip(_lowered(nets, net, currency), _lowered(taxes, tax, currency), strict=True)
    found = (Cost(of_net + of_tax, of_tax) for of_net, of_tax in lowered)
    return [next(found) if line.amount + line.tax > 0 else Cost(0, None) for line in lines]


def _gross_costs(lines: Sequence[InvoiceLine], currency: str) -> list[int]:
    totals = [line.amount + line.tax for line in lines]
    gross = [max(total, 0) for total in totals]
    discounts = -sum(
        total for line, total in zip(lines, totals, strict=True) if total < 0 and line.kind != "credit"
    )
    return _lowered(gross, min(discounts, sum(gross)), currency)


def _lowered(parts: Sequence[int], discount: int, currency: str) -> list[int]:
    """Parts of zero or more, each less its share of a discount that is at most their sum."""
    whole, seen, given, lowered = sum(parts), 0, 0, []
    for part in parts:
        # Rounding the cumulative share, not each share, makes the shares add up to the discount exactly.
        seen += part
        cumulative = share(discount, seen, whole, currency) if discount else 0
        lowered.append(part - (cumulative - given))
        given = cumulative
    return lowered


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


def unused_shares(
    change: BookingShortening | PlanCancellation, billed: Sequence[Billed]
) -> dict[EntitlementKey, Fraction]:
    """The share of each line's cost that a shortening or the end of a plan leaves unused, if it counts for the line."""
    lines = [line for invoice, line in billed if counts(change, invoice)]
    match change:
        case BookingShortening():
            return _unused_of_booking(change, lines)
        case PlanCancellation():
            return {line.key: _unused_of_plan(change, line) for line in lines}
        case never:
            assert_never(never)


def _unused_of_booking(change: BookingShortening, lines: Sequence[Line]) -> dict[EntitlementKey, Fraction]:
    if change.billed_price is not None and change.remaining_price is not None:
        saved = change.billed_price - change.remaining_price
        by_price = Fraction(min(max(saved, 0), change.billed_price), change.billed_price)
        return {line.key: by_price for line in lines}
    shares, remaining = {line.key: NOTHING for line in lines}, change.remaining_period
    known = {line.key: line.period or change.billed_period for line in lines}
    periods = {key: period for key, period in known.items() if period is not None and length(period) > 0}
    if remaining is not None:
        part, whole = given_up(periods.values(), remaining) if change.rules >= REAL_LIFE else ALL
        for key, period in periods.items():
            unused = unused_of_shortened(period, remaining)
            shares[key] = Fraction(unused.part * part, unused.whole * whole)
    return shares


def _unused_of_plan(change: PlanCancellation, line: Line) -> Fraction:
    if line.period is None:
        return NOTHING
    if line.period.start >= change.effective_at:
        return Fraction(1, 1)
    if change.unused == "whole_periods":
        return NOTHING
    if change.proration == "days":
        ended_at = change.effective_at if change.rules >= REAL_LIFE else change.effective_at + MICROSECOND
        return unused_by_days(line.period, ended_at, change.time_zone)
    return unused_by_time(line.period, change.effective_at)


def worths(change: Change, billed: Sequence[Billed]) -> dict[EntitlementKey, int]:
    """Worth of each line after one change alone, in micros; `billed` in order, all lines that are not voided."""
    fee_left = change.fee if isinstance(change, BookingCancellation) else 0
    unused = {} if isinstance(change, BookingCancellation) else unused_shares(change, billed)
    worth = {}
    for invoice, line in billed:
        if not counts(change, invoice):
            continue
        if isinstance(change, BookingCancellation):
            kept = min(fee_left, line.cost)
            fee_left -= kept
            worth[line.key] = line.cost - kept
        else:
            worth[line.key] = share(line.cost, *unused[line.key], invoice.account.currency)
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
