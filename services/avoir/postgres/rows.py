"""Between the rows of the core and the columns of the tables: each column list stands here once."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from asyncpg import Record

from avoir.core.events import AccountKey
from avoir.core.facts import Owner, Period
from avoir.core.policy import PolicyVersion, ScopeKey
from avoir.core.rows import (
    Account,
    Application,
    ApplicationKey,
    Change,
    Entitlement,
    EntitlementKey,
    Grant,
    GrantKey,
    Invoice,
    InvoiceKey,
    Line,
    Payment,
    PaymentKey,
    Reservation,
    ReservationKey,
    Reversal,
    ReversalKey,
    Settlement,
    SubjectKey,
    Void,
)

Row = Mapping[str, Any] | Record


def account_key(row: Row) -> AccountKey:
    """The account that a row belongs to."""
    return AccountKey(row["tenant_id"], row["owner_type"], row["owner_id"], row["currency"])


def _period(start: Any, end: Any) -> Period | None:
    return None if start is None else Period(start, end)


def _ends(period: Period | None) -> tuple[Any, Any]:
    return (None, None) if period is None else (period.start, period.end)


def account(row: Row) -> Account:
    """A row of `accounts`."""
    return Account(
        account_key(row), row["available"], row["reserved"], row["seq"], row["head"], row["refill_asked"]
    )


def invoice(row: Row) -> Invoice:
    """A row of `invoices`."""
    return Invoice(
        key=InvoiceKey(row["tenant_id"], row["invoice_id"]),
        account=account_key(row),
        number=row["number"],
        finalized_at=row["finalized_at"],
        total=row["total"],
        amount_paid=row["amount_paid"],
        automatic=row["automatic"],
        barred=row["barred"],
        voided=row["voided"],
        settled=row["settled"],
        applied=row["applied"],
        settled_at=row["settled_at"],
        event_id=row["event_id"],
        contents=row["contents"],
        restored=row["restored"],
    )


def line(row: Row) -> Line:
    """A row of `invoice_lines`."""
    return Line(
        invoice=InvoiceKey(row["tenant_id"], row["invoice_id"]),
        position=row["position"],
        line_id=row["line_id"],
        kind=row["kind"],
        subject_id=row["subject_id"],
        period=_period(row["period_start"], row["period_end"]),
        amount=row["amount"],
        tax=row["tax"],
        cost=row["cost"],
        credit_line_id=row["credit_line_id"],
        expires_at=row["expires_at"],
    )


def change(row: Row) -> Change:
    """A row of `changes`."""
    return Change(
        subject=SubjectKey(row["tenant_id"], row["subject_kind"], row["subject_id"]),
        owner=Owner(row["owner_type"], row["owner_id"]),
        topic=row["topic"],
        event_id=row["event_id"],
        revision=row["revision"],
        occurred_at=row["occurred_at"],
        changed_by=row["changed_by"],
        asked=row["asked"],
        fee=row["fee"],
        currency=row["currency"],
        billed_period=_period(row["billed_start"], row["billed_end"]),
        remaining_period=_period(row["remaining_start"], row["remaining_end"]),
        billed_price=row["billed_price"],
        remaining_price=row["remaining_price"],
        effective_at=row["effective_at"],
        unused=row["unused"],
        proration=row["proration"],
        time_zone=row["time_zone"],
        unpaid_change=row["unpaid_change"],
        credit_as=row["credit_as"],
        expires_after_days=row["expires_after_days"],
        contents=row["contents"],
    )


def payment(row: Row) -> Payment:
    """A row of `payments`."""
    return Payment(
        key=PaymentKey(row["tenant_id"], row["kind"], row["payment_id"]),
        account=account_key(row),
        amount=row["amount"],
        occurred_at=row["occurred_at"],
        invoice_ids=tuple(row["invoice_ids"]),
        reversed=row["reversed"],
        settled=row["settled"],
        event_id=row["event_id"],
        contents=row["contents"],
    )


def reversal(row: Row) -> Reversal:
    """A row of `reversals`."""
    return Reversal(
        key=ReversalKey(row["tenant_id"], row["reversal_id"]),
        payment_id=row["payment_id"],
        amount=row["amount"],
        currency=row["currency"],
        reason=row["reason"],
        occurred_at=row["occurred_at"],
        event_id=row["event_id"],
        contents=row["contents"],
    )


def void(row: Row) -> Void:
    """A row of `voids`."""
    key = InvoiceKey(row["tenant_id"], row["invoice_id"])
    return Void(key, row["reason"], row["occurred_at"], row["event_id"], row["contents"])


def settlement(row: Row) -> Settlement:
    """A row of `settlements`."""
    return Settlement(
        payment=PaymentKey(row["tenant_id"], row["kind"], row["payment_id"]),
        n=row["n"],
        invoice=InvoiceKey(row["tenant_id"], row["invoice_id"]),
        amount=row["amount"],
    )


def entitlement(row: Row) -> Entitlement:
    """A row of `entitlements`."""
    return Entitlement(
        key=EntitlementKey(row["tenant_id"], row["kind"], row["id"], row["line_id"]),
        account=account_key(row),
        cost=row["cost"],
        target=row["target"],
        given=row["given"],
        covered=row["covered"],
        shortfall=row["shortfall"],
        shortfall_reason=row["shortfall_reason"],
        grants=row["grants"],
        source=row["source"],
        due_from=row["due_from"],
        settle_by=row["settle_by"],
        as_line_item=row["as_line_item"],
        expires_after_days=row["expires_after_days"],
    )


def grant(row: Row) -> Grant:
    """A row of `grants`."""
    key = (row["entitlement_kind"], row["entitlement_id"], row["entitlement_line_id"])
    return Grant(
        key=GrantKey(row["tenant_id"], row["grant_id"]),
        account=account_key(row),
        amount=row["amount"],
        available=row["available"],
        reserved=row["reserved"],
        spent=row["spent"],
        lost=row["lost"],
        taken=row["taken"],
        source=row["source"],
        reason=row["reason"],
        note=row["note"],
        priority=row["priority"],
        paid_for=row["paid_for"],
        effective_at=row["effective_at"],
        expires_at=row["expires_at"],
        reference=row["reference"],
        entitlement=None if key[0] is None else EntitlementKey(row["tenant_id"], *key),
        ordinal=row["ordinal"],
        topic=row["topic"],
        event_id=row["event_id"],
        pending=row["pending"],
        contents=row["contents"],
    )


def application(row: Row) -> Application:
    """A row of `applications`."""
    return Application(
        key=ApplicationKey(row["tenant_id"], row["application_id"]),
        account=account_key(row),
        invoice=InvoiceKey(row["tenant_id"], row["invoice_id"]),
        amount=row["amount"],
        applied_by=row["applied_by"],
        applied_at=row["applied_at"],
        reinstated=row["reinstated"],
        slices=tuple(zip(row["grant_ids"], row["amounts"], strict=True)),
        topic=row["topic"],
        event_id=row["event_id"],
        moved=row["moved"],
    )


def reservation(row: Row) -> Reservation:
    """A row of `reservations`."""
    return Reservation(
        key=ReservationKey(row["tenant_id"], row["application_id"], row["grant_id"]),
        account=account_key(row),
        invoice_id=row["invoice_id"],
        reserved_for=row["reserved_for"],
        seq=row["seq"],
        amount=row["amount"],
        topic=row["topic"],
        event_id=row["event_id"],
    )


def policy(row: Row) -> PolicyVersion:
    """A row of `policies`."""
    key = ScopeKey(row["tenant_id"], row["scope"], row["scope_id"])
    return PolicyVersion(key, row["event_id"], row["occurred_at"], json.loads(row["keys"]))


def account_columns(row: Account) -> tuple[Any, ...]:
    """What `write_accounts` takes of an account."""
    return (*row.key, row.available, row.reserved, row.seq, row.head, row.refill_asked)


def invoice_columns(row: Invoice) -> tuple[Any, ...]:
    """What `write_invoices` takes of an invoice."""
    _, *owner_and_currency = row.account
    charged = (
        row.number,
        row.finalized_at,
        row.total,
        row.amount_paid,
        row.automatic,
        row.barred,
        row.voided,
    )
    return (
        *row.key,
        *owner_and_currency,
        *charged,
        row.settled,
        row.applied,
        row.settled_at,
        row.event_id,
        row.contents,
        row.restored,
    )


def payment_columns(row: Payment) -> tuple[Any, ...]:
    """What `write_payments` takes of a payment."""
    _, *owner_and_currency = row.account
    said = (row.amount, row.occurred_at, json.dumps(row.invoice_ids))
    return (*row.key, *owner_and_currency, *said, row.reversed, row.settled, row.event_id, row.contents)


def settlement_columns(row: Settlement) -> tuple[Any, ...]:
    """What `write_settlements` takes of a settlement."""
    return (*row.payment, row.n, row.invoice.invoice_id, row.amount)


def entitlement_columns(row: Entitlement) -> tuple[Any, ...]:
    """What `write_entitlements` takes of an entitlement."""
    _, *owner_and_currency = row.account
    amounts = (row.cost, row.target, row.given, row.covered, row.shortfall, row.shortfall_reason, row.grants)
    terms = (row.source, row.due_from, row.settle_by, row.as_line_item, row.expires_after_days)
    return (*row.key, *owner_and_currency, *amounts, *terms)


def grant_columns(row: Grant) -> tuple[Any, ...]:
    """What `write_grants` takes of a grant."""
    _, *owner_and_currency = row.account
    amounts = (row.amount, row.available, row.reserved, row.spent, row.lost, row.taken)
    terms = (row.priority, row.paid_for, row.effective_at, row.expires_at, row.reference)
    entitlement_key = (None, None, None) if row.entitlement is None else row.entitlement[1:]
    origin = (*entitlement_key, row.ordinal, row.topic, row.event_id, row.pending, row.contents)
    return (*row.key, *owner_and_currency, *amounts, row.source, row.reason, row.note, *terms, *origin)


def application_columns(row: Application) -> tuple[Any, ...]:
    """What `write_applications` takes of an application."""
    _, *owner_and_currency = row.account
    used = (row.invoice.invoice_id, row.amount, row.applied_by, row.applied_at, row.reinstated)
    slices = json.dumps([(str(grant_id), amount) for grant_id, amount in row.slices])
    return (*row.key, *owner_and_currency, *used, slices, row.topic, row.event_id, row.moved)


def reservation_columns(row: Reservation) -> tuple[Any, ...]:
    """What `write_reservations` takes of a reservation."""
    _, *owner_and_currency = row.account
    held = (row.invoice_id, row.reserved_for, row.seq, row.amount)
    return (*row.key, *owner_and_currency, *held, row.topic, row.event_id)


def line_columns(row: Line) -> tuple[Any, ...]:
    """A line as `invoice_lines` holds it, in LINE_COLUMNS' order."""
    said = (row.position, row.line_id, row.kind, row.subject_id, *_ends(row.period))
    return (*row.invoice, *said, row.amount, row.tax, row.cost, row.credit_line_id, row.expires_at)


def change_columns(row: Change) -> tuple[Any, ...]:
    """What `write_changes` takes of a change."""
    _, *subject = row.subject
    said = (row.revision, row.occurred_at, row.changed_by, row.asked, row.fee, row.currency)
    periods = (*_ends(row.billed_period), *_ends(row.remaining_period), row.billed_price, row.remaining_price)
    policy = (row.proration, row.time_zone, row.unpaid_change, row.credit_as, row.expires_after_days)
    change = (row.subject.tenant_id, row.topic, row.event_id, *subject, *row.owner)
    return (*change, *said, *periods, row.effective_at, row.unused, *policy, row.contents)


def reversal_columns(row: Reversal) -> tuple[Any, ...]:
    """A reversal as `reversals` holds it."""
    said = (row.payment_id, row.amount, row.currency, row.reason, row.occurred_at)
    return (*row.key, *said, row.event_id, row.contents)


def void_columns(row: Void) -> tuple[Any, ...]:
    """A void as `voids` holds it."""
    return (*row.key, row.reason, row.occurred_at, row.event_id, row.contents)


def policy_columns(row: PolicyVersion) -> tuple[Any, ...]:
    """A version of a policy as `policies` holds it."""
    tenant_id, *scope = row.key
    return (tenant_id, row.event_id, *scope, row.occurred_at, json.dumps(row.keys))


COPIED: Mapping[str, tuple[Callable[[Any], tuple[Any, ...]], tuple[str, ...]]] = {
    "invoice_lines": (
        line_columns,
        (
            "tenant_id",
            "invoice_id",
            "position",
            "line_id",
            "kind",
            "subject_id",
            "period_start",
            "period_end",
            "amount",
            "tax",
            "cost",
            "credit_line_id",
            "expires_at",
        ),
    ),
    "reversals": (
        reversal_columns,
        (
            "tenant_id",
            "reversal_id",
            "payment_id",
            "amount",
            "currency",
            "reason",
            "occurred_at",
            "event_id",
            "contents",
        ),
    ),
    "voids": (
        void_columns,
        ("tenant_id", "invoice_id", "reason", "occurred_at", "event_id", "contents"),
    ),
    "policies": (
        policy_columns,
        ("tenant_id", "event_id", "scope", "scope_id", "occurred_at", "keys"),
    ),
}
"""The facts that never change and so are copied in: how a row becomes columns, and the columns' names."""
