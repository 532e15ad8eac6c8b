"""What Avoir knows while it decides: rows in copy-on-write tables, with the indexes that decisions walk."""

from collections.abc import Iterable, Iterator
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

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
    """The tables of a batch. Index tables hold tuples of keys, or of rows that never change.

    A fork shares each table with what it lies on until it puts something there.
    """

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
    _own: dict[str, Table[Any, Any]] = field(default_factory=dict)

    @classmethod
    def empty(cls) -> "State":
        """A state in which nothing is known."""
        tables: dict[str, Table[Any, Any]] = {name: Table() for name in STATE_TABLES}
        return cls(**tables, _own=tables)

    def fork(self) -> "State":
        """A copy-on-write view of this state."""
        return replace(self, _own={})

    def take_over(self, fork: "State") -> None:
        """Make the changes of a fork this state's own."""
        for name, table in fork._own.items():
            own = self._own.get(name)
            (self._layer(name) if own is None else own).rows.update(table.rows)

    def mark_known(self) -> None:
        """Let what was put so far be what is known; `added` and `updated` tell the rest from it."""
        for table in self._own.values():
            table.mark_known()

    def changed(self, name: str) -> Iterator[Any]:
        """The rows of a table that were put in this state, each as it stands."""
        return iter(self._own[name].rows.values()) if name in self._own else iter(())

    def added(self, name: str) -> Iterator[Any]:
        """The rows of a table that are not known yet."""
        return self._own[name].added() if name in self._own else iter(())

    def updated(self, name: str) -> Iterator[Any]:
        """The rows of a table that take the place of known ones."""
        return self._own[name].updated() if name in self._own else iter(())

    def put(self, name: str, key: Any, row: Any) -> None:
        """Set the row of a key in a table, in this state only."""
        table = self._own.get(name)
        (self._layer(name) if table is None else table).rows[key] = row

    def index(self, name: str, key: Any, value: Any) -> None:
        """Append a value to an index entry."""
        table = self._own.get(name)
        if table is None:
            table = self._layer(name)
        table.rows[key] = (*(table.get(key) or ()), value)

    def add(self, rows: Iterable[Any]) -> None:
        """Put rows with their index entries; a row that is known already is replaced."""
        for row in rows:
            ADDERS[type(row)](self, row)

    def _layer(self, name: str) -> Table[Any, Any]:
        """A layer of this state's own over a table that it has shared until now."""
        table: Table[Any, Any] = getattr(self, name).fork()
        self._own[name] = table
        setattr(self, name, table)
        return table


STATE_TABLES = tuple(name for name in State.__struct_fields__ if name != "_own")


def _add_account(state: State, row: Account) -> None:
    state.put("accounts", row.key, row)


def _add_invoice(state: State, row: Invoice) -> None:
    if state.invoices.get(row.key) is None:
        state.index("invoices_of_account", row.account, row.key)
    state.put("invoices", row.key, row)


def _add_line(state: State, row: Line) -> None:
    key, subject = row.key, row.subject
    if state.lines.get(key) is not None:
        return
    state.put("lines", key, row)
    state.index("lines_of_invoice", row.invoice, row)
    if subject is not None:
        state.index("lines_of_subject", subject, row)
    if row.credit_grant is not None:
        state.index("credit_lines_of_grant", row.credit_grant, key)


def _add_change(state: State, row: Change) -> None:
    key = (row.subject.tenant_id, row.topic, row.event_id)
    known = state.changes_of_subject.get(row.subject) or ()
    state.put("changes", key, row)
    others = tuple(each for each in known if (each.topic, each.event_id) != (row.topic, row.event_id))
    state.put("changes_of_subject", row.subject, (*others, row))


def _add_payment(state: State, row: Payment) -> None:
    if state.payments.get(row.key) is None:
        state.index("payments_of_account", row.account, row.key)
    state.put("payments", row.key, row)


def _add_reversal(state: State, row: Reversal) -> None:
    if state.reversals.get(row.key) is None:
        state.put("reversals", row.key, row)
        state.index("reversals_of_payment", PaymentKey(row.key.tenant_id, "payment", row.payment_id), row)


def _add_void(state: State, row: Void) -> None:
    state.put("voids", row.key, row)


def _add_settlement(state: State, row: Settlement) -> None:
    key = (row.payment, row.n)
    if state.settlements.get(key) is None:
        state.index("settlements_of_payment", row.payment, key)
        state.index("settlements_of_invoice", row.invoice, key)
    state.put("settlements", key, row)


def _add_entitlement(state: State, row: Entitlement) -> None:
    if state.entitlements.get(row.key) is None and row.invoice is not None:
        state.index("entitlements_of_invoice", row.invoice, row.key)
    state.put("entitlements", row.key, row)


def _add_grant(state: State, row: Grant) -> None:
    if state.grants.get(row.key) is None:
        state.index("grants_of_account", row.account, row.key)
        if row.entitlement is not None:
            state.index("grants_of_entitlement", row.entitlement, row.key)
        if row.reference is not None:
            state.put("grant_of_reference", ReferenceKey(row.key.tenant_id, row.reference), row.key)
    state.put("grants", row.key, row)


def _add_application(state: State, row: Application) -> None:
    if state.applications.get(row.key) is None:
        state.index("applications_of_invoice", row.invoice, row.key)
    state.put("applications", row.key, row)


def _add_reservation(state: State, row: Reservation) -> None:
    if state.reservations.get(row.key) is None:
        state.index("reservations_of_grant", row.grant, row.key)
        state.index("reservations_of_application", row.application, row.key)
        if row.invoice is not None:
            state.index("reservations_of_invoice", row.invoice, row.key)
    state.put("reservations", row.key, row)


def _add_policy(state: State, row: PolicyVersion) -> None:
    key = (row.key.tenant_id, row.event_id)
    if state.policies.get(key) is None:
        state.put("policies", key, row)
        state.index("policies_of_scope", row.key, row)


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
