"""The rows that the messages of a batch refer to: they are locked and loaded."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from avoir.core.model.commands import (
    ApplyCredit,
    Command,
    DrawCredit,
    GrantCredit,
    RefundCredit,
    ReinstateCredit,
    VoidCredit,
)
from avoir.core.model.events import AccountKey
from avoir.core.model.facts import (
    ApplicationRejected,
    BookingCancelled,
    BookingShortened,
    InvoiceFinalized,
    InvoiceVoided,
    PaymentRecorded,
    PaymentReversed,
    PlanCancelled,
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
    """Keys of the rows that messages refer to, by kind; `chosen` are the invoices that a command uses credit on.

    `changing` are the bookings and plans that are changed by then, in this batch or before: only of these do lines
    matter that are on other invoices than those referred to.
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
    chosen: set[InvoiceKey] = field(default_factory=set)
    grants: set[GrantKey] = field(default_factory=set)
    grant_references: set[ReferenceKey] = field(default_factory=set)
    scopes: set[ScopeKey] = field(default_factory=set)
    accounts: set[AccountKey] = field(default_factory=set)

    def add(self, message: Message) -> None:
        """Note what a message refers to."""
        tenant_id, fact = message.tenant_id, message.body
        self.inbox.setdefault(InboxKey(tenant_id, message.topic, message.event_id), message.contents)
        match fact:
            case InvoiceFinalized():
                self._finalized(tenant_id, fact)
            case BookingCancelled() | BookingShortened():
                self._changing(SubjectKey(tenant_id, "booking", fact.booking_id))
            case PlanCancelled():
                self._changing(SubjectKey(tenant_id, "plan", fact.plan_id))
            case PaymentRecorded():
                key = PaymentKey(tenant_id, "payment", fact.payment_id)
                self.paid[key] = AccountKey(tenant_id, *fact.owner, fact.currency)
                self.payments.add(key)
                self.accounts.add(self.paid[key])
                self.invoices |= {InvoiceKey(tenant_id, invoice_id) for invoice_id in fact.invoice_ids}
            case PaymentReversed():
                self.payments.add(PaymentKey(tenant_id, "payment", fact.payment_id))
                self.reversed.add(PaymentKey(tenant_id, "payment", fact.payment_id))
                self.reversals.add(ReversalKey(tenant_id, fact.reversal_id))
            case InvoiceVoided():
                self.voided.add(InvoiceKey(tenant_id, fact.invoice_id))
                self.invoices.add(InvoiceKey(tenant_id, fact.invoice_id))
            case ApplicationRejected():
                self.applications.add(ApplicationKey.named(tenant_id, fact.application_id))
            case _:
                self._asked(tenant_id, fact)
        if isinstance(fact, BookingCancelled | BookingShortened | PlanCancelled):
            self.scopes.add(ScopeKey.of_owner(tenant_id, fact.owner))
        self.scopes.add(ScopeKey(tenant_id, "tenant", ""))

    def _changing(self, subject: SubjectKey) -> None:
        self.subjects.add(subject)
        self.changing.add(subject)

    def _asked(self, tenant_id: str, command: Command) -> None:
        if isinstance(command, GrantCredit | ApplyCredit | RefundCredit | DrawCredit):
            self.accounts.add(AccountKey(tenant_id, *command.owner, command.currency))
        if isinstance(command, ApplyCredit | RefundCredit | VoidCredit):
            grant = GrantKey.named(tenant_id, command.grant_id)
            self.grants |= {grant} if grant is not None else set()
        match command:
            case GrantCredit(reference=str() as reference):
                self.grant_references.add(ReferenceKey(tenant_id, reference))
            case ApplyCredit():
                invoice = InvoiceKey(tenant_id, command.invoice_id)
                self.invoices.add(invoice)
                self.chosen.add(invoice)
            case ReinstateCredit():
                self.applications.add(ApplicationKey.named(tenant_id, command.application_id))

    def _finalized(self, tenant_id: str, fact: InvoiceFinalized) -> None:
        key = InvoiceKey(tenant_id, fact.invoice_id)
        self.finalized[key] = AccountKey(tenant_id, *fact.owner, fact.currency)
        self.invoices.add(key)
        self.accounts.add(self.finalized[key])
        self.scopes.add(ScopeKey(tenant_id, "invoice", fact.invoice_id))
        for line in fact.lines:
            credit = GrantKey.named(tenant_id, line.credit_line_id)
            if credit is not None:
                self.grants.add(credit)
            if line.subject_id is not None and (line.kind == "booking" or line.kind == "plan"):
                self.subjects.add(SubjectKey(tenant_id, line.kind, line.subject_id))

    @property
    def locked_first(self) -> set[tuple[str, str, str]]:
        """The things other than bookings and plans that are locked: invoices, payments, reversals and references."""
        invoices = (*self.finalized, *self.voided, *self.chosen)
        return {
            *((key.tenant_id, "invoice", key.invoice_id) for key in invoices),
            *((key.tenant_id, "payment", key.id) for key in self.payments),
            *((key.tenant_id, "reversal", key.id) for key in self.reversals),
            *((key.tenant_id, "reference", key.reference) for key in self.grant_references),
        }

    def undoing(self, known: Mapping[Any, AccountKey], accounts: Iterable[AccountKey]) -> set[AccountKey]:
        """Those of the batch's accounts in which one of its messages may undo what another of them did.

        `known` gives the accounts of stored invoices, payments and applications by key. An application that is not
        stored yet may come up in the batch (a restored database), so its whole tenant counts.
        """
        keys: Iterable[Any] = (*self.voided, *self.reversed, *self.applications)
        undoing = {known.get(key) or self.finalized.get(key) or self.paid.get(key) for key in keys}
        unknown = {key.tenant_id for key in self.applications if key not in known}
        return {each for each in accounts if each in undoing or each.tenant_id in unknown}
