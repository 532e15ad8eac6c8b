"""The parts of an explanation as frozen values: decisions, invoices, lines, changes, payments, grants."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from avoir.core.model.facts import Owner
from avoir.core.model.rows import Change


class Subject(NamedTuple):
    """What somebody asks about: event, booking, plan, invoice, payment, grant, application, owner (`type/id`)."""

    kind: str
    id: str


@dataclass(frozen=True, slots=True)
class DecisionMade:
    """A decision as it was written; `facts` and `policy` are what it used."""

    topic: str
    event_id: str
    partition: int
    offset: int
    occurred_at: datetime | None
    recorded_at: datetime
    outcome: str
    reason: str
    facts: Mapping[str, Any]
    policy: Mapping[str, Any]
    would_change_it: str | None
    subject: Subject


@dataclass(frozen=True, slots=True)
class InvoiceStory:
    """An invoice as it stands; `due` is what is still to be paid, in micros."""

    invoice_id: str
    number: str
    owner: Owner
    currency: str
    finalized_at: datetime
    total: int
    due: int
    settled: int
    applied: int
    settled_at: datetime
    automatic: bool
    barred: bool
    voided_at: datetime | None
    void_reason: str | None


@dataclass(frozen=True, slots=True)
class LineStory:
    """A line as it stands, in micros; `target` is None as long as nothing was ever due for it."""

    invoice_id: str
    line_id: str
    kind: str
    subject_id: str | None
    currency: str
    billed: int
    cost: int
    target: int | None
    given: int
    shortfall: int


@dataclass(frozen=True, slots=True)
class ChangeStory:
    """A change to the booking or plan, in the order in which changes count."""

    topic: str
    event_id: str
    revision: int | None
    occurred_at: datetime
    changed_by: str
    asked: bool
    fee: int
    currency: str | None
    effective_at: datetime | None

    @classmethod
    def of(cls, change: Change) -> "ChangeStory":
        """What is told of a change."""
        said: dict[str, Any] = {name: getattr(change, name, None) for name in cls.__dataclass_fields__}
        return cls(**said | {"fee": said["fee"] or 0})


@dataclass(frozen=True, slots=True)
class Step:
    """One entry of a grant: the signed amount, what happened and where to."""

    grant_id: UUID
    ledger_account: str
    counter_account: str
    amount: int
    event: str
    reason: str
    invoice_id: str | None
    application_id: UUID | None
    topic: str
    event_id: str
    occurred_at: datetime
    recorded_at: datetime


class Use(NamedTuple):
    """So much of a grant went to a counter account, for an invoice where it was used on one."""

    counter_account: str
    invoice_id: str | None
    amount: int


@dataclass(frozen=True, slots=True)
class ReservationStory:
    """What an application set aside of a grant: `amount` is what is still held; no invoice is the owner's next."""

    application_id: UUID
    grant_id: UUID
    invoice_id: str | None
    reserved_for: str
    currency: str
    amount: int
    topic: str
    event_id: str


@dataclass(frozen=True, slots=True)
class GrantStory:
    """A grant as it stands: what it was given for and by which message, where it went, its last entries."""

    grant_id: UUID
    owner: Owner
    currency: str
    amount: int
    available: int
    reserved: int
    spent: int
    lost: int
    taken: int
    pending: int
    reference: str | None
    source: str
    reason: str
    note: str | None
    effective_at: datetime
    expires_at: datetime | None
    expired: bool
    topic: str
    event_id: str
    recorded_at: datetime
    given_for: tuple[str, str, str] | None
    uses: tuple[Use, ...]
    held: tuple[ReservationStory, ...]
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class PaymentStory:
    """A payment as it stands, and the invoices that it settled."""

    kind: str
    payment_id: str
    owner: Owner
    currency: str
    amount: int
    reversed: int
    settled: int
    occurred_at: datetime
    settlements: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class ApplicationStory:
    """Credit used on an invoice; `slices` are the grants it came from, with how much of each."""

    application_id: UUID
    invoice_id: str
    currency: str
    amount: int
    applied_by: str
    applied_at: datetime
    reinstated: bool
    slices: tuple[tuple[UUID, int], ...]
    topic: str
    event_id: str


@dataclass(frozen=True, slots=True)
class PolicyStory:
    """What one `set-credit-policy` set, for whom (`scope_id` of an owner is `type/id`); amounts in micros."""

    event_id: str
    scope: str
    scope_id: str
    occurred_at: datetime
    keys: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Explanation:
    """What was decided, oldest first; what was decided `later` on the same; how everything concerned stands."""

    tenant_id: str
    subject: Subject
    as_of: datetime
    decisions: tuple[DecisionMade, ...] = ()
    later: tuple[DecisionMade, ...] = ()
    invoices: tuple[InvoiceStory, ...] = ()
    lines: tuple[LineStory, ...] = ()
    changes: tuple[ChangeStory, ...] = ()
    grants: tuple[GrantStory, ...] = ()
    payments: tuple[PaymentStory, ...] = ()
    applications: tuple[ApplicationStory, ...] = ()
    reservations: tuple[ReservationStory, ...] = ()
    policies: tuple[PolicyStory, ...] = ()

    @property
    def found(self) -> bool:
        """Whether anything is known about the subject."""
        facts = (self.invoices, self.lines, self.changes, self.payments)
        return any((self.decisions, self.grants, self.applications, self.reservations, *facts))
