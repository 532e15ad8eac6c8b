"""The parts of an explanation as frozen values: rows of the core, and what the core has no row for."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from avoir.core.model.policy import PolicyVersion
from avoir.core.model.rows import (
    Application,
    Change,
    Entitlement,
    Grant,
    Invoice,
    Line,
    Payment,
    Reservation,
    Void,
)


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
class LineStanding:
    """A line with its invoice, and what is due and was given for it; no entitlement as long as nothing ever was."""

    invoice: Invoice
    line: Line
    entitlement: Entitlement | None

    @property
    def target(self) -> int | None:
        """The credit that it is worth, in micros; None as long as nothing was ever due."""
        return None if self.entitlement is None else self.entitlement.target

    @property
    def given(self) -> int:
        """The credit given for it, in micros."""
        return 0 if self.entitlement is None else self.entitlement.given

    @property
    def shortfall(self) -> int:
        """The credit that could not be taken back, in micros."""
        return 0 if self.entitlement is None else self.entitlement.shortfall


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
class GrantStanding:
    """A grant, whether its time is over, where it went, what of it is set aside, and its last entries."""

    grant: Grant
    recorded_at: datetime
    is_expired: bool
    uses: tuple[Use, ...]
    held: tuple[Reservation, ...]
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class PaymentStanding:
    """A payment, and how much of it settles which invoices, in micros by invoice id."""

    payment: Payment
    settlements: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """What was decided, oldest first; what was decided `later` on the same; how everything concerned stands."""

    tenant_id: str
    subject: Subject
    as_of: datetime
    decisions: tuple[DecisionMade, ...] = ()
    later: tuple[DecisionMade, ...] = ()
    invoices: tuple[Invoice, ...] = ()
    voids: tuple[Void, ...] = ()
    lines: tuple[LineStanding, ...] = ()
    changes: tuple[Change, ...] = ()
    grants: tuple[GrantStanding, ...] = ()
    payments: tuple[PaymentStanding, ...] = ()
    applications: tuple[Application, ...] = ()
    reservations: tuple[Reservation, ...] = ()
    policies: tuple[PolicyVersion, ...] = ()

    @property
    def found(self) -> bool:
        """Whether anything is known about the subject."""
        facts = (self.invoices, self.lines, self.changes, self.payments)
        return any((self.decisions, self.grants, self.applications, self.reservations, *facts))
