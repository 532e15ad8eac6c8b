"""Credit lines: credit that an invoice uses as a line.

The line's amount is used from the grant's line item first, then from available, then from other reservations. What the
grant lacks is a shortfall, made up for when credit comes back to it. A line that names no grant of the invoice's
account only lowers the total.
"""

from msgspec.structs import replace

from avoir.core.effects.allocation import Part, whole
from avoir.core.effects.apply import apply
from avoir.core.effects.reservations import free_id, held_of_grant, lower, reserve, whole_of
from avoir.core.effects.undo import credit_line_key
from avoir.core.model.rows import Entitlement, Grant, Invoice, Line, Reservation, ReservationKey
from avoir.core.state.draft import Draft
from avoir.core.worth.targets import Billed, line_order


def use_credit_lines(draft: Draft, invoice: Invoice) -> list[str]:
    """Use the credit lines of an invoice, in order; returns the ids of lines that name no grant of its account."""
    unknown = []
    lines = draft.state.lines_of_invoice.get(invoice.key) or ()
    for line in sorted(lines, key=lambda line: line.position):
        if line.kind == "credit" and line.amount + line.tax < 0:
            grant = _grant(draft, invoice, line)
            if grant is None:
                unknown.append(line.line_id)
            else:
                left = _use(draft, invoice, grant, -(line.amount + line.tax))
                if left > 0:
                    draft.put(_short(invoice, line, grant, left))
    return unknown


def make_up(draft: Draft, grant: Grant) -> None:
    """Use credit that came back to a grant for credit lines that had used more than it held, oldest first.

    Skips invoices on which the use of a credit line was undone by hand.
    """
    lines = (draft.state.lines[key] for key in draft.state.credit_lines_of_grant.get(grant.key) or ())
    billed = (Billed(draft.state.invoices[line.invoice], line) for line in lines)
    for invoice, line in sorted(billed, key=line_order):
        short = draft.state.entitlements.get(credit_line_key(line))
        if short is None or short.given == 0 or invoice.voided or invoice.restored:
            continue
        left = _use(draft, invoice, draft.state.grants[grant.key], short.given)
        if left < short.given:
            draft.put(replace(short, given=left))


def _grant(draft: Draft, invoice: Invoice, line: Line) -> Grant | None:
    key = line.credit_grant
    grant = draft.state.grants.get(key) if key is not None else None
    return grant if grant is not None and grant.account == invoice.account else None


def _use(draft: Draft, invoice: Invoice, grant: Grant, amount: int) -> int:
    """Use an amount of a grant on an invoice, as far as it goes; returns the rest."""
    left = amount
    holding = held_of_grant(draft, grant.key)
    for row in holding:
        if row.reserved_for == "line_item":
            left -= _use_reserved(draft, invoice, row, left)
    left -= _use_available(draft, invoice, grant, min(left, whole(grant)))
    for row in holding:
        if row.reserved_for != "line_item":
            left -= _use_reserved(draft, invoice, row, left)
    return left


def _use_available(draft: Draft, invoice: Invoice, grant: Grant, amount: int) -> int:
    """Reserve an amount for this invoice and use it: a credit line always uses reserved credit."""
    if amount <= 0:
        return 0
    application_id = draft.new_id(invoice.key.tenant_id, "credit line", *invoice.key)
    key = ReservationKey(invoice.key.tenant_id, application_id, grant.key.id)
    reserve(
        draft,
        invoice.account,
        [Part(grant, amount)],
        application_id=application_id,
        invoice_id=invoice.key.invoice_id,
        reserved_for="command",
    )
    return _use_reserved(draft, invoice, draft.state.reservations[key], amount)


def _use_reserved(draft: Draft, invoice: Invoice, row: Reservation, amount: int) -> int:
    """Use an amount of a reservation, as far as it goes; the first use keeps its id if it was for this invoice."""
    amount = min(whole_of(row), amount)
    if amount <= 0:
        return 0
    lower(draft, row, amount)
    is_for_it = row.invoice is None or row.invoice == invoice.key
    apply(
        draft,
        draft.state.invoices[invoice.key],
        [Part(draft.state.grants[row.grant], amount)],
        "line_item",
        at=invoice.finalized_at,
        application_id=free_id(draft, row) if is_for_it else None,
    )
    return amount


def _short(invoice: Invoice, line: Line, grant: Grant, amount: int) -> Entitlement:
    return Entitlement(
        key=credit_line_key(line),
        account=invoice.account,
        cost=amount,
        target=0,
        source=grant.source,
        due_from=invoice.finalized_at,
        given=amount,
    )
