"""Facts: one frozen value each, amounts in micros, times in UTC."""

from datetime import datetime
from typing import Literal, NamedTuple

from msgspec import Struct

LineKind = Literal["booking", "plan", "prepaid", "credit", "other"]
SubjectKind = Literal["booking", "plan"]
ChangedBy = Literal["customer", "admin"]
Unused = Literal["whole_periods", "prorate"]
ReversalReason = Literal["refund", "chargeback", "failed"]


class Owner(NamedTuple):
    """Holder of credit."""

    type: str
    id: str


class Subject(NamedTuple):
    """Subject of a message, for looking up decisions: an owner's id is `type/id`, a policy's is its scope."""

    kind: Literal["invoice", "booking", "plan", "payment", "application", "grant", "owner", "policy"]
    id: str


class Period(NamedTuple):
    """A half-open span of time: `start` counts, `end` does not."""

    start: datetime
    end: datetime


class InvoiceLine(Struct, frozen=True):
    """One line of an invoice; `subject_id` is the booking or plan it bills."""

    line_id: str
    kind: LineKind
    subject_id: str | None
    period: Period | None
    amount: int
    tax: int
    credit_line_id: str | None = None
    expires_at: datetime | None = None


class InvoiceFinalized(Struct, frozen=True):
    invoice_id: str
    number: str
    owner: Owner
    currency: str
    automatic: bool
    auto_apply: bool | None
    lines: tuple[InvoiceLine, ...]
    total: int
    amount_paid: int

    @property
    def subject(self) -> Subject:
        return Subject("invoice", self.invoice_id)


class BookingCancelled(Struct, frozen=True):
    """A cancelled booking; `fee` (tax included) is kept, in `currency`."""

    booking_id: str
    owner: Owner
    changed_by: ChangedBy
    revision: int | None = None
    create_credit: bool | None = None
    fee: int = 0
    currency: str | None = None

    @property
    def subject(self) -> Subject:
        return Subject("booking", self.booking_id)


class BookingShortened(Struct, frozen=True):
    """A shortened booking: by the two periods, or by the two prices with `currency`."""

    booking_id: str
    owner: Owner
    changed_by: ChangedBy
    revision: int | None = None
    create_credit: bool | None = None
    billed_period: Period | None = None
    remaining_period: Period | None = None
    billed_price: int | None = None
    remaining_price: int | None = None
    currency: str | None = None

    @property
    def subject(self) -> Subject:
        return Subject("booking", self.booking_id)


class PlanCancelled(Struct, frozen=True):
    plan_id: str
    owner: Owner
    changed_by: ChangedBy
    effective_at: datetime
    unused: Unused
    revision: int | None = None
    create_credit: bool | None = None

    @property
    def subject(self) -> Subject:
        return Subject("plan", self.plan_id)


class PaymentRecorded(Struct, frozen=True):
    payment_id: str
    owner: Owner
    amount: int
    currency: str
    invoice_ids: tuple[str, ...]

    @property
    def subject(self) -> Subject:
        return Subject("payment", self.payment_id)


class PaymentReversed(Struct, frozen=True):
    reversal_id: str
    payment_id: str
    amount: int
    currency: str
    reason: ReversalReason

    @property
    def subject(self) -> Subject:
        return Subject("payment", self.payment_id)


class InvoiceVoided(Struct, frozen=True):
    invoice_id: str
    reason: str

    @property
    def subject(self) -> Subject:
        return Subject("invoice", self.invoice_id)


class ApplicationRejected(Struct, frozen=True):
    """The invoicing service could not use an application (topic `credit-application-rejected`)."""

    application_id: str
    reason: str

    @property
    def subject(self) -> Subject:
        return Subject("application", self.application_id)


Fact = (
    InvoiceFinalized
    | BookingCancelled
    | BookingShortened
    | PlanCancelled
    | PaymentRecorded
    | PaymentReversed
    | InvoiceVoided
    | ApplicationRejected
)
