"""Events: one frozen value each, amounts in micros, times in UTC."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, NamedTuple
from uuid import UUID

from msgspec import Struct

from avoir.core.model.commands import Actor
from avoir.core.model.facts import Owner
from avoir.core.model.reasons import (
    AppliedBy,
    GrantReason,
    NothingGiven,
    Refusal,
    ShortfallReason,
    Source,
)


class AccountKey(NamedTuple):
    """One owner's credit in one currency, within a tenant."""

    tenant_id: str
    owner_type: str
    owner_id: str
    currency: str

    @property
    def owner(self) -> Owner:
        """Holder of the credit."""
        return Owner(self.owner_type, self.owner_id)


class CreditFor(Struct, frozen=True):
    """The invoice line, or else the payment, that credit was given for."""

    invoice_id: str | None = None
    line_id: str | None = None
    booking_id: str | None = None
    plan_id: str | None = None
    payment_id: str | None = None


class Document(Struct, frozen=True):
    """The invoice or the payment that a grant comes from; `line_id` if it comes from one line of the invoice."""

    invoice_id: str | None = None
    line_id: str | None = None
    payment_id: str | None = None


class LineItem(Struct, frozen=True):
    """A grant as a line of an invoice: `amount` and `tax` are zero or below."""

    credit_line_id: UUID
    description: str
    amount: int
    tax: int
    credit_for: CreditFor


class Slice(Struct, frozen=True):
    """The part of one grant that was used."""

    grant_id: UUID
    amount: int
    source: Source


class CreditIssued(Struct, frozen=True):
    """Credit given; `overtakes` is the `credit-declined` that it turns around, if there is one."""

    grant_id: UUID
    amount: int
    source: Source
    reason: Source | GrantReason
    note: str | None
    priority: int
    effective_at: datetime
    expires_at: datetime | None
    document: Document | None
    line_item: LineItem | None
    overtakes: UUID | None = None


class CreditApplied(Struct, frozen=True):
    application_id: UUID
    invoice_id: str
    amount: int
    amount_due: int
    by: AppliedBy
    slices: tuple[Slice, ...]


class CreditReserved(Struct, frozen=True):
    """Credit of one grant reserved for an invoice to come; `invoice_id` None is the owner's next one."""

    application_id: UUID
    grant_id: UUID
    amount: int
    invoice_id: str | None


class CreditReinstated(Struct, frozen=True):
    """The undo of an application, or the release of a reservation (`undone`)."""

    application_id: UUID
    undone: Literal["application", "reservation"]
    invoice_id: str | None
    amount: int
    amount_due: int | None
    slices: tuple[Slice, ...]
    reason: str


class CreditVoided(Struct, frozen=True):
    grant_id: UUID
    amount: int
    reason: str
    source: Source
    document: Document | None


class CreditExpired(Struct, frozen=True):
    grant_id: UUID
    amount: int
    source: Source
    document: Document | None


class CreditRefunded(Struct, frozen=True):
    """Credit that was paid out in money."""

    amount: int
    slices: tuple[Slice, ...]
    reference: str


class CreditDrawn(Struct, frozen=True):
    """Credit used for a piece of usage; `asked` is what the command wanted."""

    draw_id: UUID
    amount: int
    asked: int
    slices: tuple[Slice, ...]
    reference: str


class CreditRefillRequested(Struct, frozen=True):
    """Available credit fell below `threshold`: a refill of `amount` is requested, once until one comes."""

    amount: int
    threshold: int


class CreditNoteIssued(Struct, frozen=True):
    credit_note: str
    invoice_id: str
    amount: int


class CreditShortfall(Struct, frozen=True):
    """Credit that could not be taken back.

    `amount` is the change (negative: made up for), `outstanding` the shortfall after it.
    """

    amount: int
    outstanding: int
    reason: ShortfallReason
    short_of: CreditFor


class CreditDeclined(Struct, frozen=True):
    """A change that gave nothing, or a command that was refused; not `final` if facts to come may turn it around.

    `asked` and `facts` hold JSON values, amounts as decimal strings.
    """

    asked: Mapping[str, Any]
    reason: NothingGiven | Refusal
    facts: Mapping[str, Any]
    would_change_it: str
    final: bool


EventBody = (
    CreditIssued
    | CreditApplied
    | CreditReserved
    | CreditReinstated
    | CreditVoided
    | CreditRefunded
    | CreditExpired
    | CreditDrawn
    | CreditRefillRequested
    | CreditNoteIssued
    | CreditShortfall
    | CreditDeclined
)


class Cause(NamedTuple):
    """The message that caused an event."""

    topic: str
    event_id: str


class Event(Struct, frozen=True):
    """An event with its envelope; `available` and `reserved` are the account's balance after it.

    `by` is the actor of the command that caused it, if one did.
    If no account is concerned, `account`, `seq` and the balance are None and `owner` is the requester, if known. From
    the number `voids_from` on, no event of an earlier epoch counts for the account.
    """

    event_id: UUID
    tenant_id: str
    owner: Owner | None
    account: AccountKey | None
    occurred_at: datetime
    recorded_at: datetime
    caused_by: Cause | None
    epoch: int
    seq: int | None
    available: int | None
    reserved: int | None
    body: EventBody
    voids_from: int | None = None
    by: Actor | None = None


class Balance(Struct, frozen=True):
    """Latest balance of an account (`credit-balance`), with `event_id` and `seq` of its last event."""

    event_id: UUID
    account: AccountKey
    available: int
    reserved: int
    as_of: datetime
    epoch: int
    seq: int
    head: bytes
    voids_from: int | None = None
