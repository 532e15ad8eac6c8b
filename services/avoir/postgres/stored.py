"""From rows of the core to columns of the tables: what is new is copied in, of what is known the changes are set."""

import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from avoir.core.model.facts import Period
from avoir.core.model.policy import PolicyVersion
from avoir.core.model.rows import (
    Account,
    Application,
    Change,
    Entitlement,
    Grant,
    Invoice,
    Line,
    Payment,
    Reservation,
    Reversal,
    Settlement,
    Void,
)
from avoir.postgres import queries

Columns = tuple[Any, ...]


class Stored(NamedTuple):
    """How the rows of a table are kept.

    `added` gives the values of `columns`; `updated` what the statement `update` takes of a row that is known, key
    first. Rows without one never change. The last column of `dated` tables is when the row was recorded.
    """

    table: str
    columns: tuple[str, ...]
    added: Callable[[Any], Columns]
    update: queries.Statement | None = None
    updated: Callable[[Any], Columns] | None = None
    dated: bool = False


def _ends(period: Period | None) -> tuple[Any, Any]:
    return (None, None) if period is None else (period.start, period.end)


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def account_changes(row: Account) -> Columns:
    """What `update_accounts` takes of an account."""
    event = (row.seq, row.head, row.refill_asked, row.epoch, row.epoch_from)
    return (*row.key, row.available, row.reserved, *event)


def _invoice(row: Invoice) -> Columns:
    return (
        *row.key,
        *row.account[1:],
        row.number,
        row.finalized_at,
        row.total,
        row.amount_paid,
        row.automatic,
        row.barred,
        row.voided,
        row.settled,
        row.applied,
        row.settled_at,
        row.event_id,
        row.contents,
        row.restored,
    )


def _invoice_changes(row: Invoice) -> Columns:
    return (*row.key, row.barred, row.voided, row.settled, row.applied, row.settled_at, row.restored)


def _line(row: Line) -> Columns:
    said = (row.position, row.line_id, row.kind, row.subject_id, *_ends(row.period))
    return (*row.invoice, *said, row.amount, row.tax, row.cost, row.credit_line_id, row.expires_at)


def _change(row: Change) -> Columns:
    return (
        row.subject.tenant_id,
        row.topic,
        row.event_id,
        *row.subject[1:],
        *row.owner,
        row.revision,
        row.occurred_at,
        row.changed_by,
        row.asked,
        row.fee,
        row.currency,
        *_ends(row.billed_period),
        *_ends(row.remaining_period),
        row.billed_price,
        row.remaining_price,
        row.effective_at,
        row.unused,
        *_policy_of(row),
        row.contents,
        row.superseded,
    )


def _change_changes(row: Change) -> Columns:
    return (*row.key, *_policy_of(row), row.superseded)


def _policy_of(row: Change) -> Columns:
    return row.proration, row.time_zone, row.unpaid_change, row.credit_as, row.expires_after_days


def _payment(row: Payment) -> Columns:
    said = (row.amount, row.occurred_at, row.invoice_ids)
    return (*row.key, *row.account[1:], *said, row.reversed, row.settled, row.event_id, row.contents)


def _payment_changes(row: Payment) -> Columns:
    return (*row.key, row.reversed, row.settled)


def _settlement(row: Settlement) -> Columns:
    return (*row.payment, row.n, row.invoice.invoice_id, row.amount)


def _settlement_changes(row: Settlement) -> Columns:
    return (*row.payment, row.n, row.amount)


def _entitlement(row: Entitlement) -> Columns:
    return (*row.key, *row.account[1:], row.cost, *_due(row))


def _entitlement_changes(row: Entitlement) -> Columns:
    return (*row.key, *_due(row))


def _due(row: Entitlement) -> Columns:
    given = (row.given, row.covered, row.shortfall, row.shortfall_reason, row.grants)
    terms = (row.source, row.due_from, row.settle_by, row.as_line_item, row.expires_after_days)
    return (row.target, *given, *terms)


def _grant(row: Grant) -> Columns:
    return (
        *row.key,
        *row.account[1:],
        row.amount,
        *_held(row),
        row.source,
        row.reason,
        row.note,
        row.priority,
        row.paid_for,
        row.effective_at,
        row.expires_at,
        row.reference,
        *((None, None, None) if row.entitlement is None else row.entitlement[1:]),
        row.ordinal,
        row.topic,
        row.event_id,
        row.contents,
    )


def _grant_changes(row: Grant) -> Columns:
    return (*row.key, *_held(row))


def _held(row: Grant) -> Columns:
    return row.available, row.reserved, row.spent, row.lost, row.taken, row.pending


def _application(row: Application) -> Columns:
    used = (row.invoice.invoice_id, row.amount, row.applied_by, row.applied_at, row.reinstated)
    grant_ids, amounts = zip(*row.slices, strict=True)
    return (*row.key, *row.account[1:], *used, grant_ids, amounts, row.topic, row.event_id, row.moved)


def _application_changes(row: Application) -> Columns:
    return (*row.key, row.reinstated)


def _reservation(row: Reservation) -> Columns:
    held = (row.invoice_id, row.reserved_for, row.seq, row.amount)
    return (*row.key, *row.account[1:], *held, row.topic, row.event_id, row.moved)


def _reservation_changes(row: Reservation) -> Columns:
    return (*row.key, row.amount, row.moved)


def _reversal(row: Reversal) -> Columns:
    said = (row.payment_id, row.amount, row.currency, row.reason, row.occurred_at)
    return (*row.key, *said, row.event_id, row.contents)


def _void(row: Void) -> Columns:
    return (*row.key, row.reason, row.occurred_at, row.event_id, row.contents)


def _policy(row: PolicyVersion) -> Columns:
    return (row.key.tenant_id, row.event_id, *row.key[1:], row.occurred_at, json.dumps(row.keys))


STORED: Mapping[str, Stored] = {
    "invoices": Stored(
        "invoices",
        _names(
            "tenant_id invoice_id owner_type owner_id currency number finalized_at total amount_paid automatic "
            "barred voided settled applied settled_at event_id contents restored"
        ),
        _invoice,
        queries.update_invoices,
        _invoice_changes,
    ),
    "lines": Stored(
        "invoice_lines",
        _names(
            "tenant_id invoice_id position line_id kind subject_id period_start period_end amount tax cost "
            "credit_line_id expires_at"
        ),
        _line,
    ),
    "changes": Stored(
        "changes",
        _names(
            "tenant_id topic event_id subject_kind subject_id owner_type owner_id revision occurred_at changed_by "
            "asked fee currency billed_start billed_end remaining_start remaining_end billed_price "
            "remaining_price effective_at unused proration time_zone unpaid_change credit_as "
            "expires_after_days contents superseded"
        ),
        _change,
        queries.update_changes,
        _change_changes,
    ),
    "reversals": Stored(
        "reversals",
        _names("tenant_id reversal_id payment_id amount currency reason occurred_at event_id contents"),
        _reversal,
    ),
    "voids": Stored("voids", _names("tenant_id invoice_id reason occurred_at event_id contents"), _void),
    "policies": Stored("policies", _names("tenant_id event_id scope scope_id occurred_at keys"), _policy),
    "payments": Stored(
        "payments",
        _names(
            "tenant_id kind payment_id owner_type owner_id currency amount occurred_at invoice_ids reversed "
            "settled event_id contents"
        ),
        _payment,
        queries.update_payments,
        _payment_changes,
    ),
    "settlements": Stored(
        "settlements",
        _names("tenant_id kind payment_id n invoice_id amount"),
        _settlement,
        queries.update_settlements,
        _settlement_changes,
    ),
    "entitlements": Stored(
        "entitlements",
        _names(
            "tenant_id kind id line_id owner_type owner_id currency cost target given covered shortfall "
            "shortfall_reason grants source due_from settle_by as_line_item expires_after_days"
        ),
        _entitlement,
        queries.update_entitlements,
        _entitlement_changes,
    ),
    "grants": Stored(
        "grants",
        _names(
            "tenant_id grant_id owner_type owner_id currency amount available reserved spent lost taken pending "
            "source reason note priority paid_for effective_at expires_at reference entitlement_kind "
            "entitlement_id entitlement_line_id ordinal topic event_id contents recorded_at"
        ),
        _grant,
        queries.update_grants,
        _grant_changes,
        dated=True,
    ),
    "reservations": Stored(
        "reservations",
        _names(
            "tenant_id application_id grant_id owner_type owner_id currency invoice_id reserved_for seq amount "
            "topic event_id moved"
        ),
        _reservation,
        queries.update_reservations,
        _reservation_changes,
    ),
    "applications": Stored(
        "applications",
        _names(
            "tenant_id application_id owner_type owner_id currency invoice_id amount applied_by applied_at "
            "reinstated grant_ids amounts topic event_id moved"
        ),
        _application,
        queries.update_applications,
        _application_changes,
    ),
}
"""The tables of a state that a batch writes, in an order that foreign keys allow."""
