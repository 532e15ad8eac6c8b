"""Rows that the messages of a batch refer to, to be locked and loaded."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from avoir.core.model.commands import (
    ApplyCredit,
    DrawCredit,
    GrantCredit,
    RefundCredit,
)
from avoir.core.model.events import AccountKey
from avoir.core.model.facts import (
    BookingCancelled,
    BookingShortened,
    InvoiceFinalized,
    InvoiceVoided,
    PaymentRecorded,
    PaymentReversed,
    PlanCancelled,
    Subject,
)
from avoir.core.model.message import Message
from avoir.core.model.policy import ScopeKey
from avoir.core.model.rows import (
    ApplicationKey,
    GrantKey,
    InboxKey,
    InvoiceKey,
    PaymentKey,
    ReferenceKey,
    ReversalKey,
    SubjectKey,
)


@dataclass(slots=True)
class References:
    """Keys of referenced rows, by kind; `about` are the invoices that messages are about.

    `changing` are the bookings and plans that are changed, in this batch or before: only for these do lines on other
    invoices matter.
    """

    inbox: dict[InboxKey, bytes] = field(default_factory=dict)
    subjects: set[SubjectKey] = field(default_factory=set)
    changing: set[SubjectKey] = field(default_factory=set)
    invoices: set[InvoiceKey] = field(default_factory=set)
    finalized: dict[InvoiceKey, AccountKey] = field(default_factory=dict)
    voided: set[InvoiceKey] = field(default_factory=set)
    payments: set[PaymentKey] = field(default_factory=set)
    paid: dict[PaymentKey, AccountKey] = field(default_factory=dict)
    reversed: set[PaymentKey] = field(default_factory=set)
    reversals: set[ReversalKey] = field(default_factory=set)
    applications: set[ApplicationKey] = field(default_factory=set)
    about: set[InvoiceKey] = field(default_factory=set)
    grants: set[GrantKey] = field(default_factory=set)
    grant_references: set[ReferenceKey] = field(default_factory=set)
    scopes: set[ScopeKey] = field(default_factory=set)
    accounts: set[AccountKey] = field(default_factory=set)

    @classmethod
    def of(cls, messages: Iterable[Message]) -> "References":
        """What some messages refer to, together."""
        references = cls()
        for message in messages:
            references.add(message)
        return references

    def add(self, message: Message) -> None:
        """Record what a message refers to."""
        tenant_id, body = message.tenant_id, message.body
        self.inbox.setdefault(InboxKey(tenant_id, message.topic, message.event_id), message.contents)
        self.scopes.add(ScopeKey(tenant_id, "tenant", ""))
        self._about(tenant_id, body.subject)
        match body:
            case InvoiceFinalized():
                self._finalized(tenant_id, body)
            case BookingCancelled() | BookingShortened() | PlanCancelled():
                self.scopes.add(ScopeKey.of_owner(tenant_id, body.owner))
            case PaymentRecorded():
                account = AccountKey(tenant_id, *body.owner, body.currency)
                self.paid[PaymentKey(tenant_id, "payment", body.payment_id)] = account
                self.accounts.add(account)
                self.invoices |= {InvoiceKey(tenant_id, invoice_id) for invoice_id in body.invoice_ids}
            case PaymentReversed():
                self.reversed.add(PaymentKey(tenant_id, "payment", body.payment_id))
                self.reversals.add(ReversalKey(tenant_id, body.reversal_id))
            case InvoiceVoided():
                self.voided.add(InvoiceKey(tenant_id, body.invoice_id))
            case GrantCredit(reference=str() as reference):
                self.grant_references.add(ReferenceKey(tenant_id, reference))
        if isinstance(body, GrantCredit | ApplyCredit | RefundCredit | DrawCredit):
            self.accounts.add(AccountKey(tenant_id, *body.owner, body.currency))
        if isinstance(body, ApplyCredit | RefundCredit):
            self._grant(tenant_id, body.grant_id)

    def _about(self, tenant_id: str, subject: Subject) -> None:
        match subject.kind:
            case "invoice":
                self.about.add(InvoiceKey(tenant_id, subject.id))
                self.invoices.add(InvoiceKey(tenant_id, subject.id))
            case "booking" | "plan":
                # Every fact about a booking or plan is a change of it.
                self.subjects.add(SubjectKey(tenant_id, subject.kind, subject.id))
                self.changing.add(SubjectKey(tenant_id, subject.kind, subject.id))
            case "payment":
                self.payments.add(PaymentKey(tenant_id, "payment", subject.id))
            case "application":
                self.applications.add(ApplicationKey.parse(tenant_id, subject.id))
            case "grant":
                self._grant(tenant_id, subject.id)

    def _grant(self, tenant_id: str, grant_id: str | None) -> None:
        grant = GrantKey.parse(tenant_id, grant_id)
        if grant is not None:
            self.grants.add(grant)

    def _finalized(self, tenant_id: str, fact: InvoiceFinalized) -> None:
        key = InvoiceKey(tenant_id, fact.invoice_id)
        self.finalized[key] = AccountKey(tenant_id, *fact.owner, fact.currency)
        self.accounts.add(self.finalized[key])
        self.scopes.add(ScopeKey(tenant_id, "invoice", fact.invoice_id))
        for line in fact.lines:
            self._grant(tenant_id, line.credit_line_id)
            if line.subject_id is not None and (line.kind == "booking" or line.kind == "plan"):
                self.subjects.add(SubjectKey(tenant_id, line.kind, line.subject_id))

    @property
    def locked_first(self) -> set[tuple[str, str, str]]:
        """Keys to lock before bookings and plans: of invoices, payments, reversals and references."""
        # Bookings and plans come second, since those billed on the locked invoices are only known then.
        return {
            *((key.tenant_id, "invoice", key.invoice_id) for key in self.about),
            *((key.tenant_id, "payment", key.id) for key in self.payments),
            *((key.tenant_id, "reversal", key.id) for key in self.reversals),
            *((key.tenant_id, "reference", key.reference) for key in self.grant_references),
        }

    def undoing(self, known: Mapping[Any, AccountKey], accounts: Iterable[AccountKey]) -> set[AccountKey]:
        """Accounts of the batch in which one message may undo what another did.

        `known` gives the accounts of stored invoices, payments and applications by key. An application that is not
        stored yet may appear in the batch (after a restore), so its whole tenant counts.
        """
        keys: Iterable[Any] = (*self.voided, *self.reversed, *self.applications)
        undoing = {known.get(key) or self.finalized.get(key) or self.paid.get(key) for key in keys}
        unknown = {key.tenant_id for key in self.applications if key not in known}
        return {each for each in accounts if each in undoing or each.tenant_id in unknown}
