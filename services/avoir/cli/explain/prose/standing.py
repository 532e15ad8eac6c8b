"""How everything concerned stands now, in sentences."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC

from avoir.cli.base.words import APPLIED_BY, date_words, invoice_words, joined
from avoir.cli.explain.prose.commands import given_for
from avoir.cli.explain.prose.decisions import money
from avoir.cli.explain.view import (
    ApplicationStory,
    Explanation,
    GrantStory,
    InvoiceStory,
    LineStory,
    PaymentStory,
    ReservationStory,
)

WENT: Mapping[str, str] = {
    "applied": "used",
    "drawn": "drawn for usage",
    "refunded": "paid out in money",
    "expired": "expired",
    "voided": "voided",
    "taken_back": "taken back",
}
"""Where credit went, by counter account."""


def standing(explanation: Explanation) -> Iterator[str]:
    """A sentence on each invoice, line, payment, use and credit."""
    for invoice in explanation.invoices:
        yield _invoice(invoice)
    for line in explanation.lines:
        if line.shortfall or (line.kind != "credit" and (line.target is not None or line.subject_id)):
            yield _line(line)
    for payment in explanation.payments:
        yield _payment(payment)
    for use in explanation.applications:
        yield _application(use)
    yield from _reservations(explanation.reservations)
    for grant in explanation.grants:
        if explanation.subject.kind != "owner" or grant.pending + grant.available + grant.reserved > 0:
            yield _grant(grant, explanation)
    if len(explanation.changes) > 1:
        last = date_words(explanation.changes[-1].occurred_at)
        yield f"There were {len(explanation.changes)} changes; the last in order is the one of {last}."


def _invoice(invoice: InvoiceStory) -> str:
    total = money(invoice.total, invoice.currency)
    start = f"Invoice {_label(invoice)} of {date_words(invoice.finalized_at)} over {total}"
    if invoice.voided_at is not None:
        return f"{start} was voided on {date_words(invoice.voided_at)} ({invoice.void_reason})."
    if invoice.total < 0:
        return f"{start} is a credit note: nothing is due on it."
    if invoice.due:
        return f"{start} has {money(invoice.due, invoice.currency)} still due{_taking(invoice)}."
    return f"{start} is paid: {_ways(invoice)}."


def _taking(invoice: InvoiceStory) -> str:
    if invoice.barred:
        return "; credit used on it was undone, so it takes none by itself any more"
    return "" if invoice.automatic else "; it takes no credit by itself"


def _ways(invoice: InvoiceStory) -> str:
    ways = {"in money": invoice.settled, "with credit": invoice.applied}
    return joined([f"{money(part, invoice.currency)} {way}" for way, part in ways.items() if part]) or "free"


def _label(invoice: InvoiceStory) -> str:
    same = invoice.number == invoice.invoice_id
    return invoice.invoice_id if same else f"{invoice.invoice_id} (number {invoice.number})"


def _line(line: LineStory) -> str:
    what = f"{line.kind.capitalize()} {line.subject_id}" if line.subject_id else f"Line {line.line_id}"
    if line.kind == "credit":
        short = money(line.shortfall, line.currency)
        return f"Line {line.line_id} on invoice {line.invoice_id} used {short} more credit than there was."
    parts = [f"cost {money(line.cost, line.currency)}"]
    if line.target is not None:
        parts.append(f"is worth {money(line.target, line.currency)} of credit")
        parts.append(f"was given {money(line.given, line.currency)}")
    if line.shortfall:
        parts.append(f"and {money(line.shortfall, line.currency)} could not be taken back")
    return f"{what} on invoice {line.invoice_id} {', '.join(parts)}."


def _payment(payment: PaymentStory) -> str:
    name = "The payment told with invoice" if payment.kind == "amount_paid" else "Payment"
    used = [
        f"{money(amount, payment.currency)} on invoice {invoice}" for invoice, amount in payment.settlements
    ]
    left = payment.amount - payment.reversed - payment.settled
    use = ", ".join(used) or "on nothing"
    parts = [f"{name} {payment.payment_id} of {money(payment.amount, payment.currency)} is used: {use}"]
    if payment.reversed:
        parts.append(f"{money(payment.reversed, payment.currency)} went back")
    if left:
        parts.append(f"{money(left, payment.currency)} was paid above what is due")
    return "; ".join(parts) + "."


def _application(use: ApplicationStory) -> str:
    end = " It was undone since." if use.reinstated else ""
    sources = [f"{money(amount, use.currency)} of credit {grant_id}" for grant_id, amount in use.slices]
    return (
        f"Application {use.application_id}: {money(use.amount, use.currency)} of credit was used on invoice "
        f"{use.invoice_id} on {date_words(use.applied_at)}, {APPLIED_BY.get(use.applied_by, use.applied_by)}: "
        f"{joined(sources)}.{end}"
    )


def _reservations(reservations: Sequence[ReservationStory]) -> Iterator[str]:
    for each in reservations:
        place = invoice_words(each.invoice_id)
        if each.amount:
            held = f"{money(each.amount, each.currency)} of credit {each.grant_id} is set aside for {place}"
        else:
            held = f"nothing of credit {each.grant_id} is set aside for {place} any more"
        yield f"Application {each.application_id}: {held}."


def _grant(grant: GrantStory, explanation: Explanation) -> str:
    whom = f"{grant.owner.type}/{grant.owner.id}"
    what = f"Credit {grant.grant_id}: {money(grant.amount, grant.currency)} for {whom}, {_origin(grant, explanation)}."
    places = [f"{money(amount, grant.currency)} {place}" for amount, place in _places(grant) if amount]
    return f"{what} Of it: {joined(places)}.{_end(grant)}"


def _origin(grant: GrantStory, explanation: Explanation) -> str:
    never_given = grant.lost == grant.amount and not grant.uses
    verb = "comes" if grant.pending else "was to come" if never_given else "given"
    when = f"{verb} on {date_words(grant.effective_at)}"
    words = f"{when} {given_for(grant)}"
    kind, id_, line_id = grant.given_for or ("", "", "")
    if kind == "payment":
        return f"{words} (payment {id_})"
    if kind == "line":
        billed = {(line.invoice_id, line.line_id): line for line in explanation.lines}.get((id_, line_id))
        subject = f"{billed.kind} {billed.subject_id}, " if billed and billed.subject_id else ""
        return f"{words} ({subject}invoice {id_}, line {line_id})"
    return f"{words} (invoice {id_})" if kind else words


def _places(grant: GrantStory) -> Iterator[tuple[int, str]]:
    """Where a grant's amount is: what has expired is on no balance, whether it was swept or not."""
    yield grant.pending, "to come"
    yield 0 if grant.expired else grant.available, "available"
    for each in () if grant.expired else grant.held:
        yield each.amount, f"set aside for {invoice_words(each.invoice_id)}"
    known = 0
    for use in grant.uses:
        known += use.amount if use.counter_account in ("expired", "voided") else 0
        place = WENT[use.counter_account]
        yield (
            use.amount,
            f"{place} on invoice {use.invoice_id}" if use.counter_account == "applied" else place,
        )
    yield grant.available + grant.reserved if grant.expired else 0, "expired"
    # What was voided before its time came was never issued, and so has no entry.
    yield grant.lost - known, "voided before it was given"


def _end(grant: GrantStory) -> str:
    if grant.expires_at is None:
        return ""
    return (
        f" It {'expired' if grant.expired else 'expires'} on {date_words(grant.expires_at.astimezone(UTC))}."
    )
