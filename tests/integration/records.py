"""Core messages as Kafka records, for tests that speak the core's words to the handler."""

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from avoir.batch.handle import Handler
from avoir.core.model import commands, facts
from avoir.core.model.commands import Command
from avoir.core.model.message import Message
from avoir.core.model.money import format_decimal
from avoir.record import BatchReport, Record, TopicPartition


def amount(micros: int) -> str:
    """An amount as the wire has it; two decimals are enough for tests."""
    return format_decimal(micros, "EUR")


def time(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def period(span: facts.Period | None) -> dict[str, str] | None:
    return None if span is None else {"start": span.start.isoformat(), "end": span.end.isoformat()}


def owner(who: facts.Owner) -> dict[str, str]:
    return {"type": who.type, "id": who.id}


def line(each: facts.InvoiceLine) -> dict[str, Any]:
    subject = {f"{each.kind}_id": each.subject_id} if each.subject_id is not None else {}
    expires = {"expires_at": time(each.expires_at)} if each.expires_at is not None else {}
    amounts = {"amount": amount(each.amount), "tax": amount(each.tax)}
    return (
        {"line_id": each.line_id, "kind": each.kind, "period": period(each.period)}
        | ({} if each.credit_line_id is None else {"credit_line_id": each.credit_line_id})
        | amounts
        | subject
        | expires
    )


def body(fact: facts.Fact | Command) -> dict[str, Any]:
    """The fields of a fact or a command."""
    match fact:
        case facts.InvoiceFinalized():
            return {
                "invoice_id": fact.invoice_id,
                "number": fact.number,
                "owner": owner(fact.owner),
                "currency": fact.currency,
                "finalization": "automatic" if fact.automatic else "manual",
                "auto_apply_credit": fact.auto_apply,
                "lines": [line(each) for each in fact.lines],
                "total": amount(fact.total),
                "amount_paid": amount(fact.amount_paid),
            }
        case facts.BookingCancelled():
            fee = {"fee": amount(fact.fee), "currency": fact.currency} if fact.currency else {}
            return {"booking_id": fact.booking_id} | change(fact) | fee
        case facts.BookingShortened():
            if fact.billed_price is not None and fact.remaining_price is not None:
                prices = {
                    "billed_price": amount(fact.billed_price),
                    "remaining_price": amount(fact.remaining_price),
                }
                return {"booking_id": fact.booking_id, "currency": fact.currency} | change(fact) | prices
            periods = {
                "billed_period": period(fact.billed_period),
                "remaining_period": period(fact.remaining_period),
            }
            return {"booking_id": fact.booking_id} | change(fact) | periods
        case facts.PlanCancelled():
            said = {"plan_id": fact.plan_id, "effective_at": time(fact.effective_at), "unused": fact.unused}
            return said | change(fact)
        case facts.PaymentRecorded():
            return {
                "payment_id": fact.payment_id,
                "owner": owner(fact.owner),
                "amount": amount(fact.amount),
                "currency": fact.currency,
                "method": "card",
                "invoice_ids": list(fact.invoice_ids),
            }
        case facts.PaymentReversed():
            return {
                "reversal_id": fact.reversal_id,
                "payment_id": fact.payment_id,
                "amount": amount(fact.amount),
                "currency": fact.currency,
                "reason": fact.reason,
            }
        case facts.InvoiceVoided():
            return {"invoice_id": fact.invoice_id, "reason": fact.reason}
        case facts.ApplicationRejected():
            return {"application_id": fact.application_id, "reason": fact.reason}
        case _:
            return {"actor": {"type": fact.actor.type, "id": fact.actor.id}} | command(fact)


def command(asked: Command) -> dict[str, Any]:
    """The fields of a command but its actor."""
    match asked:
        case commands.GrantCredit():
            return {
                "owner": owner(asked.owner),
                "amount": amount(asked.amount),
                "currency": asked.currency,
                "reason": asked.reason,
                "note": asked.note,
                "priority": asked.priority,
                "effective_at": time(asked.effective_at),
                "expires_at": time(asked.expires_at),
                "reference": asked.reference,
            }
        case commands.ApplyCredit():
            return {
                "owner": owner(asked.owner),
                "invoice_id": asked.invoice_id,
                "currency": asked.currency,
                "amount": None if asked.amount is None else amount(asked.amount),
                "grant_id": asked.grant_id,
            }
        case commands.ReinstateCredit():
            return {"application_id": asked.application_id, "reason": asked.reason}
        case commands.VoidCredit():
            return {"grant_id": asked.grant_id, "reason": asked.reason}
        case commands.RefundCredit():
            return paid_out(asked) | {"grant_id": asked.grant_id}
        case commands.DrawCredit():
            return paid_out(asked) | {"allow_partial": asked.allow_partial}
        case commands.SetCreditPolicy():
            refill = {"refill_threshold", "refill_amount"}
            keys = {
                name: amount(each) if name in refill and each is not None else each
                for name, each in asked.keys.items()
            }
            scopes = {
                "tenant": {"tenant": True},
                "owner": {"owner": None if asked.owner is None else owner(asked.owner)},
                "invoice": {"invoice_id": asked.invoice_id},
            }
            return {"scope": scopes[asked.scope], "policy": keys}


def paid_out(asked: commands.RefundCredit | commands.DrawCredit) -> dict[str, Any]:
    return {
        "owner": owner(asked.owner),
        "amount": amount(asked.amount),
        "currency": asked.currency,
        "reference": asked.reference,
    }


def change(fact: facts.BookingCancelled | facts.BookingShortened | facts.PlanCancelled) -> dict[str, Any]:
    said = {"owner": owner(fact.owner), "changed_by": fact.changed_by, "create_credit": fact.create_credit}
    return said | ({} if fact.revision is None else {"revision": fact.revision})


def value(message: Message) -> bytes:
    """The value of a message's record."""
    envelope = {
        "event_id": message.event_id,
        "tenant_id": message.tenant_id,
        "occurred_at": message.occurred_at.isoformat(),
    }
    return json.dumps(envelope | body(message.body)).encode()


class Deliverer:
    """Hands messages to a handler as records of one partition a topic, with the positions that go with them."""

    def __init__(self, handler: Handler, offsets: dict[TopicPartition, int], partition: int = 0) -> None:
        self._handler = handler
        self._offsets = offsets
        self._partition = partition

    def records(self, values: Iterable[tuple[str, bytes]]) -> list[Record]:
        """Records at the next offsets of their topics."""
        found, offsets = [], dict(self._offsets)
        for topic, data in values:
            place = TopicPartition(topic, self._partition)
            found.append(Record(topic, self._partition, offsets[place], 1_000, b"k", data, (("h", b"\xff"),)))
            offsets[place] += 1
        return found

    async def deliver(self, messages: Sequence[Message]) -> BatchReport:
        """Handle messages as one batch."""
        return await self.deliver_values([(each.topic, value(each)) for each in messages])

    async def deliver_values(self, values: Sequence[tuple[str, bytes]]) -> BatchReport:
        """Handle (topic, value) pairs as one batch."""
        return await self.deliver_records(self.records(values))

    async def deliver_records(self, records: Sequence[Record]) -> BatchReport:
        """Handle records as one batch; the positions move on when it succeeds."""
        places = {TopicPartition(each.topic, each.partition) for each in records}
        report = await self._handler.handle(records, {place: self._offsets[place] for place in places})
        self._offsets.update(
            {TopicPartition(each.topic, each.partition): each.offset + 1 for each in records}
        )
        return report
