"""The worth of one invoice line in sentences, to the cent."""

from collections.abc import Iterator
from typing import assert_never

from avoir.cli.base.words import date_words
from avoir.cli.explain.line_query import ChangeWorth, LineWorth
from avoir.cli.explain.prose.decisions import money
from avoir.core.model.facts import Period
from avoir.core.model.rows import BookingCancellation, BookingShortening, PlanCancellation
from avoir.core.worth.proration import length, overlap

ROLES = {
    "counts": "This change counts.",
    "lowers": "It did not ask for credit, but it is the last change and worth less, so it limits the credit.",
    "leaves": "It did not ask for credit. It is the last change, but worth no less, so it lowers nothing.",
    "superseded": "It does not count, because a later change does.",
    "not_requested": "It does not count, because an admin made it without asking for credit.",
    "billed_after_change": "It does not count, because the invoice was finalized only after it.",
    "currency_mismatch": "It does not count, because its amounts are in a different currency than the invoice.",
}
"""Words for the role of a change for a line."""

MADE = {
    "booking-cancelled": "cancelled",
    "booking-shortened": "shortened",
    "plan-cancelled": "cancelled",
}
"""Verb for a change to a booking or plan, by topic."""


def line_prose(worth: LineWorth) -> list[str]:
    """The sentences, in the order of the calculation."""
    if worth.line.kind == "credit":
        return list(_credit_line(worth))
    parts = [_billed(worth), _cost(worth)]
    parts += [f"Change {n}: {_change(worth, each)}" for n, each in enumerate(worth.changes, 1)]
    return [*parts, *_worth(worth), *_given(worth)]


def _money(worth: LineWorth, micros: int) -> str:
    return money(micros, worth.invoice.account.currency)


def _billed(worth: LineWorth) -> str:
    line, invoice = worth.line, worth.invoice
    what = f"bills {line.kind} {line.subject_id}" if line.subject_id else f"is of kind {line.kind}"
    span = f" from {_span(line.period)}" if line.period else ""
    tax = f", of which {_money(worth, line.tax)} is tax" if line.tax else ""
    return (
        f"Line {line.line_id} of invoice {invoice.key.invoice_id} of {date_words(invoice.finalized_at)} {what}"
        f"{span}: {_money(worth, worth.total)}{tax}."
    )


def _span(period: Period) -> str:
    return f"{period.start:%Y-%m-%d %H:%M} to {period.end:%Y-%m-%d %H:%M} UTC"


def _cost(worth: LineWorth) -> str:
    cost = _money(worth, worth.line.cost)
    if worth.total <= 0:
        return "It is a discount on the other lines, so it cost nothing."
    if worth.line.cost == worth.total:
        return f"The invoice has no discount on it, so it cost {cost}."
    share = _money(worth, worth.total - worth.line.cost)
    return f"Its share of the invoice's discounts of {_money(worth, worth.discounts)} is {share}, so it cost {cost}."


def _change(worth: LineWorth, each: ChangeWorth) -> str:
    change = each.change
    who = "the customer" if change.changed_by == "customer" else "an admin"
    revision = "" if change.revision is None else f", revision {change.revision}"
    parts = [
        f"{MADE[change.topic]} by {who} on {date_words(change.occurred_at)} (message {change.event_id}{revision})."
    ]
    if each.worth is not None:
        parts.append(f"{_part(worth, each)}, so on its own it is worth {_money(worth, each.worth)}.")
    return " ".join([*parts, ROLES[each.role]])


def _part(worth: LineWorth, each: ChangeWorth) -> str:
    fraction = f"{each.share.part}/{each.share.whole}" if each.share else ""
    match change := each.change:
        case BookingCancellation():
            return _fee(worth, change.fee, each.fee)
        case BookingShortening():
            return _shortened(worth, change, fraction)
        case PlanCancellation():
            return f"{fraction} of the cost is unused {_unused(worth.line.period, change)}"
        case never:
            assert_never(never)


def _fee(worth: LineWorth, asked: int, kept: int) -> str:
    if not asked:
        return "All of the cost comes back"
    fee = f"Of the fee of {_money(worth, asked)}, {_money(worth, kept)} is kept from this line"
    return fee if kept else f"{fee}, because other lines keep it"


def _shortened(worth: LineWorth, change: BookingShortening, fraction: str) -> str:
    if change.billed_price is not None and change.remaining_price is not None:
        prices = f"{_money(worth, change.billed_price)} was billed and {_money(worth, change.remaining_price)} remains"
        return f"{prices}: {fraction} of the cost is unused"
    remaining = f"{_span(change.remaining_period)} remains: " if change.remaining_period else ""
    moved = " (time that was only moved counts as used)" if _is_moved(worth.line.period, change) else ""
    return f"{remaining}{fraction} of the period is unused{moved}"


def _is_moved(period: Period | None, change: BookingShortening) -> bool:
    """Check whether some of the time that remains was never billed on this line."""
    billed, remaining = period or change.billed_period, change.remaining_period
    return bool(billed and remaining and overlap(billed, remaining) < length(remaining))


def _unused(period: Period | None, change: PlanCancellation) -> str:
    if period is None:
        return "because the line has no period"
    ended = f"because the plan ends at {change.effective_at:%Y-%m-%d %H:%M} UTC"
    if period.start >= change.effective_at:
        return f"{ended}, before the period begins"
    if change.unused == "whole_periods":
        return f"{ended}, and a period that has begun counts as used (whole periods)"
    by = f"whole days of {change.time_zone}" if change.proration == "days" else "elapsed time"
    return f"{ended}, by {by}"


def _credit_line(worth: LineWorth) -> Iterator[str]:
    line, invoice = worth.line, worth.invoice
    yield (
        f"Line {line.line_id} of invoice {invoice.key.invoice_id} of {date_words(invoice.finalized_at)} is a credit "
        f"line: it uses {_money(worth, -worth.total)} of credit {line.credit_line_id}, "
        "and is not worth any credit itself."
    )
    if worth.shortfall:
        yield f"{_money(worth, worth.shortfall)} of that was more than the grant held: this is a shortfall."


def _worth(worth: LineWorth) -> Iterator[str]:
    invoice = worth.invoice
    if worth.target is None:
        yield "No change makes it worth credit."
        return
    yield f"So the line is worth {_money(worth, worth.target)} of credit once its invoice is paid."
    if invoice.voided:
        yield "The invoice is void, so no credit is due."
    elif invoice.due:
        yield f"{_money(worth, invoice.due)} is still due on the invoice, so the credit waits."
    elif worth.too_late:
        yield (
            f"The invoice was paid on {date_words(invoice.settled_at)}, after the change. Under unpaid_change: never, "
            "that gives no credit."
        )
    else:
        yield f"The invoice was paid on {date_words(invoice.settled_at)}, so that is due now."


def _given(worth: LineWorth) -> Iterator[str]:
    if worth.target is None and not worth.given:
        return
    missing = worth.due_now - worth.given
    more = f"; {_money(worth, missing)} is missing" if missing > 0 else ""
    yield f"Given for it so far, less what was taken back: {_money(worth, worth.given)}{more}."
    if worth.covered:
        yield f"{_money(worth, worth.covered)} of it was withheld from the payments of the void invoice."
    if worth.shortfall:
        short = _money(worth, worth.shortfall)
        yield f"{short} could not be taken back, because it had been spent: this is a shortfall."
