"""Rows of the core: frozen values, each with its unique key."""

from datetime import UTC, datetime
from typing import ClassVar, Literal, NamedTuple
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from avoir.core.model.commands import Actor
from avoir.core.model.events import AccountKey, Balance, Document
from avoir.core.model.facts import ChangedBy, LineKind, Owner, Period, SubjectKind, Unused
from avoir.core.model.ids import derived_id, parse_id
from avoir.core.model.reasons import AppliedBy, GrantReason, ShortfallReason, Source
from avoir.core.model.rules import REAL_LIFE

PaymentKind = Literal["payment", "amount_paid"]
EntitlementKind = Literal["line", "payment", "amount_paid", "negative_total", "credit_line"]
ReservedFor = Literal["line_item", "command"]

# Sorts after every `expires_at`.
NEVER = datetime.max.replace(tzinfo=UTC)


class InvoiceKey(NamedTuple):
    tenant_id: str
    invoice_id: str


class SubjectKey(NamedTuple):
    """A booking or a plan."""

    tenant_id: str
    kind: SubjectKind
    id: str


class PaymentKey(NamedTuple):
    """A payment; an invoice's `amount_paid` is one too, of that kind and with the invoice's id."""

    tenant_id: str
    kind: PaymentKind
    id: str


class EntitlementKey(NamedTuple):
    """Something that credit can be due for: an invoice line, what a payment has left, or an invoice's negative total.

    A `credit_line` is the opposite: an invoice line that used more than its grant held, for which nothing is due.
    """

    tenant_id: str
    kind: EntitlementKind
    id: str
    line_id: str


class GrantKey(NamedTuple):
    tenant_id: str
    id: UUID

    @classmethod
    def parse(cls, tenant_id: str, grant_id: str | None) -> "GrantKey | None":
        """Key of a grant that a message names; None for an id that Avoir can't have made."""
        parsed = parse_id(grant_id) if grant_id is not None else None
        return None if parsed is None else cls(tenant_id, parsed)


class ApplicationKey(NamedTuple):
    tenant_id: str
    id: UUID

    @classmethod
    def parse(cls, tenant_id: str, application_id: str) -> "ApplicationKey":
        """Key of an application that a message names; for an id that Avoir can't have made, a key that none has."""
        return cls(tenant_id, parse_id(application_id) or UUID(int=0))


class ReservationKey(NamedTuple):
    """Reservation of one grant by one application."""

    tenant_id: str
    application_id: UUID
    grant_id: UUID


class ReferenceKey(NamedTuple):
    """The producer's own key of a grant."""

    tenant_id: str
    reference: str


class ReversalKey(NamedTuple):
    tenant_id: str
    id: str


class ChangeKey(NamedTuple):
    tenant_id: str
    topic: str
    event_id: str


class InboxKey(NamedTuple):
    tenant_id: str
    topic: str
    event_id: str


class Account(Struct, frozen=True):
    """One owner's credit in one currency, with the number of its last event and the head of its hash chain.

    `refill_asked` is true from a refill request until prepaid credit comes. `epoch` is that of the last event;
    `epoch_from` is the number of its first event in that epoch.
    """

    key: AccountKey
    available: int
    reserved: int
    seq: int
    head: bytes
    refill_asked: bool = False
    epoch: int = 1
    epoch_from: int = 1

    def following(self, epoch: int) -> "Account":
        """The account at its next event, under this epoch."""
        if epoch == self.epoch:
            return replace(self, seq=self.seq + 1)
        return replace(self, seq=self.seq + 1, epoch=epoch, epoch_from=self.seq + 1)

    def voids_from(self, epoch: int) -> int | None:
        """Number from which events of earlier epochs are void under this epoch; None in the first epoch."""
        if epoch == 1:
            return None
        return self.epoch_from if epoch == self.epoch else self.seq + 1

    def event_id(self, epoch: int) -> UUID:
        """The id of the account's last event."""
        return derived_id(*self.key, epoch, self.seq)

    def balance(self, event_id: UUID, epoch: int, as_of: datetime) -> Balance:
        """Balance of the account after its last event, which is `event_id`."""
        return Balance(
            event_id=event_id,
            account=self.key,
            available=self.available,
            reserved=self.reserved,
            as_of=as_of,
            epoch=epoch,
            seq=self.seq,
            head=self.head,
            voids_from=self.voids_from(epoch),
        )


class Invoice(Struct, frozen=True):
    """An invoice; `settled` is paid in money, `applied` with credit, `settled_at` is the time of the last of these.

    `restored` is what its credit lines no longer take off the total, because their use was reinstated.
    """

    key: InvoiceKey
    account: AccountKey
    number: str
    finalized_at: datetime
    total: int
    amount_paid: int
    automatic: bool
    barred: bool
    voided: bool
    settled: int
    applied: int
    settled_at: datetime
    event_id: str
    contents: bytes
    restored: int = 0

    @property
    def charged(self) -> int:
        """Total to pay, in micros; negative if credit is due instead."""
        return self.total + self.restored

    @property
    def due(self) -> int:
        """Amount still due, in micros: zero for a void invoice and a credit note."""
        return 0 if self.voided else max(self.charged, 0) - self.settled - self.applied

    @property
    def takes_credit(self) -> bool:
        """Check whether it takes available credit automatically: something is due, and automatic use is not barred."""
        return self.automatic and not self.barred and self.due > 0

    @property
    def sort_key(self) -> tuple[datetime, InvoiceKey]:
        """Sort key in the order in which invoices are paid: oldest finalization first."""
        return self.finalized_at, self.key


class Line(Struct, frozen=True):
    """An invoice line; `cost` is its total less its share of the invoice's discounts.

    `cost_tax` is the tax in it; None if that is in the proportion of the line's own tax.
    """

    invoice: InvoiceKey
    position: int
    line_id: str
    kind: LineKind
    subject_id: str | None
    period: Period | None
    amount: int
    tax: int
    cost: int
    cost_tax: int | None
    credit_line_id: str | None
    expires_at: datetime | None

    @property
    def key(self) -> EntitlementKey:
        """Entitlement key of this line."""
        return EntitlementKey(self.invoice.tenant_id, "line", self.invoice.invoice_id, self.line_id)

    @property
    def credit_grant(self) -> "GrantKey | None":
        """The grant that a credit line names."""
        return GrantKey.parse(self.invoice.tenant_id, self.credit_line_id) if self.kind == "credit" else None

    @property
    def subject(self) -> SubjectKey | None:
        """Booking or plan that the line bills."""
        if self.kind not in ("booking", "plan") or self.subject_id is None:
            return None
        return SubjectKey(self.invoice.tenant_id, self.kind, self.subject_id)


class _Change(Struct, frozen=True):
    """Fields of every change: its owner, message, sort order, and the policy values and `rules` that apply to it.

    A `superseded` change never decides anything any more: another counts wherever it does, and comes after it.
    `declined` is the event that declined it while facts to come could turn that around.
    """

    topic: ClassVar[str]
    source: ClassVar[Source]
    subject: SubjectKey
    owner: Owner
    event_id: str
    revision: int | None
    occurred_at: datetime
    changed_by: ChangedBy
    asked: bool
    unpaid_change: str
    credit_as: str
    expires_after_days: int | None
    time_zone: str
    contents: bytes
    superseded: bool
    rules: int
    declined: UUID | None

    @property
    def key(self) -> ChangeKey:
        """Unique key: the message that it came with."""
        return ChangeKey(self.subject.tenant_id, self.topic, self.event_id)

    @property
    def expiry_zone(self) -> str:
        """The time zone in which the days until its credit expires are counted."""
        return self.time_zone if self.rules >= REAL_LIFE else "UTC"

    @property
    def settle_by(self) -> datetime | None:
        """The time by which an invoice must be settled for the change to give credit; None if any time will do."""
        return self.occurred_at if self.unpaid_change == "never" else None


class BookingCancellation(_Change, frozen=True):
    """A cancelled booking; `fee` is kept, in `currency`."""

    topic = "booking-cancelled"
    source = "booking_cancelled"
    fee: int
    currency: str | None


class BookingShortening(_Change, frozen=True):
    """A shortened booking: by the two periods, or by the two prices in `currency`."""

    topic = "booking-shortened"
    source = "booking_shortened"
    billed_period: Period | None
    remaining_period: Period | None
    billed_price: int | None
    remaining_price: int | None
    currency: str | None


class PlanCancellation(_Change, frozen=True):
    """A cancelled plan: `unused` and `proration` say which part of its periods is unused; it has no amounts."""

    topic = "plan-cancelled"
    source = "plan_cancelled"
    currency: ClassVar[None] = None
    effective_at: datetime
    unused: Unused
    proration: str


Change = BookingCancellation | BookingShortening | PlanCancellation
"""A change to a booking or plan."""


class Payment(Struct, frozen=True):
    """A payment: of `amount`, `reversed` went back and `settled` is used on invoices; the rest is overpayment."""

    key: PaymentKey
    account: AccountKey
    amount: int
    occurred_at: datetime
    invoice_ids: tuple[str, ...]
    reversed: int
    settled: int
    event_id: str
    contents: bytes

    @property
    def left(self) -> int:
        """Amount neither reversed nor used on invoices, in micros."""
        return self.amount - self.reversed - self.settled

    @property
    def sort_key(self) -> tuple[datetime, PaymentKey]:
        """Sort key in the order in which payments of one kind settle: by time and id."""
        return self.occurred_at, self.key

    @property
    def entitlement(self) -> EntitlementKey:
        """Entitlement key of its overpayment."""
        return EntitlementKey(self.key.tenant_id, self.key.kind, self.key.id, "")


class Reversal(Struct, frozen=True):
    key: ReversalKey
    payment_id: str
    amount: int
    currency: str
    reason: str
    occurred_at: datetime
    event_id: str
    contents: bytes


class Void(Struct, frozen=True):
    key: InvoiceKey
    reason: str
    occurred_at: datetime
    event_id: str
    contents: bytes


class Settlement(Struct, frozen=True):
    """The n-th settlement of a payment: an amount on one invoice, without undone parts."""

    payment: PaymentKey
    n: int
    invoice: InvoiceKey
    amount: int

    @property
    def key(self) -> tuple[PaymentKey, int]:
        """Unique key: the payment, and the number of the settlement within it."""
        return self.payment, self.n


class Entitlement(Struct, frozen=True):
    """Amount due (`target`, at most `cost`), amount given less what was taken back, and shortfall.

    `covered` is what could not be taken back but was withheld from the payments of a voided invoice. `due_from` is the
    change, payment or finalization that it comes from; if `settle_by` is set, the invoice had to be settled by then
    (policy `unpaid_change: never`). `grants` counts its grants; new ones are reserved at once if `as_line_item` is
    true, and expire after `expires_after_days` in the `time_zone`. The next one overtakes the event `overtakes`.
    """

    key: EntitlementKey
    account: AccountKey
    cost: int
    target: int
    source: Source
    due_from: datetime
    settle_by: datetime | None = None
    given: int = 0
    covered: int = 0
    shortfall: int = 0
    shortfall_reason: ShortfallReason | None = None
    grants: int = 0
    as_line_item: bool = False
    expires_after_days: int | None = None
    time_zone: str = "UTC"
    overtakes: UUID | None = None

    @property
    def invoice(self) -> InvoiceKey | None:
        """The invoice that must be settled first, if any."""
        return (
            InvoiceKey(self.key.tenant_id, self.key.id)
            if self.key.kind in ("line", "negative_total", "credit_line")
            else None
        )


class Grant(Struct, frozen=True):
    """One credit given, and where its amount is now: available, reserved, spent, lost (expired or voided), taken back.

    All of it is `pending`, and on no balance, until a later `effective_at`. `contents` is that of the command, `by` its
    actor.
    """

    key: GrantKey
    account: AccountKey
    amount: int
    available: int
    reserved: int
    spent: int
    lost: int
    taken: int
    source: Source
    reason: Source | GrantReason
    note: str | None
    priority: int
    paid_for: bool
    effective_at: datetime
    expires_at: datetime | None
    reference: str | None
    entitlement: EntitlementKey | None
    ordinal: int
    topic: str
    event_id: str
    pending: int = 0
    contents: bytes | None = None
    by: Actor | None = None

    @property
    def document(self) -> Document | None:
        """The invoice or payment that it comes from; None for a grant by command."""
        due_for = self.entitlement
        if due_for is None:
            return None
        if due_for.kind == "payment":
            return Document(payment_id=due_for.id)
        return Document(invoice_id=due_for.id, line_id=due_for.line_id or None)

    @property
    def payment_key(self) -> PaymentKey | None:
        """The payment whose overpayment it is, if it is one."""
        due_for = self.entitlement
        if due_for is None or not (due_for.kind == "payment" or due_for.kind == "amount_paid"):
            return None
        return PaymentKey(due_for.tenant_id, due_for.kind, due_for.id)

    @property
    def remaining(self) -> int:
        """Amount neither spent nor lost nor taken back, in micros."""
        return self.available + self.reserved

    @property
    def sort_key(self) -> tuple[int, datetime, bool, datetime, int, GrantKey]:
        """Sort key in the order of use: priority (0 first), expiry (none last), given before paid for, start, id.

        The id is included as a number too, which compares much faster.
        """
        expires_at, number = self.expires_at or NEVER, self.key.id.int
        return self.priority, expires_at, self.paid_for, self.effective_at, number, self.key

    def is_expired(self, at: datetime) -> bool:
        """Check whether its time is over at a moment, be it swept already or not."""
        return self.expires_at is not None and self.expires_at <= at


class Application(Struct, frozen=True):
    """Credit used on an invoice: grants and amounts.

    `moved` is what `apply-credit` took from a line item, directly or through a reservation: it is reserved as a line
    item again when the use is undone.
    """

    key: ApplicationKey
    account: AccountKey
    invoice: InvoiceKey
    amount: int
    applied_by: AppliedBy
    applied_at: datetime
    reinstated: bool
    slices: tuple[tuple[UUID, int], ...]
    topic: str
    event_id: str
    moved: int = 0


class Reservation(Struct, frozen=True):
    """Reserved credit of one grant: `amount` is what is still reserved; without an invoice it is for the owner's next.

    `seq` is the number of its event: older reservations are used first. `moved` is what `apply-credit` took from a line
    item: used first, and reserved as a line item again when released.
    """

    key: ReservationKey
    account: AccountKey
    invoice_id: str | None
    reserved_for: ReservedFor
    seq: int
    amount: int
    topic: str
    event_id: str
    moved: int = 0

    @property
    def grant(self) -> GrantKey:
        """The grant that it holds a part of."""
        return GrantKey(self.key.tenant_id, self.key.grant_id)

    @property
    def application(self) -> ApplicationKey:
        """The application that it belongs to."""
        return ApplicationKey(self.key.tenant_id, self.key.application_id)

    @property
    def invoice(self) -> InvoiceKey | None:
        """The invoice that it is for, if one is named."""
        return None if self.invoice_id is None else InvoiceKey(self.key.tenant_id, self.invoice_id)
