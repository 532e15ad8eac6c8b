"""Events: what Avoir did, in order for each account."""

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from avoir_events.commands import MAX_PRIORITY
from avoir_events.event_parts import (
    Account,
    Balance,
    Document,
    Event,
    EventIds,
    LineFor,
    LineItem,
    PaymentFor,
    Recorded,
    Slices,
    Source,
)
from avoir_events.parts import Owner, Part
from avoir_events.patterns import HASH
from avoir_events.scalars import (
    AboveZero,
    Amount,
    AtLeastZero,
    Currency,
    Id,
    SequenceNumber,
    SequenceNumberOrZero,
    Text,
    Time,
)

__all__ = [
    "CreditApplied",
    "CreditBalance",
    "CreditDeadLetter",
    "CreditDeclined",
    "CreditDrawn",
    "CreditExpired",
    "CreditIssued",
    "CreditNoteIssued",
    "CreditRefillRequested",
    "CreditRefunded",
    "CreditReinstated",
    "CreditReserved",
    "CreditShortfall",
    "CreditVoided",
]

DeclineReason = Literal[
    "not_billed",
    "billed_after_change",
    "unpaid",
    "free",
    "not_requested",
    "already_credited",
    "nothing_unused",
    "superseded",
    "insufficient_credit",
    "currency_mismatch",
    "unknown_invoice",
    "unknown_grant",
    "unknown_application",
    "invoice_settled",
    "invoice_voided",
    "credit_expired",
    "duplicate",
    "conflict",
    "malformed",
]
Hash = Annotated[str, StringConstraints(strict=True, pattern=HASH)]


class CreditIssued(Event):
    """Credit was given."""

    grant_id: Id
    """The grant made."""
    amount: AboveZero
    """How much."""
    source: Source
    """Where it came from."""
    reason: Text
    """Why: the source, or the reason of the command."""
    note: Text | None
    """The note of the command."""
    priority: Annotated[int, Field(ge=0, le=MAX_PRIORITY)]
    """Credit of the lowest priority number is used first."""
    effective_at: Time
    """When it takes effect."""
    expires_at: Time | None
    """When what remains expires; null: never."""
    line_item: LineItem | None
    """How to show it on an invoice; null unless a booking or plan gave the credit."""
    document: Document | None = None
    """The invoice or payment that it comes from; null for a grant by command."""
    overtakes: EventIds = ()
    """The event ids of the `credit-declined` that it turns around; they were not final."""


class CreditApplied(Event):
    """Credit was used on an invoice."""

    application_id: Id
    """The application; reject or reinstate it by this id."""
    invoice_id: Id
    """The invoice."""
    amount: AboveZero
    """How much was used."""
    amount_due: AtLeastZero
    """What is still due on the invoice."""
    by: Literal["auto", "command", "line_item", "reservation"]
    """What made it happen."""
    slices: Slices
    """The grants used, in that order."""


class CreditReserved(Event):
    """Credit of one grant was reserved for an invoice."""

    application_id: Id
    """The reservation; the `credit-applied` that first uses it for its invoice has the same id."""
    grant_id: Id
    """The grant."""
    amount: AboveZero
    """How much."""
    invoice_id: Id | None
    """The invoice that it is for; null: the owner's next, on which it is a line."""


class CreditReinstated(Event):
    """An application was undone, or a reservation released."""

    application_id: Id
    """The application or reservation."""
    from_: Literal["application", "reservation"] = Field(alias="from")
    """Which of the two was undone."""
    invoice_id: Id | None
    """The invoice; null if the reservation named none."""
    amount: AboveZero
    """How much goes back to available."""
    amount_due: AtLeastZero | None
    """Amount due on the invoice now; null if no invoice is known."""
    slices: Slices
    """The grants that got it back."""
    reason: Text
    """Why."""


class CreditVoided(Event):
    """The rest of a grant, or a part of it, was taken back by decision."""

    grant_id: Id
    """The grant."""
    amount: AboveZero
    """How much."""
    reason: Text
    """The command's reason, or invoice_voided, payment_reversed, changed, payment_settled_invoice."""
    source: Source | None = None
    """Where the grant came from; null only in events of a version before."""
    document: Document | None = None
    """The invoice or payment that the grant comes from; null for a grant by command."""


class CreditExpired(Event):
    """The rest of a grant expired."""

    grant_id: Id
    """The grant."""
    amount: AboveZero
    """How much."""
    reason: Literal["expired"]
    """Always `expired`."""
    source: Source | None = None
    """Where the grant came from; null only in events of a version before."""
    document: Document | None = None
    """The invoice or payment that the grant comes from; null for a grant by command."""


class CreditRefunded(Event):
    """Credit was paid out in money."""

    amount: AboveZero
    """How much."""
    slices: Slices
    """The grants it came from, in that order."""
    reference: Text
    """The command's reference."""


class CreditDrawn(Event):
    """Credit was used for a piece of usage."""

    draw_id: Id
    """The draw."""
    amount: AboveZero
    """How much was drawn."""
    asked: AboveZero
    """How much was asked for; if several events report one draw, their `asked` add up to it."""
    slices: Slices
    """The grants it came from, in that order."""
    reference: Text
    """The command's reference."""


class CreditRefillRequested(Event):
    """Available credit fell below the threshold; requested once until a refill comes."""

    amount: AboveZero
    """How much the refill should be."""
    threshold: AtLeastZero
    """The threshold it fell below."""


class CreditNoteIssued(Event):
    """An invoice with a negative total became a credit note."""

    credit_note: Text
    """The credit note's number: the invoice's with `-CN1`."""
    invoice_id: Id
    """The invoice."""
    amount: AboveZero
    """The credit that it gave."""


class CreditShortfall(Event):
    """Credit that should have been taken back was already spent, or a credit line used more than its grant held."""

    amount: Amount
    """The change; negative if some of the shortfall is made up for."""
    outstanding: AtLeastZero
    """What is short now."""
    reason: Literal["invoice_voided", "payment_reversed", "changed", "credit_line"]
    """Why it should have been taken back, or was missing (credit_line)."""
    for_: LineFor | PaymentFor = Field(alias="for")
    """What the credit was given for, or the credit line."""


class AccountConcerned(Part):
    """The owner and currency that a refusal is about."""

    owner: Owner | None
    """Who asked or made the change; null if unknown."""
    currency: Currency | None
    """Null if no account is concerned."""


class CreditDeclined(Recorded):
    """A change that gave nothing, or a command that was refused."""

    account: AccountConcerned
    """The account concerned; its currency is null if there is none."""
    seq: SequenceNumber | None
    """As in every event; null if no account is concerned."""
    balance: Balance | None
    """The account's balance; null if no account is concerned."""
    asked: dict[str, Any]
    """What was asked for."""
    reason: DeclineReason
    """Why not."""
    facts: dict[str, Any]
    """The ids and amounts that decided it."""
    would_change_it: Text
    """What would have to happen for a different answer."""
    final: bool | None = None
    """False if facts to come may turn it around: a `credit-issued` then names this event in `overtakes`. Null only in
    events of a version before."""


class CreditBalance(Part):
    """The latest balance of an account; the topic is compacted."""

    tenant_id: Id
    """The operator whose customers these are."""
    account: Account
    """The account."""
    available: AtLeastZero
    """Credit free to use."""
    reserved: AtLeastZero
    """Credit reserved for invoices to come."""
    as_of: Time
    """When the event was recorded that this balance follows."""
    epoch: SequenceNumber
    """The epoch of that event."""
    seq: SequenceNumberOrZero
    """The sequence number of that event; 0 if none of the account's events counts any more."""
    voids_from: SequenceNumber | None = None
    """As in every event: from this `seq` on, none of the account's events of earlier epochs counts."""
    head: Hash
    """Hash of the account's last ledger entry, SHA-256 in hexadecimal."""


class CreditDeadLetter(Part):
    """The headers added to a message that could not be handled; everything else is unchanged."""

    reason: str = Field(alias="avoir-reason")
    """What is wrong with it."""
    topic: str = Field(alias="avoir-topic")
    """The topic it came from."""
    partition: Annotated[str, StringConstraints(pattern=r"^[0-9]+$")] = Field(alias="avoir-partition")
    """The partition it came from."""
    offset: Annotated[str, StringConstraints(pattern=r"^[0-9]+$")] = Field(alias="avoir-offset")
    """Its offset there."""
    sha256: Hash | None = Field(default=None, alias="avoir-sha256")
    """Only if the value was above the size limit and is null here: SHA-256 of the value."""
    length: Annotated[str, StringConstraints(pattern=r"^[0-9]+$")] | None = Field(
        default=None, alias="avoir-length"
    )
    """Only then: the length of the value in bytes."""
    dead_letter_id: str | None = Field(default=None, alias="avoir-dead-letter-id")
    """Only then: the row of Avoir's dead-letter table that keeps all bytes, or the first ones if there are more than
    1 MB."""
    first_offset: Annotated[str, StringConstraints(pattern=r"^[0-9]+$")] | None = Field(
        default=None, alias="avoir-first-offset"
    )
    """Only if a part of a batch is too large to be unpacked: it holds all messages from here to the offset, and hash
    and length are those of the compressed part."""
