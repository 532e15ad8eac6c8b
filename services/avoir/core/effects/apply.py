"""Uses credit on an invoice: the only place that makes applications."""

from collections.abc import Sequence
from datetime import datetime
from typing import TypeVar, assert_never
from uuid import UUID

from msgspec.structs import replace

from avoir.core.effects.allocation import Part
from avoir.core.model.events import CreditApplied, Slice
from avoir.core.model.ledger import CustomerAccount, Posting
from avoir.core.model.reasons import AppliedBy
from avoir.core.model.rows import Application, ApplicationKey, Invoice
from avoir.core.state.draft import BY_TIME, Draft

MAX_SLICES = 500
"""Maximum number of grants per event and application, so that both have a bounded size."""

T = TypeVar("T")


def in_runs(parts: Sequence[T]) -> list[Sequence[T]]:
    """Split parts of grants into runs of at most `MAX_SLICES`, one per event."""
    return [parts[start : start + MAX_SLICES] for start in range(0, len(parts), MAX_SLICES)]


def apply(
    draft: Draft,
    invoice: Invoice,
    parts: Sequence[Part],
    by: AppliedBy,
    *,
    at: datetime,
    application_id: UUID | None = None,
    moved: int = 0,
) -> None:
    """Apply parts of grants to an invoice: from available for automatic use or a command, otherwise from reserved.

    Each run is a separate application; the first has the `application_id` and `moved`.
    """
    for run in in_runs(parts):
        invoice = _apply(draft, invoice, run, by, at, application_id, moved)
        application_id, moved = None, 0


def _apply(
    draft: Draft,
    invoice: Invoice,
    parts: Sequence[Part],
    by: AppliedBy,
    at: datetime,
    application_id: UUID | None,
    moved: int,
) -> Invoice:
    cause, amount = draft.cause or BY_TIME, sum(part.amount for part in parts)
    tenant_id = invoice.key.tenant_id
    application = Application(
        key=ApplicationKey(tenant_id, application_id or draft.new_id(tenant_id, "application", *invoice.key)),
        account=invoice.account,
        invoice=invoice.key,
        amount=amount,
        applied_by=by,
        applied_at=at,
        reinstated=False,
        slices=tuple((part.grant.key.id, part.amount) for part in parts),
        topic=cause.topic,
        event_id=cause.event_id,
        moved=moved,
    )
    # A credit line has lowered the invoice's total already: its use pays nothing of what is due.
    if by != "line_item":
        invoice = replace(invoice, applied=invoice.applied + amount, settled_at=max(invoice.settled_at, at))
    draft.put(application, invoice)
    source = taken_from(by)
    draft.record(
        invoice.account,
        CreditApplied(
            application_id=application.key.id,
            invoice_id=invoice.key.invoice_id,
            amount=amount,
            amount_due=invoice.due,
            by=by,
            slices=slices(parts),
        ),
        [Posting(part.grant.key.id, source, "applied", part.amount) for part in parts],
        cause=draft.cause,
    )
    return invoice


def taken_from(by: AppliedBy) -> CustomerAccount:
    """The ledger account of the customer that an application takes from."""
    match by:
        case "auto" | "command":
            return "available"
        case "line_item" | "reservation":
            return "reserved"
        case never:
            assert_never(never)


def slices(parts: Sequence[Part]) -> tuple[Slice, ...]:
    """Parts of grants as the slices of an event."""
    return tuple(Slice(part.grant.key.id, part.amount, part.grant.source) for part in parts)
