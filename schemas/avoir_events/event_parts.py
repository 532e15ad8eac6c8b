"""Parts of events: envelope, accounts, balances, slices of grants, line items."""

from typing import Annotated, Literal

from pydantic import Field

from avoir_events.parts import Actor, Owner, Part
from avoir_events.scalars import AboveZero, AtLeastZero, AtMostZero, Currency, Id, SequenceNumber, Text, Time

__all__ = [
    "Account",
    "Balance",
    "Cause",
    "Document",
    "LineItem",
    "Slice",
]

# Limits the size of an event: the broker must accept every one.
MAX_SLICES = 500

Source = Literal[
    "booking_cancelled",
    "booking_shortened",
    "plan_cancelled",
    "overpayment",
    "prepaid",
    "negative_invoice",
    "granted",
]


class Account(Part):
    """One owner's credit in one currency."""

    owner: Owner
    """Who holds the credit."""
    currency: Currency
    """ISO 4217 code of every amount in the message."""


class Balance(Part):
    """An account's balance after an event; never below zero."""

    available: AtLeastZero
    """Credit free to use."""
    reserved: AtLeastZero
    """Credit reserved for invoices to come."""


class Cause(Part):
    """The message that caused an event."""

    topic: Id
    """Its topic, by the default name."""
    event_id: Id
    """Its event id."""
    by: Actor | None = None
    """The actor of the command; null if the message is a fact."""


class Document(Part):
    """The invoice or payment that a grant comes from."""

    invoice_id: Id | None
    """The invoice; null for an overpayment."""
    line_id: Id | None
    """The line; null if the credit doesn't come from a single line."""
    payment_id: Id | None
    """The payment whose overpayment it is; null for any other credit."""


EventIds = Annotated[tuple[Id, ...], Field(strict=False, max_length=10)]


class Slice(Part):
    """The part of one grant that was used."""

    grant_id: Id
    """The grant."""
    amount: AboveZero
    """How much of it."""
    source: Source
    """Where the grant came from."""


Slices = Annotated[tuple[Slice, ...], Field(strict=False, max_length=MAX_SLICES)]


class LineFor(Part):
    """The invoice, and the line if there is one, that credit was given for."""

    invoice_id: Id
    """The invoice."""
    line_id: Id | None
    """The line; null if the whole invoice is meant."""
    booking_id: Id | None
    """The booking that the line charges."""
    plan_id: Id | None
    """The plan that the line charges."""


class PaymentFor(Part):
    """The payment that credit was given for."""

    payment_id: Id
    """The payment."""


class LineItem(Part):
    """The line item that shows a grant on an invoice."""

    credit_line_id: Id
    """The `credit_line_id` to put on the invoice line: the grant's id."""
    description: Text
    """What to print."""
    amount: AtMostZero
    """Net amount of the line, at most zero."""
    tax: AtMostZero
    """Tax of the line, at most zero."""
    for_: LineFor = Field(alias="for")
    """What the credit was given for."""


class Recorded(Part):
    """Fields of every event except `credit-balance` and `credit-dead-letter`."""

    event_id: Id
    """A UUID, the same however often the event is published in its epoch."""
    tenant_id: Id
    """The operator whose customers these are."""
    occurred_at: Time
    """When the cause happened; for an expiry `expires_at`, for a grant that takes effect later its `effective_at`."""
    recorded_at: Time
    """When Avoir recorded it."""
    caused_by: Cause | None
    """The message that caused it; null if time alone did."""
    epoch: SequenceNumber
    """Rises when sequence numbers may come again; (epoch, seq) orders an account's events."""
    voids_from: SequenceNumber | None = None
    """From this `seq` on, none of the account's events of earlier epochs counts; null: all of them count."""


class Event(Recorded):
    """An event of an account."""

    account: Account
    """The account concerned."""
    seq: SequenceNumber
    """1, 2, 3 ... without gaps over all events of the account; drop what is not above the last (epoch, seq)."""
    balance: Balance
    """The account's balance after this event."""
