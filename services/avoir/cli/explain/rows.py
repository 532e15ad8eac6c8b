"""Converts rows of the `explain_` statements into the parts of an explanation."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import asyncpg

from avoir.cli.explain.view import (
    GrantEntry,
    GrantState,
    GrantUse,
    LineState,
    PaymentState,
    RecordedDecision,
    Subject,
)
from avoir.core.model.rows import Reservation
from avoir.postgres import rows


def recorded_decision(row: asyncpg.Record) -> RecordedDecision:
    """Convert a row of `decisions`."""
    return RecordedDecision(
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


def line_state(row: asyncpg.Record) -> LineState:
    """Convert a row of `explain_lines`: whole rows of three tables, the last null if nothing was ever due."""
    entitlement = row["entitlement"]
    return LineState(
        rows.invoice(row["invoice"]),
        rows.line(row["line"]),
        None if entitlement is None else rows.entitlement(entitlement),
    )


class GrantHistory(NamedTuple):
    """History of grants: their entries, newest first, rows of `explain_uses`, and reservations."""

    entries: Sequence[GrantEntry]
    uses: Sequence[asyncpg.Record]
    reservations: Sequence[Reservation]


def grant_state(row: asyncpg.Record, now: datetime, history: GrantHistory) -> GrantState:
    """Convert a row of `grants`, with its own part of the history."""
    grant = rows.grant(row)
    return GrantState(
        grant,
        row["recorded_at"],
        grant.is_expired(now),
        tuple(
            GrantUse(use["counter_account"], use["invoice_id"], use["amount"])
            for use in history.uses
            if use["grant_id"] == grant.key.id
        ),
        tuple(each for each in history.reservations if each.grant == grant.key and each.amount > 0),
        tuple(entry for entry in reversed(history.entries) if entry.grant_id == grant.key.id),
    )


def payment_state(row: asyncpg.Record, used: Sequence[asyncpg.Record]) -> PaymentState:
    """Convert a row of `payments`, with its own rows of `explain_settlements`."""
    payment = rows.payment(row)
    return PaymentState(
        payment,
        tuple(
            (use["invoice_id"], use["amount"])
            for use in used
            if use["amount"] and (use["kind"], use["payment_id"]) == payment.key[1:]
        ),
    )


def grant_entry(row: asyncpg.Record) -> GrantEntry:
    """Convert a row of `explain_movements`."""
    return GrantEntry(**row)
