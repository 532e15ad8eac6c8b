"""What Avoir tells others: one frozen value an event, amounts in micros, times in UTC."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NamedTuple
from uuid import UUID

from avoir.core.facts import Owner

Source = Literal[
    "booking_cancelled",
    "booking_shortened",
    "plan_cancelled",
    "overpayment",
    "prepaid",
    "negative_invoice",
    "granted",
]
AppliedBy = Literal["auto", "command", "line_item", "reservation"]
ShortfallReason = Literal["invoice_voided", "payment_reversed", "changed", "credit_line"]


class AccountKey(NamedTuple):
    """One owner's credit in one currency, within a tenant."""

    tenant_id: str
    owner_type: str
    owner_id: str
    currency: str

    @property
    def owner(self) -> Owner:
        """Who holds the credit."""
        return Owner(self.owner_type, self.owner_id)


@dataclass(frozen=True, slots=True)
class CreditFor:
    """The invoice line, or else the payment, that credit was given for."""

    invoice_id: str | None = None
    line_id: str | None = None
    booking_id: str | None = None
    plan_id: str | None = None
    payment_id: str | None = None


@dataclass(frozen=True, slots=True)
class LineItem:
    """How a grant shows on an invoice: `amount` and `tax` are zero or below."""

    credit_line_id: UUID
    description: str
    amount: int
    tax: int
    credit_for: CreditFor


@dataclass(frozen=True, slots=True)
class Slice:
    """The part of one grant that was used."""

    grant_id: UUID
    amount: int
    source: Source


@dataclass(frozen=True, slots=True)
class CreditIssued:
    grant_id: UUID
    amount: int
    source: Source
    reason: str
    note: str | None
    priority: int
    effective_at: datetime
    expires_at: datetime | None
    line_item: LineItem | None


@dataclass(frozen=True, slots=True)
class CreditApplied:
    application_id: UUID
    invoice_id: str
    amount: int
    amount_due: int
    by: AppliedBy
    slices: tuple[Slice, ...]


@dataclass(frozen=True, slots=True)
class CreditReinstated:
    """The undo of an application, or the release of a reservation (`undone`)."""

    application_id: UUID
    undone: Literal["application", "reservation"]
    invoice_id: str | None
    amount: int
    amount_due: int | None
    slices: tuple[Slice, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class CreditVoided:
    grant_id: UUID
    amount: int
    reason: str


@dataclass(frozen=True, slots=True)
class CreditExpired:
    grant_id: UUID
    amount: int


@dataclass(frozen=True, slots=True)
class CreditNoteIssued:
    credit_note: str
    invoice_id: str
    amount: int


@dataclass(frozen=True, slots=True)
class CreditShortfall:
    """What could not be taken back: `amount` is the change (negative: made up for), `outstanding` what is left."""

    amount: int
    outstanding: int
    reason: ShortfallReason
    short_of: CreditFor


@dataclass(frozen=True, slots=True)
class CreditDeclined:
    """A change that gave nothing; `asked` and `facts` hold JSON values, amounts as decimal strings."""

    asked: Mapping[str, Any]
    reason: str
    facts: Mapping[str, Any]
    would_change_it: str


EventBody = (
    CreditIssued
    | CreditApplied
    | CreditReinstated
    | CreditVoided
    | CreditExpired
    | CreditNoteIssued
    | CreditShortfall
    | CreditDeclined
)


class Cause(NamedTuple):
    """The message that caused an event."""

    topic: str
    event_id: str


@dataclass(frozen=True, slots=True)
class Event:
    """An event with its envelope; `available` and `reserved` are the account's balance after it.

    Where no account is concerned `account`, `seq` and the balance are None and `owner` says who asked.
    """

    event_id: UUID
    tenant_id: str
    owner: Owner
    account: AccountKey | None
    occurred_at: datetime
    recorded_at: datetime
    caused_by: Cause | None
    epoch: int
    seq: int | None
    available: int | None
    reserved: int | None
    body: EventBody


@dataclass(frozen=True, slots=True)
class Balance:
    """The latest standing of an account (`credit-balance`): `event_id` and `seq` of the event it stands at."""

    event_id: UUID
    account: AccountKey
    available: int
    reserved: int
    as_of: datetime
    epoch: int
    seq: int
    head: bytes
