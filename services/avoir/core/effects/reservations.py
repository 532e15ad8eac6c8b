"""Reservations: credit reserved for an invoice to come. Made, used, lowered, released.

    held --used on the invoice--> applied --the invoice is voided--> available, and held again as a line item
    held --not needed, released by hand, its invoice voided--> available, and what was moved of a line item held again
    held --its grant expires, is voided or taken back--> lowered

An event of a reservation always moves the same way: `credit-reserved` from available to reserved, a release back.
"""

from collections.abc import Iterable, Sequence
from uuid import UUID

from msgspec.structs import replace

from avoir.core.effects.allocation import Part, is_unexpired, is_usable
from avoir.core.effects.apply import apply, in_runs, slices
from avoir.core.model.events import AccountKey, CreditReinstated, CreditReserved
from avoir.core.model.ledger import Posting
from avoir.core.model.money import round_down
from avoir.core.model.reasons import Released
from avoir.core.model.rows import (
    Grant,
    GrantKey,
    Invoice,
    InvoiceKey,
    Reservation,
    ReservationKey,
    ReservedFor,
)
from avoir.core.state.draft import BY_TIME, Draft


def reserve(
    draft: Draft,
    account: AccountKey,
    parts: Sequence[Part],
    *,
    application_id: UUID,
    invoice_id: str | None,
    reserved_for: ReservedFor,
    moved: int = 0,
) -> None:
    """Reserve parts of available grants under one application; `moved` belongs to the part from a line item."""
    cause = draft.cause or BY_TIME
    for part in parts:
        row = Reservation(
            key=ReservationKey(account.tenant_id, application_id, part.grant.key.id),
            account=account,
            invoice_id=invoice_id,
            reserved_for=reserved_for,
            seq=draft.account(account).seq + 1,
            amount=part.amount,
            topic=cause.topic,
            event_id=cause.event_id,
            moved=moved,
        )
        draft.put(row)
        draft.record(
            account,
            CreditReserved(application_id, part.grant.key.id, part.amount, invoice_id),
            [Posting(part.grant.key.id, "available", "reserved", part.amount)],
            cause=draft.cause,
        )


def reserve_as_line_item(draft: Draft, grant: Grant, amount: int) -> None:
    """Reserve a part of a grant for its owner's next invoice, as a line item."""
    application_id = draft.new_id(grant.key.tenant_id, "line item", grant.key.id)
    parts = [Part(grant, amount)]
    reserve(
        draft,
        grant.account,
        parts,
        application_id=application_id,
        invoice_id=None,
        reserved_for="line_item",
    )


def reserve_again(draft: Draft, key: GrantKey, amount: int) -> None:
    """Reserve available credit as a line item again, unless it has expired meanwhile."""
    grant = draft.state.grants[key]
    if amount > 0 and is_usable(grant, grant.effective_at, draft.moment.now):
        reserve_as_line_item(draft, grant, amount)


def is_line_item(draft: Draft, grant: GrantKey) -> bool:
    """Check whether a grant was reserved for its owner's next invoice when it was given."""
    keys = draft.state.reservations_of_grant.get(grant) or ()
    return any(draft.state.reservations[key].reserved_for == "line_item" for key in keys)


def held(draft: Draft, keys: Iterable[ReservationKey] | None) -> list[Reservation]:
    """Reservations that still hold something, oldest first."""
    rows = (draft.state.reservations[key] for key in keys or ())
    return sorted((row for row in rows if row.amount > 0), key=lambda row: (row.seq, row.key))


def held_of_grant(draft: Draft, grant: GrantKey) -> list[Reservation]:
    """Reservations of a grant in the order in which they are lowered: its line item first, then the newest."""
    rows = held(draft, draft.state.reservations_of_grant.get(grant))
    return sorted(rows, key=lambda row: (row.reserved_for != "line_item", -row.seq))


def whole_of(row: Reservation) -> int:
    """Whole minor units that a reservation holds, in micros; taking back may leave a fraction."""
    return round_down(row.amount, row.account.currency)


def lower(draft: Draft, row: Reservation, amount: int) -> int:
    """Lower a reservation by an amount; returns how much of that was moved. The caller records where it goes."""
    moved = min(row.moved, amount)
    draft.put(replace(row, amount=row.amount - amount, moved=row.moved - moved))
    return moved


def lower_grant(draft: Draft, grant: GrantKey, amount: int) -> None:
    """Lower the reservations of a grant by an amount in total."""
    for row in held_of_grant(draft, grant):
        part = min(row.amount, amount)
        if part > 0:
            lower(draft, row, part)
            amount -= part
    if amount:
        raise ValueError(f"grant {grant.id} is reserved for {amount} micros that no reservation holds")


def release(draft: Draft, rows: Sequence[Reservation], reason: str, amount: int | None = None) -> None:
    """Release reservations of one application, or an amount of them, in order.

    What was moved from a line item is reserved as one again.
    """
    parts, moved = [], []
    left = sum(row.amount for row in rows) if amount is None else amount
    for row in rows:
        part = min(row.amount, left)
        if part > 0:
            moved.append((row.grant, lower(draft, row, part)))
            parts.append(Part(draft.state.grants[row.grant], part))
            left -= part
    if not parts:
        return
    draft.record(
        rows[0].account,
        CreditReinstated(
            application_id=rows[0].key.application_id,
            undone="reservation",
            invoice_id=rows[0].invoice_id,
            amount=sum(part.amount for part in parts),
            amount_due=_due(draft, rows[0].invoice),
            slices=slices(parts),
            reason=reason,
        ),
        [Posting(part.grant.key.id, "reserved", "available", part.amount) for part in parts],
        cause=draft.cause,
    )
    for key, part in moved:
        reserve_again(draft, key, part)


def _due(draft: Draft, key: InvoiceKey | None) -> int | None:
    invoice = draft.state.invoices.get(key) if key is not None else None
    return None if invoice is None else invoice.due


def by_application(rows: Iterable[Reservation]) -> list[list[Reservation]]:
    """Group reservations by application, in order, in runs of at most `MAX_SLICES`, one event each."""
    grouped: dict[UUID, list[Reservation]] = {}
    for row in rows:
        grouped.setdefault(row.key.application_id, []).append(row)
    return [list(run) for each in grouped.values() for run in in_runs(each)]


def release_for(
    draft: Draft, key: InvoiceKey, reason: Released, *, besides: AccountKey | None = None
) -> set[AccountKey]:
    """Release what is reserved for an invoice, except one account's; returns the accounts concerned."""
    applications = by_application(held(draft, draft.state.reservations_of_invoice.get(key)))
    released = [rows for rows in applications if rows[0].account != besides]
    for rows in released:
        release(draft, rows, reason)
    return {rows[0].account for rows in released}


def use_reservations(draft: Draft, key: InvoiceKey) -> bool:
    """Use reservations for a finalized invoice, oldest first, and release the rest; returns whether it did."""
    is_released = False
    for rows in by_application(held(draft, draft.state.reservations_of_invoice.get(key))):
        invoice = draft.state.invoices[key]
        _use(draft, invoice, rows)
        left = held(draft, [row.key for row in rows])
        why: Released = "invoice_voided" if invoice.voided else "not_needed"
        release(draft, left, why)
        is_released = is_released or bool(left)
    return is_released


def _use(draft: Draft, invoice: Invoice, rows: Sequence[Reservation]) -> None:
    """Use reservations of one application; their grants were effective when the command asked for them."""
    parts, moved, due = [], 0, round_down(invoice.due, invoice.account.currency)
    for row in rows:
        grant = draft.state.grants[row.grant]
        most = whole_of(row) if is_unexpired(grant, invoice.finalized_at, draft.moment.now) else 0
        part = min(most, due)
        if part > 0:
            moved += lower(draft, row, part)
            parts.append(Part(grant, part))
            due -= part
    if parts:
        apply(
            draft,
            invoice,
            parts,
            "reservation",
            at=max(invoice.finalized_at, *(part.grant.effective_at for part in parts)),
            application_id=free_id(draft, rows[0]),
            moved=moved,
        )


def free_id(draft: Draft, row: Reservation) -> UUID | None:
    """Id that a reservation's first use keeps; None if a credit line has already used a part."""
    return row.key.application_id if draft.state.applications.get(row.application) is None else None
