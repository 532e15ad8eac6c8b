"""The parts of an explanation as frozen values: core rows, and values for which the core has no row."""

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
    """Subject of a question: event, booking, plan, invoice, payment, grant, application, owner (`type/id`)."""

    kind: str
    id: str


@dataclass(frozen=True, slots=True)
class RecordedDecision:
    """A decision as it was recorded, with the facts and policy that it used."""

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
class LineState:
    """A line with its invoice and entitlement; `entitlement` is None as long as nothing was ever due for it."""

    invoice: Invoice
    line: Line
    entitlement: Entitlement | None

    @property
    def target(self) -> int | None:
        """Credit that the line is worth, in micros; None as long as nothing was ever due."""
        return None if self.entitlement is None else self.entitlement.target

    @property
    def given(self) -> int:
        """Credit given for the line, in micros."""
        return 0 if self.entitlement is None else self.entitlement.given

    @property
    def shortfall(self) -> int:
        """Credit that could not be taken back, in micros."""
        return 0 if self.entitlement is None else self.entitlement.shortfall


@dataclass(frozen=True, slots=True)
class GrantEntry:
    """One entry of a grant: signed amount in micros, event and counter account."""

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


class GrantUse(NamedTuple):
    """Amount of a grant that went to a counter account, with the invoice if it was used on one."""

    counter_account: str
    invoice_id: str | None
    amount: int


@dataclass(frozen=True, slots=True)
class GrantState:
    """A grant with its current state: expired or not, outflows, reservations and last entries."""

    grant: Grant
    recorded_at: datetime
    is_expired: bool
    uses: tuple[GrantUse, ...]
    held: tuple[Reservation, ...]
    entries: tuple[GrantEntry, ...]


@dataclass(frozen=True, slots=True)
class PaymentState:
    """A payment, and the amounts that settle invoices: pairs of invoice id and micros."""

    payment: Payment
    settlements: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """Decisions, oldest first; `later` ones on the same subject; the current state."""

    tenant_id: str
    subject: Subject
    as_of: datetime
    decisions: tuple[RecordedDecision, ...] = ()
    later: tuple[RecordedDecision, ...] = ()
    invoices: tuple[Invoice, ...] = ()
    voids: tuple[Void, ...] = ()
    lines: tuple[LineState, ...] = ()
    changes: tuple[Change, ...] = ()
    grants: tuple[GrantState, ...] = ()
    payments: tuple[PaymentState, ...] = ()
    applications: tuple[Application, ...] = ()
    reservations: tuple[Reservation, ...] = ()
    policies: tuple[PolicyVersion, ...] = ()

    @property
    def is_known(self) -> bool:
        """Check whether anything is known about the subject."""
        facts = (self.invoices, self.lines, self.changes, self.payments)
        return any((self.decisions, self.grants, self.applications, self.reservations, *facts))
