"""The rows of the `explain_` statements as the parts of an explanation."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import asyncpg

from avoir.cli.explain.view import (
    DecisionMade,
    GrantStanding,
    LineStanding,
    PaymentStanding,
    Step,
    Subject,
    Use,
)
from avoir.core.model.rows import Reservation
from avoir.postgres import rows


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


def told_line(row: asyncpg.Record) -> LineStanding:
    """A row of `explain_lines`: whole rows of three tables, the last of them null where nothing was ever due."""
    entitlement = row["entitlement"]
    return LineStanding(
        rows.invoice(row["invoice"]),
        rows.line(row["line"]),
        None if entitlement is None else rows.entitlement(entitlement),
    )


class Whereabouts(NamedTuple):
    """Where grants are and went: rows of `explain_movements`, newest first, of `explain_uses`, and reservations."""

    steps: Sequence[Step]
    uses: Sequence[asyncpg.Record]
    reservations: Sequence[Reservation]


def told_grant(row: asyncpg.Record, now: datetime, where: Whereabouts) -> GrantStanding:
    """A row of `grants`, with its own part of the whereabouts."""
    grant = rows.grant(row)
    return GrantStanding(
        grant,
        row["recorded_at"],
        grant.is_expired(now),
        tuple(
            Use(use["counter_account"], use["invoice_id"], use["amount"])
            for use in where.uses
            if use["grant_id"] == grant.key.id
        ),
        tuple(each for each in where.reservations if each.grant == grant.key and each.amount > 0),
        tuple(step for step in reversed(where.steps) if step.grant_id == grant.key.id),
    )


def told_payment(row: asyncpg.Record, used: Sequence[asyncpg.Record]) -> PaymentStanding:
    """A row of `payments`, with those of `explain_settlements` that are its own."""
    payment = rows.payment(row)
    return PaymentStanding(
        payment,
        tuple(
            (use["invoice_id"], use["amount"])
            for use in used
            if use["amount"] and (use["kind"], use["payment_id"]) == payment.key[1:]
        ),
    )


def told_step(row: asyncpg.Record) -> Step:
    """A row of `explain_movements`."""
    return Step(**row)
