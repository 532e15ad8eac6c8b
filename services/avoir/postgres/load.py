"""Loads what is open in the accounts of a batch, and what its messages name, in a bounded number of statements."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from avoir.core.applications import application_key
from avoir.core.commands import (
    ApplyCredit,
    Command,
    DrawCredit,
    GrantCredit,
    RefundCredit,
    ReinstateCredit,
    VoidCredit,
)
from avoir.core.events import AccountKey
from avoir.core.facts import (
    ApplicationRejected,
    BookingCancelled,
    BookingShortened,
    InvoiceFinalized,
    InvoiceVoided,
    PaymentRecorded,
    PaymentReversed,
    PlanCancelled,
)
from avoir.core.message import Message
from avoir.core.policy import ScopeKey
from avoir.core.rows import (
    ApplicationKey,
    GrantKey,
    InboxKey,
    InvoiceKey,
    PaymentKey,
    ReferenceKey,
    ReversalKey,
    SubjectKey,
)
from avoir.core.state import State
from avoir.postgres import queries, rows
from avoir.postgres.session import Session

Columns = list[list[Any]]


def columns(keys: Iterable[tuple[Any, ...]], width: int) -> Columns:
    """Keys as one array per column, in sorted order."""
    found = [list(column) for column in zip(*sorted(keys), strict=True)]
    return found or [[] for _ in range(width)]


@dataclass(slots=True)
class Named:
    """What the messages of a batch name, by kind; `chosen` are the invoices that a command uses credit on."""

    inbox: dict[InboxKey, bytes] = field(default_factory=dict)
    subjects: set[SubjectKey] = field(default_factory=set)
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
    references: set[ReferenceKey] = field(default_factory=set)
    scopes: set[ScopeKey] = field(default_factory=set)
    accounts: set[AccountKey] = field(default_factory=set)

    def add(self, message: Message) -> None:
        """Note what a message names."""
        tenant_id, fact = message.tenant_id, message.body
        self.inbox.setdefault(InboxKey(tenant_id, message.topic, message.event_id), message.contents)
        match fact:
            case InvoiceFinalized():
                self._finalized(tenant_id, fact)
            case BookingCancelled() | BookingShortened():
                self.subjects.add(SubjectKey(tenant_id, "booking", fact.booking_id))
            case PlanCancelled():
                self.subjects.add(SubjectKey(tenant_id, "plan", fact.plan_id))
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
                self.applications.add(application_key(tenant_id, fact.application_id))
            case _:
                self._asked(tenant_id, fact)
        if isinstance(fact, BookingCancelled | BookingShortened | PlanCancelled):
            self.scopes.add(ScopeKey.of_owner(tenant_id, fact.owner))
        self.scopes.add(ScopeKey(tenant_id, "tenant", ""))

    def _asked(self, tenant_id: str, command: Command) -> None:
        if isinstance(command, GrantCredit | ApplyCredit | RefundCredit | DrawCredit):
            self.accounts.add(AccountKey(tenant_id, *command.owner, command.currency))
        if isinstance(command, ApplyCredit | RefundCredit | VoidCredit):
            grant = GrantKey.named(tenant_id, command.grant_id)
            self.grants |= {grant} if grant is not None else set()
        match command:
            case GrantCredit(reference=str() as reference):
                self.references.add(ReferenceKey(tenant_id, reference))
            case ApplyCredit():
                invoice = InvoiceKey(tenant_id, command.invoice_id)
                self.invoices.add(invoice)
                self.chosen.add(invoice)
            case ReinstateCredit():
                self.applications.add(application_key(tenant_id, command.application_id))

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

    def add_subjects(self, found: Iterable[rows.Row]) -> None:
        """Note bookings and plans that the named things lead to."""
        self.subjects |= {SubjectKey(row["tenant_id"], row["kind"], row["id"]) for row in found}

    @property
    def locked_first(self) -> set[tuple[str, str, str]]:
        """The things other than bookings and plans that are locked: invoices, payments, reversals and references."""
        named = (*self.finalized, *self.voided, *self.chosen)
        return {
            *((key.tenant_id, "invoice", key.invoice_id) for key in named),
            *((key.tenant_id, "payment", key.id) for key in self.payments),
            *((key.tenant_id, "reversal", key.id) for key in self.reversals),
            *((key.tenant_id, "reference", key.reference) for key in self.references),
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


async def load(session: Session, named: Named, accounts: Collection[AccountKey]) -> State:
    """The state that deciding these messages needs; everything must be locked already.

    What a command names by id may come up while the locks are waited for. Where that leads to an account that is not
    locked, it counts as unknown: it was not there when the command arrived.
    """
    state, locked = State.empty(), set(accounts)
    concerned, subjects = columns(accounts, 4), columns(named.subjects, 3)
    by_id = await session.fetch_if(
        queries.load_applications, *columns(named.applications, 2), *columns((), 2)
    )
    applications = [each for each in map(rows.application, by_id) if each.account in locked]
    state.add(applications)
    settled = await session.fetch_if(
        queries.read_invoices_settled_by, *columns(((key.tenant_id, key.id) for key in named.reversed), 2)
    )
    touched = {InvoiceKey(row["tenant_id"], row["invoice_id"]) for row in settled} | named.voided
    touched |= {each.invoice for each in applications}
    found = await session.fetch_if(
        queries.load_invoices, *concerned, *subjects, *columns(named.invoices | touched, 2)
    )
    invoices = [rows.invoice(row) for row in found]
    state.add(invoices)
    known: dict[Any, AccountKey] = {each.key: each.account for each in invoices}
    known |= {each.key: each.account for each in applications}
    undoing = await _undoing(session, named, known, accounts)
    touched |= {each.key for each in invoices if each.account in undoing}
    await _load_rest(session, state, named, locked, subjects, touched)
    tenants = {ScopeKey(each.tenant_id, "tenant", "") for each in accounts}
    owners = {ScopeKey.of_owner(each.tenant_id, each.owner) for each in accounts}
    scopes = columns(named.scopes | tenants | owners, 3)
    state.add(map(rows.policy, await session.fetch_if(queries.load_policies, *scopes)))
    return state


async def _undoing(
    session: Session, named: Named, known: dict[Any, AccountKey], accounts: Collection[AccountKey]
) -> set[AccountKey]:
    if named.reversed:
        keys = columns(named.reversed, 3)
        nothing = columns((), 2)
        for row in await session.fetch(queries.load_payments, *columns((), 4), *keys, *nothing, *nothing):
            known[rows.payment(row).key] = rows.account_key(row)
    return named.undoing(known, accounts)


async def _load_rest(
    session: Session,
    state: State,
    named: Named,
    locked: set[AccountKey],
    subjects: Columns,
    touched: set[InvoiceKey],
) -> None:
    concerned, invoices = columns(locked, 4), columns(touched, 2)
    if touched:
        found = await session.fetch(queries.load_applications, *columns((), 2), *invoices)
        state.add(map(rows.application, found))
    slices = {
        (application.key.tenant_id, grant_id)
        for application in state.changed("applications")
        for grant_id, _ in application.slices
    }
    used = columns(slices | named.grants, 2)
    found = await session.fetch_if(
        queries.load_payments, *concerned, *columns(named.payments, 3), *invoices, *used
    )
    payments = [rows.payment(row) for row in found]
    state.add(payments)
    keys = columns((each.key for each in payments), 3)
    state.add(map(rows.settlement, await session.fetch_if(queries.load_settlements, *keys)))
    found = await session.fetch_if(queries.load_entitlements, *concerned, *subjects, *invoices, *keys)
    entitlements = [rows.entitlement(row) for row in found]
    state.add(entitlements)
    lines = {
        (each.key.tenant_id, each.key.id, each.key.line_id)
        for each in entitlements
        if each.key.kind in ("line", "credit_line")
    }
    found = await session.fetch_if(queries.load_lines, *subjects, *invoices, *columns(lines, 3))
    state.add(sorted(map(rows.line, found), key=lambda line: (line.invoice, line.position)))
    due_for = columns((each.key for each in entitlements), 4)
    references = columns(named.references, 2)
    found = await session.fetch_if(queries.load_grants, *concerned, *due_for, *used, *references)
    grants = map(rows.grant, found)
    state.add(each for each in grants if each.account in locked or each.key not in named.grants)
    await _load_reservations(session, state, named, locked, slices)
    await _load_facts(session, state, named, subjects)


async def _load_reservations(
    session: Session,
    state: State,
    named: Named,
    locked: set[AccountKey],
    used: set[tuple[str, UUID]],
) -> None:
    grants = {each.key for each in state.changed("grants") if each.reserved > 0} | named.grants | used
    found = await session.fetch_if(
        queries.load_reservations,
        *columns(grants, 2),
        *columns(named.applications, 2),
        *columns({*named.finalized, *named.voided}, 2),
    )
    reservations = [each for each in map(rows.reservation, found) if each.account in locked]
    state.add(reservations)
    # A reservation's first use has its id: whether that was before decides the id of the next.
    used_before = columns({each.application for each in reservations if each.amount > 0}, 2)
    found = await session.fetch_if(queries.load_applications, *used_before, *columns((), 2))
    state.add(map(rows.application, found))


async def _load_facts(session: Session, state: State, named: Named, subjects: Columns) -> None:
    state.add(map(rows.change, await session.fetch_if(queries.load_changes, *subjects)))
    payments = columns(((key.tenant_id, key.id) for key in named.payments), 2)
    reversals = columns(named.reversals, 2)
    state.add(map(rows.reversal, await session.fetch_if(queries.load_reversals, *payments, *reversals)))
    invoices = columns({*named.finalized, *named.voided, *named.chosen}, 2)
    state.add(map(rows.void, await session.fetch_if(queries.load_voids, *invoices)))
