"""The rows of the `explain_` statements as the parts of an explanation."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import asyncpg

from avoir.cli.explain.view import (
    ApplicationStory,
    DecisionMade,
    GrantStory,
    InvoiceStory,
    LineStory,
    PaymentStory,
    PolicyStory,
    ReservationStory,
    Step,
    Subject,
    Use,
)
from avoir.core.model.facts import Owner


def told_decision(row: asyncpg.Record) -> DecisionMade:
    """A row of `decisions`."""
    return DecisionMade(
        row["topic"],
        row["event_id"],
        row["partition"],
        row["kafka_offset"],
        row["occurred_at"],
        row["recorded_at"],
        row["outcome"],
        row["reason"],
        json.loads(row["facts"]),
        json.loads(row["policy"]),
        row["would_change_it"],
        Subject(row["subject_kind"], row["subject_id"]),
    )


def told_invoice(row: asyncpg.Record) -> InvoiceStory:
    """A row of `explain_invoices`."""
    due = 0 if row["voided"] else max(row["total"] + row["restored"], 0) - row["settled"] - row["applied"]
    return InvoiceStory(
        row["invoice_id"],
        row["number"],
        Owner(row["owner_type"], row["owner_id"]),
        row["currency"],
        row["finalized_at"],
        row["total"],
        due,
        row["settled"],
        row["applied"],
        row["settled_at"],
        row["automatic"],
        row["barred"],
        row["voided_at"],
        row["void_reason"],
    )


def told_line(row: asyncpg.Record) -> LineStory:
    """A row of `explain_lines`."""
    return LineStory(
        row["invoice_id"],
        row["line_id"],
        row["kind"],
        row["subject_id"],
        row["currency"],
        row["amount"] + row["tax"],
        row["cost"],
        row["target"],
        row["given"] or 0,
        row["shortfall"] or 0,
    )


class Whereabouts(NamedTuple):
    """Where grants are and went: rows of `explain_movements`, newest first, of `explain_uses`, and reservations."""

    steps: Sequence[Step]
    uses: Sequence[asyncpg.Record]
    reservations: Sequence[ReservationStory]


def told_grant(row: asyncpg.Record, now: datetime, where: Whereabouts) -> GrantStory:
    """A row of `explain_grants`, with its own part of the whereabouts."""
    kind, grant_id = row["entitlement_kind"], row["grant_id"]
    return GrantStory(
        grant_id,
        Owner(row["owner_type"], row["owner_id"]),
        row["currency"],
        row["amount"],
        row["available"],
        row["reserved"],
        row["spent"],
        row["lost"],
        row["taken"],
        row["pending"],
        row["reference"],
        row["source"],
        row["reason"],
        row["note"],
        row["effective_at"],
        row["expires_at"],
        row["expires_at"] is not None and row["expires_at"] <= now,
        row["topic"],
        row["event_id"],
        row["recorded_at"],
        (kind, row["entitlement_id"], row["entitlement_line_id"]) if kind else None,
        tuple(
            Use(use["counter_account"], use["invoice_id"], use["amount"])
            for use in where.uses
            if use["grant_id"] == grant_id
        ),
        tuple(each for each in where.reservations if each.grant_id == grant_id and each.amount > 0),
        tuple(step for step in reversed(where.steps) if step.grant_id == grant_id),
    )


def told_payment(row: asyncpg.Record, used: Sequence[asyncpg.Record]) -> PaymentStory:
    """A row of `explain_payments`, with those of the settlements that are its own."""
    key = (row["kind"], row["payment_id"])
    return PaymentStory(
        *key,
        Owner(row["owner_type"], row["owner_id"]),
        row["currency"],
        row["amount"],
        row["reversed"],
        row["settled"],
        row["occurred_at"],
        tuple(
            (use["invoice_id"], use["amount"])
            for use in used
            if use["amount"] and (use["kind"], use["payment_id"]) == key
        ),
    )


def told_step(row: asyncpg.Record) -> Step:
    """A row of `explain_movements`."""
    return Step(**row)


def told_application(row: asyncpg.Record) -> ApplicationStory:
    """A row of `explain_applications`."""
    plain = dict(row)
    slices = tuple(zip(plain.pop("grant_ids"), plain.pop("amounts"), strict=True))
    return ApplicationStory(**plain, slices=slices)


def told_policy(row: asyncpg.Record) -> PolicyStory:
    """A row of `explain_policies`."""
    return PolicyStory(**{**row, "keys": json.loads(row["keys"])})
