"""Line targets computed a second way: in exact fractions, from the messages alone, sharing no code with the core."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from itertools import pairwise
from zoneinfo import ZoneInfo

from avoir.core.model.facts import (
    BookingCancelled,
    BookingShortened,
    InvoiceFinalized,
    InvoiceLine,
    InvoiceVoided,
    Period,
    PlanCancelled,
)
from avoir.core.model.message import Message
from avoir.core.model.policy import Policy

CENT = 10_000

Change = BookingCancelled | BookingShortened | PlanCancelled
Billed = tuple[Message, InvoiceFinalized, InvoiceLine]


def targets(delivered: Iterable[Message], policy: Policy) -> dict[tuple[str, str], int]:
    """The target above zero of every line, by invoice and line id, from all messages at once."""
    messages = {(each.topic, each.event_id): each for each in delivered}.values()
    void = {each.body.invoice_id for each in messages if isinstance(each.body, InvoiceVoided)}
    billed: dict[tuple[str, str], list[Billed]] = {}
    changes: dict[tuple[str, str], list[Message]] = {}
    for each in messages:
        if isinstance(each.body, InvoiceFinalized) and each.body.invoice_id not in void:
            for line in each.body.lines:
                if line.kind in ("booking", "plan"):
                    billed.setdefault((line.kind, str(line.subject_id)), []).append((each, each.body, line))
        elif isinstance(each.body, Change):
            changes.setdefault(subject(each.body), []).append(each)
    found = {}
    for about, lines in billed.items():
        for _, invoice, line in lines:
            amount = target(invoice, line, lines, changes.get(about, []), policy)
            if amount:
                found[invoice.invoice_id, line.line_id] = amount
    return found


def subject(fact: Change) -> tuple[str, str]:
    """The booking or plan that a change is about."""
    return ("plan", fact.plan_id) if isinstance(fact, PlanCancelled) else ("booking", fact.booking_id)


def target(
    invoice: InvoiceFinalized,
    line: InvoiceLine,
    lines: Sequence[Billed],
    changes: Sequence[Message],
    policy: Policy,
) -> int:
    """What the last asked-for change is worth, and no more than what the last of all is worth."""
    finalized_at = next(
        message.occurred_at for message, fact, _ in lines if fact.invoice_id == invoice.invoice_id
    )
    counted = sorted(
        (each for each in changes if is_counted(each, invoice.currency, finalized_at)), key=place
    )
    asked = [each for each in counted if is_asked(each.body)]
    if not asked:
        return 0
    last_asked, last = asked[-1], counted[-1]
    return min(value(each, invoice, line, lines, policy) for each in (last_asked, last))


def place(message: Message) -> tuple[object, ...]:
    """The place of a change among those to the same booking: revision (none first), time, event id, topic."""
    revision = message.body.revision  # type: ignore[union-attr]
    return (-1 if revision is None else revision), message.occurred_at, message.event_id, message.topic


def is_asked(fact: object) -> bool:
    """Whether a change asks for credit: the customer's always, an admin's only when it says so."""
    return fact.changed_by == "customer" or bool(fact.create_credit)  # type: ignore[attr-defined]


def is_counted(message: Message, currency: str, finalized_at: datetime) -> bool:
    """Whether a change counts for a line: not before its finalization, and not in another currency."""
    stated = getattr(message.body, "currency", None)
    return message.occurred_at >= finalized_at and stated in (None, currency)


def value(
    message: Message, invoice: InvoiceFinalized, line: InvoiceLine, lines: Sequence[Billed], policy: Policy
) -> int:
    """What one change alone makes one line worth, in micros."""
    fact, cost = message.body, costs(invoice)[line.line_id]
    if isinstance(fact, BookingCancelled):
        before = 0
        for earlier, other, other_line in sorted(lines, key=in_order):
            if (other.invoice_id, other_line.line_id) == (invoice.invoice_id, line.line_id):
                break
            if is_counted(message, other.currency, earlier.occurred_at):
                before += costs(other)[other_line.line_id]
        return cost - min(cost, max(0, fact.fee - before))
    if isinstance(fact, PlanCancelled):
        return rounded(cost * unused_of_plan(fact, line, policy))
    assert isinstance(fact, BookingShortened)
    if fact.billed_price is not None and fact.remaining_price is not None:
        unused = Fraction(fact.billed_price - fact.remaining_price, fact.billed_price)
        return rounded(cost * min(max(unused, Fraction(0)), Fraction(1)))
    period = line.period or fact.billed_period
    assert period is not None and fact.remaining_period is not None
    used = overlap(period, fact.remaining_period)
    unused = 1 - Fraction(used // timedelta(microseconds=1), seconds(period))
    return rounded(cost * unused * given_up(message, fact, lines))


def given_up(message: Message, fact: BookingShortened, lines: Sequence[Billed]) -> Fraction:
    """The share of the unused time that was not moved, counted piece by piece between all ends of periods."""
    counted = [
        line.period or fact.billed_period
        for finalized, invoice, line in lines
        if is_counted(message, invoice.currency, finalized.occurred_at)
    ]
    periods = [period for period in counted if period is not None]
    remaining = fact.remaining_period
    assert remaining is not None
    ends = sorted({moment for period in (*periods, remaining) for moment in period})
    unused = moved = timedelta(0)
    for start, end in pairwise(ends):
        is_billed = any(period.start <= start < period.end for period in periods)
        is_kept = remaining.start <= start < remaining.end
        unused += (end - start) if is_billed and not is_kept else timedelta(0)
        moved += (end - start) if is_kept and not is_billed else timedelta(0)
    return max(Fraction(0), 1 - Fraction(micros(moved), micros(unused))) if unused else Fraction(1)


def micros(time: timedelta) -> int:
    return time // timedelta(microseconds=1)


def in_order(billed: Billed) -> tuple[object, ...]:
    """Finalization, invoice id, place on the invoice."""
    message, invoice, line = billed
    return (
        message.occurred_at,
        invoice.invoice_id,
        [each.line_id for each in invoice.lines].index(line.line_id),
    )


def costs(invoice: InvoiceFinalized) -> dict[str, int]:
    """What each line cost: net and tax less their shares of the discounts, or else the totals less theirs."""
    positive = [each for each in invoice.lines if each.amount + each.tax > 0]
    discounts = [each for each in invoice.lines if each.amount + each.tax < 0 and each.kind != "credit"]
    net, tax = -sum(each.amount for each in discounts), -sum(each.tax for each in discounts)
    nets, taxes = [each.amount for each in positive], [each.tax for each in positive]
    if 0 <= net <= sum(nets) and 0 <= tax <= sum(taxes) and min([0, *nets, *taxes]) == 0:
        lowered = [one + other for one, other in zip(less(nets, net), less(taxes, tax), strict=True)]
    else:
        totals = [each.amount + each.tax for each in positive]
        lowered = less(totals, min(net + tax, sum(totals)))
    found = {each.line_id: 0 for each in invoice.lines}
    return found | {each.line_id: cost for each, cost in zip(positive, lowered, strict=True)}


def less(parts: Sequence[int], discount: int) -> list[int]:
    """Parts less their shares of a discount, the running share rounded."""
    if not discount:
        return list(parts)
    found, whole = [], sum(parts)
    for n, part in enumerate(parts):
        before, after = (Fraction(discount * sum(parts[:upto]), whole) for upto in (n, n + 1))
        found.append(part - (rounded(after) - rounded(before)))
    return found


def unused_of_plan(fact: PlanCancelled, line: InvoiceLine, policy: Policy) -> Fraction:
    """All of a period that starts at or after the end; of the running one nothing, or what is left of it."""
    period, end = line.period, fact.effective_at
    assert period is not None
    if period.start >= end:
        return Fraction(1)
    if fact.unused == "whole_periods" or end >= period.end:
        return Fraction(0)
    if policy.proration == "time":
        return Fraction((period.end - end) // timedelta(microseconds=1), seconds(period))
    days = sorted(days_of(period, policy.time_zone))
    last_used = end - timedelta(microseconds=1)
    used_until = last_used.astimezone(ZoneInfo(policy.time_zone)).date().isoformat()
    return Fraction(sum(1 for day in days if day > used_until), len(days))


def days_of(period: Period, time_zone: str) -> set[str]:
    """The days of a time zone that a period touches, found quarter of an hour by quarter of an hour."""
    step, moment, found = timedelta(minutes=15), period.start.astimezone(UTC), set()
    while moment < period.end:
        found.add(moment.astimezone(ZoneInfo(time_zone)).date().isoformat())
        moment += step
    return found


def overlap(one: Period, other: Period) -> timedelta:
    """The time that two periods share."""
    return max(timedelta(0), min(one.end, other.end) - max(one.start, other.start))


def seconds(period: Period) -> int:
    """How long a period is, in microseconds."""
    return (period.end - period.start) // timedelta(microseconds=1)


def rounded(amount: Fraction) -> int:
    """To the cent; Python rounds a fraction half to even."""
    return round(amount / CENT) * CENT
