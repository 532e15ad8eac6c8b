"""From rows of the tables to rows of the core."""

import json
from collections.abc import Mapping
from typing import Any

from asyncpg import Record

from avoir.core.model.events import AccountKey
from avoir.core.model.facts import Owner, Period
from avoir.core.model.policy import PolicyVersion, ScopeKey
from avoir.core.model.rows import (
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


def account(row: Row) -> Account:
    """A row of `accounts`."""
    return Account(
        account_key(row),
        row["available"],
        row["reserved"],
        row["seq"],
        row["head"],
        row["refill_asked"],
        row["epoch"],
        row["epoch_from"],
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
        superseded=row["superseded"],
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
        moved=row["moved"],
    )


def policy(row: Row) -> PolicyVersion:
    """A row of `policies`."""
    key = ScopeKey(row["tenant_id"], row["scope"], row["scope_id"])
    return PolicyVersion(key, row["event_id"], row["occurred_at"], json.loads(row["keys"]))
