"""What Avoir knows while it decides: rows in copy-on-write tables, with the indexes that decisions walk."""

from collections.abc import Iterable
from typing import Any

from msgspec import Struct

from avoir.core.events import AccountKey
from avoir.core.policy import PolicyVersion, ScopeKey
from avoir.core.rows import (
    Account,
    Application,
    ApplicationKey,
    Change,
    Entitlement,
    EntitlementKey,
    Grant,
    GrantKey,
    InboxKey,
    Invoice,
    InvoiceKey,
    Line,
    Payment,
    PaymentKey,
    ReferenceKey,
    Reservation,
    ReservationKey,
    Reversal,
    ReversalKey,
    Settlement,
    SubjectKey,
    Void,
)
from avoir.core.table import Table


class State(Struct, eq=False):
    """The tables of a batch. Index tables hold tuples of keys, or of rows that never change."""

    inbox: Table[InboxKey, bytes]
    accounts: Table[AccountKey, Account]
    invoices: Table[InvoiceKey, Invoice]
    lines: Table[EntitlementKey, Line]
    payments: Table[PaymentKey, Payment]
    reversals: Table[ReversalKey, Reversal]
    voids: Table[InvoiceKey, Void]
    settlements: Table[tuple[PaymentKey, int], Settlement]
    entitlements: Table[EntitlementKey, Entitlement]
    grants: Table[GrantKey, Grant]
    applications: Table[ApplicationKey, Application]
    changes: Table[tuple[str, str, str], Change]
    reservations: Table[ReservationKey, Reservation]
    policies: Table[tuple[str, str], PolicyVersion]
    lines_of_invoice: Table[InvoiceKey, tuple[Line, ...]]
    lines_of_subject: Table[SubjectKey, tuple[Line, ...]]
    credit_lines_of_grant: Table[GrantKey, tuple[EntitlementKey, ...]]
    changes_of_subject: Table[SubjectKey, tuple[Change, ...]]
    reversals_of_payment: Table[PaymentKey, tuple[Reversal, ...]]
    settlements_of_payment: Table[PaymentKey, tuple[tuple[PaymentKey, int], ...]]
    settlements_of_invoice: Table[InvoiceKey, tuple[tuple[PaymentKey, int], ...]]
    applications_of_invoice: Table[InvoiceKey, tuple[ApplicationKey, ...]]
    grants_of_entitlement: Table[EntitlementKey, tuple[GrantKey, ...]]
    invoices_of_account: Table[AccountKey, tuple[InvoiceKey, ...]]
    payments_of_account: Table[AccountKey, tuple[PaymentKey, ...]]
    entitlements_of_invoice: Table[InvoiceKey, tuple[EntitlementKey, ...]]
    grants_of_account: Table[AccountKey, tuple[GrantKey, ...]]
    grant_of_reference: Table[ReferenceKey, GrantKey]
    reservations_of_grant: Table[GrantKey, tuple[ReservationKey, ...]]
    reservations_of_application: Table[ApplicationKey, tuple[ReservationKey, ...]]
    reservations_of_invoice: Table[InvoiceKey, tuple[ReservationKey, ...]]
    policies_of_scope: Table[ScopeKey, tuple[PolicyVersion, ...]]

    @classmethod
    def empty(cls) -> "State":
        """A state in which nothing is known."""
        return cls(*(Table({}) for _ in cls.__struct_fields__))

    def fork(self) -> "State":
        """A copy-on-write view of this state."""
        return State(*(getattr(self, name).fork() for name in STATE_TABLES))

    def take_over(self, fork: "State") -> None:
        """Make the changes of a fork this state's own."""
        for name in STATE_TABLES:
            table = getattr(fork, name)
            if len(table):
                getattr(self, name).take_over(table)

    def add(self, rows: Iterable[Any]) -> None:
        """Put rows with their index entries; a row that is known already is replaced."""
        for row in rows:
            ADDERS[type(row)](self, row)


STATE_TABLES = State.__struct_fields__


def index(table: Table[Any, tuple[Any, ...]], key: Any, value: Any) -> None:
    """Append a value to an index entry."""
    table.put(key, (*(table.get(key) or ()), value))


def _add_account(state: State, row: Account) -> None:
    state.accounts.put(row.key, row)


def _add_invoice(state: State, row: Invoice) -> None:
    if state.invoices.get(row.key) is None:
        index(state.invoices_of_account, row.account, row.key)
    state.invoices.put(row.key, row)


def _add_line(state: State, row: Line) -> None:
    if state.lines.get(row.key) is not None:
        return
    state.lines.put(row.key, row)
    index(state.lines_of_invoice, row.invoice, row)
    if row.subject is not None:
        index(state.lines_of_subject, row.subject, row)
    if row.credit_grant is not None:
        index(state.credit_lines_of_grant, row.credit_grant, row.key)


def _add_change(state: State, row: Change) -> None:
    key = (row.subject.tenant_id, row.topic, row.event_id)
    known = state.changes_of_subject.get(row.subject) or ()
    state.changes.put(key, row)
    others = tuple(each for each in known if (each.topic, each.event_id) != (row.topic, row.event_id))
    state.changes_of_subject.put(row.subject, (*others, row))


def _add_payment(state: State, row: Payment) -> None:
    if state.payments.get(row.key) is None:
        index(state.payments_of_account, row.account, row.key)
    state.payments.put(row.key, row)


def _add_reversal(state: State, row: Reversal) -> None:
    if state.reversals.get(row.key) is None:
        state.reversals.put(row.key, row)
        index(state.reversals_of_payment, PaymentKey(row.key.tenant_id, "payment", row.payment_id), row)


def _add_void(state: State, row: Void) -> None:
    state.voids.put(row.key, row)


def _add_settlement(state: State, row: Settlement) -> None:
    key = (row.payment, row.n)
    if state.settlements.get(key) is None:
        index(state.settlements_of_payment, row.payment, key)
        index(state.settlements_of_invoice, row.invoice, key)
    state.settlements.put(key, row)


def _add_entitlement(state: State, row: Entitlement) -> None:
    if row.invoice is not None and state.entitlements.get(row.key) is None:
        index(state.entitlements_of_invoice, row.invoice, row.key)
    state.entitlements.put(row.key, row)


def _add_grant(state: State, row: Grant) -> None:
    if state.grants.get(row.key) is None:
        index(state.grants_of_account, row.account, row.key)
        if row.entitlement is not None:
            index(state.grants_of_entitlement, row.entitlement, row.key)
        if row.reference is not None:
            state.grant_of_reference.put(ReferenceKey(row.key.tenant_id, row.reference), row.key)
    state.grants.put(row.key, row)


def _add_application(state: State, row: Application) -> None:
    if state.applications.get(row.key) is None:
        index(state.applications_of_invoice, row.invoice, row.key)
    state.applications.put(row.key, row)


def _add_reservation(state: State, row: Reservation) -> None:
    if state.reservations.get(row.key) is None:
        index(state.reservations_of_grant, row.grant, row.key)
        index(state.reservations_of_application, row.application, row.key)
        if row.invoice is not None:
            index(state.reservations_of_invoice, row.invoice, row.key)
    state.reservations.put(row.key, row)


def _add_policy(state: State, row: PolicyVersion) -> None:
    key = (row.key.tenant_id, row.event_id)
    if state.policies.get(key) is None:
        state.policies.put(key, row)
        index(state.policies_of_scope, row.key, row)


ADDERS: dict[type, Any] = {
    Account: _add_account,
    Invoice: _add_invoice,
    Line: _add_line,
    Change: _add_change,
    Payment: _add_payment,
    Reversal: _add_reversal,
    Void: _add_void,
    Settlement: _add_settlement,
    Entitlement: _add_entitlement,
    Grant: _add_grant,
    Application: _add_application,
    Reservation: _add_reservation,
    PolicyVersion: _add_policy,
}
