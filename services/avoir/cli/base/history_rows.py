"""Converts rows of the `history_` statements into the original messages."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, assert_never, cast

import asyncpg
from msgspec.structs import replace

from avoir.core.model.commands import Command
from avoir.core.model.facts import (
    ApplicationRejected,
    BookingCancelled,
    BookingShortened,
    Fact,
    InvoiceFinalized,
    InvoiceLine,
    InvoiceVoided,
    PaymentRecorded,
    PaymentReversed,
    PlanCancelled,
    ReversalReason,
)
from avoir.core.model.message import Message
from avoir.core.model.rows import BookingCancellation, BookingShortening, Change, Line, PlanCancellation
from avoir.core.model.rules import TODAY
from avoir.postgres import rows
from avoir.postgres.bodies import command


class RecordedMessage(NamedTuple):
    """A message as it was decided: moment, order, outcome, reason and policy.

    `unknown_lines` says whether an invoice had credit lines that named no credit.
    """

    message: Message
    recorded_at: datetime
    place: tuple[int, int]
    outcome: str
    reason: str
    policy: Mapping[str, Any]
    unknown_lines: bool = False


def recorded_invoice(row: asyncpg.Record, lines: Sequence[Line]) -> RecordedMessage:
    """Convert a row of `history_invoices` with its lines; `automatic` there is the result of the finalization."""
    invoice, facts = rows.invoice(row), json.loads(row["facts"])
    finalization = facts.get("finalization", "automatic" if invoice.automatic else "manual")
    fact = InvoiceFinalized(
        invoice_id=invoice.key.invoice_id,
        number=invoice.number,
        owner=invoice.account.owner,
        currency=invoice.account.currency,
        automatic=finalization == "automatic",
        auto_apply=facts.get("auto_apply_credit"),
        lines=tuple(map(_line, lines)),
        total=invoice.total,
        amount_paid=invoice.amount_paid,
    )
    recorded = _recorded(row, "invoice-finalized", invoice.finalized_at, invoice.contents, fact)
    if all(line.cost_tax is None for line in lines):
        recorded = _under(1, recorded)
    return recorded._replace(unknown_lines="lines_of_unknown_credit" in facts)


def _line(line: Line) -> InvoiceLine:
    return InvoiceLine(
        line_id=line.line_id,
        kind=line.kind,
        subject_id=line.subject_id,
        period=line.period,
        amount=line.amount,
        tax=line.tax,
        credit_line_id=line.credit_line_id,
        expires_at=line.expires_at,
    )


def recorded_void(row: asyncpg.Record) -> RecordedMessage:
    """Convert a row of `history_voids`."""
    fact = InvoiceVoided(row["invoice_id"], row["reason"])
    return _recorded(row, "invoice-voided", row["occurred_at"], row["contents"], fact)


def recorded_change(row: asyncpg.Record) -> RecordedMessage:
    """Convert a row of `history_changes`."""
    change = rows.change(row)
    return _under(
        change.rules, _recorded(row, change.topic, change.occurred_at, change.contents, _change(change))
    )


def _change(change: Change) -> Fact:
    common: dict[str, Any] = {
        "owner": change.owner,
        "changed_by": change.changed_by,
        "revision": change.revision,
        "create_credit": change.asked if change.changed_by == "admin" else None,
    }
    match change:
        case BookingCancellation():
            return BookingCancelled(change.subject.id, **common, fee=change.fee, currency=change.currency)
        case BookingShortening():
            return BookingShortened(
                change.subject.id,
                **common,
                billed_period=change.billed_period,
                remaining_period=change.remaining_period,
                billed_price=change.billed_price,
                remaining_price=change.remaining_price,
                currency=change.currency,
            )
        case PlanCancellation():
            common |= {"effective_at": change.effective_at, "unused": change.unused}
            return PlanCancelled(change.subject.id, **common)
        case never:
            assert_never(never)


def recorded_payment(row: asyncpg.Record) -> RecordedMessage:
    """Convert a row of `history_payments`."""
    payment = rows.payment(row)
    fact = PaymentRecorded(
        payment.key.id, payment.account.owner, payment.amount, payment.account.currency, payment.invoice_ids
    )
    return _recorded(row, "payment-recorded", payment.occurred_at, payment.contents, fact)


def recorded_reversal(row: asyncpg.Record) -> RecordedMessage:
    """Convert a row of `history_reversals`."""
    reversal = rows.reversal(row)
    fact = PaymentReversed(
        reversal.key.id,
        reversal.payment_id,
        reversal.amount,
        reversal.currency,
        cast(ReversalReason, reversal.reason),
    )
    return _recorded(row, "payment-reversed", reversal.occurred_at, reversal.contents, fact)


def recorded_command(row: asyncpg.Record) -> RecordedMessage | None:
    """Convert a row of `history_commands`; None if the command's body was not kept."""
    if row["topic"] == "credit-application-rejected":
        # Only the entries have its reason (see `with_reasons`); no decision depends on it.
        fact = ApplicationRejected(row["subject_id"], "")
        return _recorded(row, row["topic"], row["occurred_at"], b"", fact)
    if row["body"] is None:
        return None
    return _recorded(row, row["topic"], row["occurred_at"], b"", command(row["topic"], row["body"]))


def with_reasons(
    history: Iterable[RecordedMessage], reasons: Mapping[tuple[datetime, str], str]
) -> list[RecordedMessage]:
    """Fill in why applications were rejected, by the messages' moments and event ids."""
    return [
        recorded._replace(message=replace(recorded.message, body=replace(body, reason=reason)))
        if isinstance(body := recorded.message.body, ApplicationRejected)
        and (reason := reasons.get((recorded.recorded_at, recorded.message.event_id))) is not None
        else recorded
        for recorded in history
    ]


def _under(rules: int, recorded: RecordedMessage) -> RecordedMessage:
    return recorded._replace(message=replace(recorded.message, rules=rules))


def _recorded(
    row: asyncpg.Record, topic: str, occurred_at: datetime, contents: bytes, body: Fact | Command
) -> RecordedMessage:
    policy = json.loads(row["policy"])
    # Since the second rules a decision names the zone of the days until an expiry.
    is_of_first_rules = policy.get("expires_after_days") is not None and "time_zone" not in policy
    rules = 1 if is_of_first_rules else TODAY
    return RecordedMessage(
        message=Message(row["tenant_id"], topic, row["event_id"], occurred_at, contents, body, rules),
        recorded_at=row["recorded_at"],
        place=(row["position"], row["kafka_offset"]),
        outcome=row["outcome"],
        reason=row["because"],
        policy=policy,
    )
