"""Converts a core event to a Kafka record: the only place that knows the output's wire names."""

from collections.abc import Iterable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple, assert_never
from urllib.parse import quote, unquote
from uuid import UUID

import msgspec

from avoir.core.model import events
from avoir.core.model.commands import Actor
from avoir.core.model.facts import Owner
from avoir.core.model.money import format_decimal
from avoir.wire.topics import BALANCE

Json = dict[str, Any]
Headers = tuple[tuple[str, bytes | None], ...]

_JSON = msgspec.json.Encoder()


class Outgoing(NamedTuple):
    """A record to publish; `topic` is the default name."""

    topic: str
    key: bytes
    value: bytes
    headers: Headers


def event_record(event: events.Event, ce_source: str) -> Outgoing:
    """The record of an event; its topic follows from the type of its body."""
    currency = event.account.currency if event.account is not None else None
    topic, body = _body(event.body, currency or "")
    envelope: Json = {
        "event_id": event.event_id,
        "tenant_id": event.tenant_id,
        "occurred_at": _time(event.occurred_at),
        "recorded_at": _time(event.recorded_at),
        "caused_by": _cause(event.caused_by, event.by) if event.caused_by is not None else None,
        "account": {"owner": _owner(event.owner) if event.owner is not None else None, "currency": currency},
        "epoch": event.epoch,
        "seq": event.seq,
        "voids_from": event.voids_from,
        "balance": _balance(event, currency),
    }
    key = _account_key(event.account) if event.account is not None else quote(event.tenant_id, safe="")
    headers = _headers(topic, event.event_id, envelope["occurred_at"], ce_source)
    return Outgoing(topic, key.encode(), _bytes(envelope | body), headers)


def balance_record(balance: events.Balance, ce_source: str) -> Outgoing:
    """Record of an account's latest balance, for the compacted topic."""
    account = balance.account
    body: Json = {
        "tenant_id": account.tenant_id,
        "account": {"owner": _owner(account.owner), "currency": account.currency},
        "available": format_decimal(balance.available, account.currency),
        "reserved": format_decimal(balance.reserved, account.currency),
        "as_of": _time(balance.as_of),
        "epoch": balance.epoch,
        "seq": balance.seq,
        "voids_from": balance.voids_from,
        "head": balance.head.hex(),
    }
    headers = _headers(BALANCE, balance.event_id, body["as_of"], ce_source)
    return Outgoing(BALANCE, _account_key(account).encode(), _bytes(body), headers)


def account_of_key(key: bytes) -> events.AccountKey:
    """The account of a record key, as its events and its balance have it."""
    return events.AccountKey(*map(unquote, key.decode().split("/")))


def seq_of(value: bytes) -> int | None:
    """The sequence number in an event's value; None if no account is concerned."""
    seq: int | None = msgspec.json.decode(value)["seq"]
    return seq


def restated(
    value: bytes, headers: Iterable[tuple[str, bytes | None]], event_id: UUID, epoch: int, voids_from: int
) -> tuple[bytes, Headers]:
    """An event's value and headers under a different epoch."""
    changed = {"event_id": event_id, "epoch": epoch, "voids_from": voids_from}
    new_headers = tuple(
        (name, str(event_id).encode() if name == "ce_id" else content) for name, content in headers
    )
    return _bytes(msgspec.json.decode(value) | changed), new_headers


def _body(body: events.EventBody, currency: str) -> tuple[str, Json]:
    match body:
        case events.CreditIssued():
            return "credit-issued", _issued(body, currency)
        case events.CreditApplied():
            return "credit-applied", _applied(body, currency)
        case events.CreditReserved():
            return "credit-reserved", _reserved(body, currency)
        case events.CreditReinstated():
            return "credit-reinstated", _reinstated(body, currency)
        case events.CreditRefunded():
            return "credit-refunded", _refunded(body, currency)
        case events.CreditDrawn():
            return "credit-drawn", _drawn(body, currency)
        case events.CreditVoided():
            return "credit-voided", _ended(body, currency, body.reason)
        case events.CreditExpired():
            return "credit-expired", _ended(body, currency, "expired")
        case _:
            return _unmoved(body, currency)


def _unmoved(
    body: events.CreditRefillRequested
    | events.CreditNoteIssued
    | events.CreditShortfall
    | events.CreditDeclined,
    currency: str,
) -> tuple[str, Json]:
    """Topic and fields of an event that moves no credit."""
    match body:
        case events.CreditRefillRequested():
            return "credit-refill-requested", {
                "amount": format_decimal(body.amount, currency),
                "threshold": format_decimal(body.threshold, currency),
            }
        case events.CreditNoteIssued():
            return "credit-note-issued", {
                "credit_note": body.credit_note,
                "invoice_id": body.invoice_id,
                "amount": format_decimal(body.amount, currency),
            }
        case events.CreditShortfall():
            return "credit-shortfall", {
                "amount": format_decimal(body.amount, currency),
                "outstanding": format_decimal(body.outstanding, currency),
                "reason": body.reason,
                "for": _for(body.short_of),
            }
        case events.CreditDeclined():
            return "credit-declined", {
                "asked": body.asked,
                "reason": body.reason,
                "facts": body.facts,
                "would_change_it": body.would_change_it,
                "final": body.final,
            }
        case _:
            assert_never(body)


def _cause(cause: events.Cause, by: Actor | None) -> Json:
    return {"topic": cause.topic, "event_id": cause.event_id, "by": by._asdict() if by is not None else None}


def _ended(body: events.CreditVoided | events.CreditExpired, currency: str, reason: str) -> Json:
    return {
        "grant_id": body.grant_id,
        "amount": format_decimal(body.amount, currency),
        "reason": reason,
        "source": body.source,
        "document": _document(body.document),
    }


def _document(document: events.Document | None) -> Json | None:
    if document is None:
        return None
    return {
        "invoice_id": document.invoice_id,
        "line_id": document.line_id,
        "payment_id": document.payment_id,
    }


def _reserved(body: events.CreditReserved, currency: str) -> Json:
    return {
        "application_id": body.application_id,
        "grant_id": body.grant_id,
        "amount": format_decimal(body.amount, currency),
        "invoice_id": body.invoice_id,
    }


def _refunded(body: events.CreditRefunded, currency: str) -> Json:
    return {
        "amount": format_decimal(body.amount, currency),
        "slices": _slices(body.slices, currency),
        "reference": body.reference,
    }


def _drawn(body: events.CreditDrawn, currency: str) -> Json:
    return {
        "draw_id": body.draw_id,
        "amount": format_decimal(body.amount, currency),
        "asked": format_decimal(body.asked, currency),
        "slices": _slices(body.slices, currency),
        "reference": body.reference,
    }


def _issued(body: events.CreditIssued, currency: str) -> Json:
    return {
        "grant_id": body.grant_id,
        "amount": format_decimal(body.amount, currency),
        "source": body.source,
        "reason": body.reason,
        "note": body.note,
        "priority": body.priority,
        "effective_at": _time(body.effective_at),
        "expires_at": _time(body.expires_at) if body.expires_at is not None else None,
        "document": _document(body.document),
        "line_item": _line_item(body.line_item, currency) if body.line_item is not None else None,
        "overtakes": [] if body.overtakes is None else [body.overtakes],
    }


def _line_item(item: events.LineItem, currency: str) -> Json:
    return {
        "credit_line_id": item.credit_line_id,
        "description": item.description,
        "amount": format_decimal(item.amount, currency),
        "tax": format_decimal(item.tax, currency),
        "for": _for(item.credit_for),
    }


def _applied(body: events.CreditApplied, currency: str) -> Json:
    return {
        "application_id": body.application_id,
        "invoice_id": body.invoice_id,
        "amount": format_decimal(body.amount, currency),
        "amount_due": format_decimal(body.amount_due, currency),
        "by": body.by,
        "slices": _slices(body.slices, currency),
    }


def _reinstated(body: events.CreditReinstated, currency: str) -> Json:
    return {
        "application_id": body.application_id,
        "from": body.undone,
        "invoice_id": body.invoice_id,
        "amount": format_decimal(body.amount, currency),
        "amount_due": format_decimal(body.amount_due, currency) if body.amount_due is not None else None,
        "slices": _slices(body.slices, currency),
        "reason": body.reason,
    }


def _slices(slices: Iterable[events.Slice], currency: str) -> list[Json]:
    return [
        {
            "grant_id": each.grant_id,
            "amount": format_decimal(each.amount, currency),
            "source": each.source,
        }
        for each in slices
    ]


def _for(credit_for: events.CreditFor) -> Json:
    if credit_for.payment_id is not None:
        return {"payment_id": credit_for.payment_id}
    return {
        "invoice_id": credit_for.invoice_id,
        "line_id": credit_for.line_id,
        "booking_id": credit_for.booking_id,
        "plan_id": credit_for.plan_id,
    }


def _balance(event: events.Event, currency: str | None) -> Json | None:
    if currency is None or event.available is None or event.reserved is None:
        return None
    return {
        "available": format_decimal(event.available, currency),
        "reserved": format_decimal(event.reserved, currency),
    }


def _owner(owner: Owner) -> Json:
    return {"type": owner.type, "id": owner.id}


@lru_cache(maxsize=1_024)
def _time(time: datetime) -> str:
    return time.astimezone(UTC).isoformat().removesuffix("+00:00") + "Z"


@lru_cache(maxsize=16_384)
def _account_key(account: events.AccountKey) -> str:
    # Ids may contain slashes: unless they are encoded, two accounts could have one key.
    return "/".join(quote(part, safe="") for part in account)


def _headers(topic: str, event_id: UUID, time: str, ce_source: str) -> Headers:
    return (
        ("content-type", b"application/json"),
        ("ce_specversion", b"1.0"),
        ("ce_id", str(event_id).encode()),
        ("ce_source", ce_source.encode()),
        ("ce_type", f"avoir.{topic}.v1".encode()),
        ("ce_time", time.encode()),
    )


def _bytes(value: Json) -> bytes:
    return _JSON.encode(value)
