"""The part of a state that one message needs: what is open in the accounts concerned, and what the message names."""

from collections.abc import Iterable
from typing import Any

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
from avoir.core.model.rows import ApplicationKey, InvoiceKey, PaymentKey, SubjectKey
from avoir.core.state.state import State
from tests.unit.core.world import rows


class Needed:
    """What a message names, and what it may undo something of."""

    def __init__(self, state: State, message: Message) -> None:
        self.subjects: set[SubjectKey] = set()
        self.invoices: set[InvoiceKey] = set()
        self.payments: set[PaymentKey] = set()
        self.undone: set[InvoiceKey] = set()
        self.accounts: set[AccountKey] = set()
        tenant = message.tenant_id
        match message.body:
            case InvoiceFinalized() as fact:
                self.invoices.add(InvoiceKey(tenant, fact.invoice_id))
                self.accounts.add(AccountKey(tenant, *fact.owner, fact.currency))
                for line in fact.lines:
                    if line.subject_id is not None and line.kind in ("booking", "plan"):
                        self.subjects.add(SubjectKey(tenant, line.kind, line.subject_id))
            case BookingCancelled() | BookingShortened() as fact:
                self.subjects.add(SubjectKey(tenant, "booking", fact.booking_id))
            case PlanCancelled() as fact:
                self.subjects.add(SubjectKey(tenant, "plan", fact.plan_id))
            case PaymentRecorded() as fact:
                self.payments.add(PaymentKey(tenant, "payment", fact.payment_id))
                self.accounts.add(AccountKey(tenant, *fact.owner, fact.currency))
                self.invoices |= {InvoiceKey(tenant, each) for each in fact.invoice_ids}
            case PaymentReversed() as fact:
                payment = PaymentKey(tenant, "payment", fact.payment_id)
                self.payments.add(payment)
                self.undone |= {each.invoice for each in rows(state.settlements) if each.payment == payment}
            case InvoiceVoided() as fact:
                self.undone.add(InvoiceKey(tenant, fact.invoice_id))
            case ApplicationRejected() as fact:
                application = state.applications.get(ApplicationKey.parse(tenant, fact.application_id))
                if application is not None:
                    self.undone.add(application.invoice)
        for key in self.undone:
            lines = state.lines_of_invoice.get(key) or ()
            self.subjects |= {line.subject for line in lines if line.subject is not None}
        self.invoices |= self.undone
        self._add_accounts(state)

    def _add_accounts(self, state: State) -> None:
        for subject in self.subjects:
            self.invoices |= {line.invoice for line in state.lines_of_subject.get(subject) or ()}
        known: Iterable[Any] = (
            *map(state.invoices.get, self.invoices),
            *map(state.payments.get, self.payments),
        )
        self.accounts |= {each.account for each in known if each is not None}


class Reversed(State):
    """A state whose rows are added in the opposite order, as a database may well give them."""

    def add(self, found: Iterable[Any]) -> None:
        super().add(reversed(list(found)))


def open_rows(state: State, message: Message) -> State:
    """A state of only the open rows of the accounts that a message concerns, and the rows that it names."""
    need, some = Needed(state, message), Reversed.empty()
    some.inbox = state.inbox
    some.add(each for each in rows(state.accounts) if each.key in need.accounts)
    applications = [each for each in rows(state.applications) if each.invoice in need.undone]
    slices = {grant_id for each in applications for grant_id, _ in each.slices}
    entitlements = [each for each in rows(state.entitlements) if each.account in need.accounts]
    due = {each.key for each in rows(state.invoices) if each.due}
    is_open = {
        each.key
        for each in entitlements
        if each.shortfall or (each.invoice in due and each.target != each.given)
    }
    waits_for = {each.invoice for each in entitlements if each.shortfall}
    some.add(
        each
        for each in rows(state.invoices)
        if each.key in need.invoices or each.key in waits_for or (each.due and each.account in need.accounts)
    )
    settled_by = {each.payment for each in rows(state.settlements) if each.invoice in need.undone}
    held = [
        each
        for each in rows(state.grants)
        if each.available + each.reserved and each.account in need.accounts
    ]
    unused = {each.entitlement for each in held}
    unused |= {each.entitlement for each in rows(state.grants) if each.key.id in slices}
    payments = [
        each
        for each in rows(state.payments)
        if each.key in need.payments or each.key in settled_by or each.entitlement in unused
    ]
    some.add(payments)
    by_key = {each.key for each in payments}
    some.add(each for each in rows(state.settlements) if each.payment in by_key)
    named_lines = {each.key for each in rows(state.lines) if each.subject in need.subjects}
    of_payments = {each.entitlement for each in payments}
    loaded = [
        each
        for each in rows(state.entitlements)
        if each.key in is_open | named_lines | of_payments or each.invoice in need.undone
    ]
    some.add(loaded)
    due_for = {each.key for each in loaded}
    some.add(
        each for each in rows(state.lines) if each.key in named_lines | due_for or each.invoice in need.undone
    )
    some.add(
        each
        for each in rows(state.grants)
        if each in held or each.entitlement in due_for or each.key.id in slices
    )
    some.add(applications)
    some.add(each for each in rows(state.changes) if each.subject in need.subjects)
    some.add(rows(state.reversals))
    some.add(rows(state.voids))
    return some
