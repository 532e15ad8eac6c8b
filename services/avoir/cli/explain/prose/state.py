"""The current state of everything concerned, in sentences."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC

from avoir.cli.base.words import APPLIED_BY, date_words, invoice_words, joined
from avoir.cli.explain.prose.commands import given_for
from avoir.cli.explain.prose.decisions import money
from avoir.cli.explain.view import Explanation, GrantState, LineState, PaymentState
from avoir.core.model.rows import Application, Invoice, Reservation, Void

WENT: Mapping[str, str] = {
    "applied": "used",
    "drawn": "drawn for usage",
    "refunded": "paid out in money",
    "expired": "expired",
    "voided": "voided",
    "taken_back": "taken back",
}
"""Destinations of credit, by counter account."""


def current_state(explanation: Explanation) -> Iterator[str]:
    """A sentence on each invoice, line, payment, application and grant."""
    voids = {each.key: each for each in explanation.voids}
    for invoice in explanation.invoices:
        yield _invoice(invoice, voids.get(invoice.key))
    for each in explanation.lines:
        is_shown = each.line.kind != "credit" and (each.target is not None or each.line.subject_id)
        if each.shortfall or is_shown:
            yield _line(each)
    for payment in explanation.payments:
        yield _payment(payment)
    for use in explanation.applications:
        yield _application(use)
    yield from _reservations(explanation.reservations)
    for state in explanation.grants:
        if explanation.subject.kind != "owner" or state.grant.pending + state.grant.remaining > 0:
            yield _grant(state, explanation)
    if len(explanation.changes) > 1:
        last = date_words(explanation.changes[-1].occurred_at)
        yield f"There were {len(explanation.changes)} changes; the last in order is the one of {last}."


def _invoice(invoice: Invoice, void: Void | None) -> str:
    currency = invoice.account.currency
    total = money(invoice.total, currency)
    start = f"Invoice {_label(invoice)} of {date_words(invoice.finalized_at)} for {total}"
    if void is not None:
        return f"{start} was voided on {date_words(void.occurred_at)} ({void.reason})."
    if invoice.total < 0:
        return f"{start} is a credit note: nothing is due on it."
    if invoice.due:
        return f"{start} has {money(invoice.due, currency)} still due{_taking(invoice)}."
    return f"{start} is paid: {_ways(invoice)}."


def _taking(invoice: Invoice) -> str:
    if invoice.barred:
        return "; credit used on it was undone, so it takes no more credit automatically"
    return "" if invoice.automatic else "; it takes no credit automatically"


def _ways(invoice: Invoice) -> str:
    ways = {"in money": invoice.settled, "with credit": invoice.applied}
    return (
        joined([f"{money(part, invoice.account.currency)} {way}" for way, part in ways.items() if part])
        or "free"
    )


def _label(invoice: Invoice) -> str:
    id_ = invoice.key.invoice_id
    return id_ if invoice.number == id_ else f"{id_} (number {invoice.number})"


def _line(state: LineState) -> str:
    line, currency = state.line, state.invoice.account.currency
    place, short = f"on invoice {line.invoice.invoice_id}", money(state.shortfall, currency)
    if line.kind == "credit":
        return f"Line {line.line_id} {place} used {short} more credit than its grant held."
    what = f"{line.kind.capitalize()} {line.subject_id}" if line.subject_id else f"Line {line.line_id}"
    parts = [f"cost {money(line.cost, currency)}"]
    if state.target is not None:
        parts.append(f"is worth {money(state.target, currency)} of credit")
        parts.append(f"was given {money(state.given, currency)}")
    if state.shortfall:
        parts.append(f"and {short} could not be taken back")
    return f"{what} {place} {', '.join(parts)}."


def _payment(state: PaymentState) -> str:
    payment, currency = state.payment, state.payment.account.currency
    name = "The payment reported with invoice" if payment.key.kind == "amount_paid" else "Payment"
    used = [f"{money(amount, currency)} on invoice {invoice}" for invoice, amount in state.settlements]
    use = ", ".join(used) or "on no invoice"
    parts = [f"{name} {payment.key.id} of {money(payment.amount, currency)} is used: {use}"]
    if payment.reversed:
        parts.append(f"{money(payment.reversed, currency)} was reversed")
    if payment.left:
        parts.append(f"{money(payment.left, currency)} was paid above the amount due")
    return "; ".join(parts) + "."


def _application(use: Application) -> str:
    currency = use.account.currency
    end = " It has been undone since." if use.reinstated else ""
    sources = [f"{money(amount, currency)} of credit {grant_id}" for grant_id, amount in use.slices]
    return (
        f"Application {use.key.id}: {money(use.amount, currency)} of credit was used on invoice "
        f"{use.invoice.invoice_id} on {date_words(use.applied_at)}, {APPLIED_BY.get(use.applied_by, use.applied_by)}: "
        f"{joined(sources)}.{end}"
    )


def _reservations(reservations: Sequence[Reservation]) -> Iterator[str]:
    for each in reservations:
        place, credit = invoice_words(each.invoice_id), f"credit {each.key.grant_id}"
        if each.amount:
            held = f"{money(each.amount, each.account.currency)} of {credit} is reserved for {place}"
        else:
            held = f"nothing of {credit} is reserved for {place} any more"
        yield f"Application {each.key.application_id}: {held}."


def _grant(state: GrantState, explanation: Explanation) -> str:
    grant, currency = state.grant, state.grant.account.currency
    owner = f"{grant.account.owner_type}/{grant.account.owner_id}"
    origin = _origin(state, explanation)
    what = f"Credit {grant.key.id}: {money(grant.amount, currency)} for {owner}, {origin}."
    places = [f"{money(amount, currency)} {place}" for amount, place in _places(state) if amount]
    return f"{what} Of it: {joined(places)}.{_end(state)}"


def _origin(state: GrantState, explanation: Explanation) -> str:
    grant = state.grant
    never_given = grant.lost == grant.amount and not state.uses
    verb = "takes effect" if grant.pending else "was to take effect" if never_given else "given"
    words = f"{verb} on {date_words(grant.effective_at)} {given_for(grant)}"
    key = grant.entitlement
    if key is None:
        return words
    if key.kind == "payment":
        return f"{words} (payment {key.id})"
    if key.kind == "line":
        billed = next((each.line for each in explanation.lines if each.line.key == key), None)
        subject = f"{billed.kind} {billed.subject_id}, " if billed and billed.subject_id else ""
        return f"{words} ({subject}invoice {key.id}, line {key.line_id})"
    return f"{words} (invoice {key.id})"


def _places(state: GrantState) -> Iterator[tuple[int, str]]:
    """Places of a grant's amount; expired credit is on no balance, swept or not."""
    grant, is_expired = state.grant, state.is_expired
    yield grant.pending, "pending"
    yield 0 if is_expired else grant.available, "available"
    for each in () if is_expired else state.held:
        yield each.amount, f"reserved for {invoice_words(each.invoice_id)}"
    known = 0
    for use in state.uses:
        known += use.amount if use.counter_account in ("expired", "voided") else 0
        place = WENT[use.counter_account]
        yield (
            use.amount,
            f"{place} on invoice {use.invoice_id}" if use.counter_account == "applied" else place,
        )
    yield grant.remaining if is_expired else 0, "expired"
    # Credit voided before it took effect was never issued, so it has no entry.
    yield grant.lost - known, "voided before it was given"


def _end(state: GrantState) -> str:
    expires_at = state.grant.expires_at
    if expires_at is None:
        return ""
    return f" It {'expired' if state.is_expired else 'expires'} on {date_words(expires_at.astimezone(UTC))}."
