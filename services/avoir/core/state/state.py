"""State of deciding: rows in tables, with the indexes and queues that decisions read."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from msgspec import Struct, field
from msgspec.structs import replace

from avoir.core.model.events import AccountKey
from avoir.core.model.policy import PolicyVersion, ScopeKey
from avoir.core.model.rows import (
    Account,
    Application,
    ApplicationKey,
    BookingCancellation,
    BookingShortening,
    Change,
    ChangeKey,
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
    PlanCancellation,
    ReferenceKey,
    Reservation,
    ReservationKey,
    Reversal,
    ReversalKey,
    Settlement,
    SubjectKey,
    Void,
)
from avoir.core.state.queue import BEGINNING, GapError, NotLoadedError, Queue, SortKey
from avoir.core.state.table import Index, Table


class Attempt:
    """What was put into a state, in order, so that it can be undone."""

    __slots__ = ("_puts",)

    def __init__(self) -> None:
        self._puts: list[tuple[Table[Any, Any], Any, Any]] = []

    def rows(self, table: Table[Any, Any]) -> list[Any]:
        """The rows put in a table, in their current form."""
        keys = dict.fromkeys(key for each, key, _ in self._puts if each is table)
        return [table.rows[key] for key in keys]

    def put(self, table: Table[Any, Any], key: Any) -> None:
        """Record that the row of a key is about to be put."""
        self._puts.append((table, key, table.mark(key)))

    def undo(self) -> None:
        """Undo everything, the last put first; if interrupted, a second call does what is left."""
        while self._puts:
            table, key, mark = self._puts[-1]
            table.restore(key, mark)
            self._puts.pop()


class State(Struct, eq=False):
    """Tables of a batch. Indexes hold keys, or rows that never change; queues hold sort keys of rows.

    `standing_changes` are those that are not superseded; `lines_elsewhere` is the number of a booking's or plan's lines
    that are stored but not loaded; `grants_elsewhere` says whether an entitlement has grants that are stored but not
    loaded; `last_settlement` is the highest number of a payment's settlements, loaded or not. A
    fork shares each table with its base until it writes to it. An attempt puts all of its rows or none.
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
    changes: Table[ChangeKey, Change]
    reservations: Table[ReservationKey, Reservation]
    policies: Table[tuple[str, str], PolicyVersion]
    grant_of_reference: Table[ReferenceKey, GrantKey]
    lines_elsewhere: Table[SubjectKey, int]
    grants_elsewhere: Table[EntitlementKey, bool]
    last_settlement: Table[PaymentKey, int]
    standing_changes: Table[SubjectKey, tuple[ChangeKey, ...]]
    lines_of_invoice: Index[InvoiceKey, Line]
    lines_of_subject: Index[SubjectKey, Line]
    credit_lines_of_grant: Index[GrantKey, EntitlementKey]
    reversals_of_payment: Index[PaymentKey, Reversal]
    settlements_of_payment: Index[PaymentKey, tuple[PaymentKey, int]]
    settlements_of_invoice: Index[InvoiceKey, tuple[PaymentKey, int]]
    payments_of_invoice: Index[InvoiceKey, PaymentKey]
    applications_of_invoice: Index[InvoiceKey, ApplicationKey]
    grants_of_entitlement: Index[EntitlementKey, GrantKey]
    entitlements_of_invoice: Index[InvoiceKey, EntitlementKey]
    reservations_of_grant: Index[GrantKey, ReservationKey]
    reservations_of_application: Index[ApplicationKey, ReservationKey]
    reservations_of_invoice: Index[InvoiceKey, ReservationKey]
    policies_of_scope: Index[ScopeKey, PolicyVersion]
    grants_in_use: Table[AccountKey, Queue]
    grants_to_begin: Table[AccountKey, Queue]
    grants_to_expire: Table[AccountKey, Queue]
    open_invoices: Table[AccountKey, Queue]
    taking_invoices: Table[AccountKey, Queue]
    free_payments: Table[AccountKey, Queue]
    _own: dict[str, Table[Any, Any]] = field(default_factory=dict)
    _attempt: Attempt | None = None

    @classmethod
    def empty(cls) -> "State":
        """An empty state."""
        tables: dict[str, Any] = {name: Index() if name in INDEXES else Table() for name in STATE_TABLES}
        return cls(**tables, _own=tables)

    def fork(self) -> "State":
        """A copy-on-write view of this state."""
        return replace(self, _own={})

    @contextmanager
    def attempt(self) -> Iterator[Attempt]:
        """Put all that is put inside, or nothing if an error leaves the block."""
        attempt = self._attempt = Attempt()
        try:
            yield attempt
        except BaseException:
            try:
                attempt.undo()
            except BaseException:
                # An interrupt (of a decision that takes too long) must not leave half of it; another is seconds away.
                attempt.undo()
                raise
            raise
        finally:
            self._attempt = None

    def merge(self, fork: "State") -> None:
        """Merge the changes of a fork into this state."""
        for name, table in fork._own.items():
            own = self._own.get(name)
            (self._layer(name) if own is None else own).merge(table)

    def mark_known(self) -> None:
        """Mark everything put so far as known; `added` and `updated` report what comes after."""
        for table in self._own.values():
            table.mark_known()

    def changed(self, name: str) -> Iterator[Any]:
        """Rows of a table put in this state, in their current form."""
        return iter(self._own[name].rows.values()) if name in self._own else iter(())

    def added(self, name: str) -> Iterator[Any]:
        """Rows of a table that are not known yet."""
        return self._own[name].added() if name in self._own else iter(())

    def updated(self, name: str) -> Iterator[Any]:
        """Rows of a table that replace known ones."""
        return self._own[name].updated() if name in self._own else iter(())

    def put(self, name: str, key: Any, row: Any) -> None:
        """Set the row of a key in a table, in this state only."""
        table = self._own.get(name)
        if table is None:
            table = self._layer(name)
        if self._attempt is not None:
            self._attempt.put(table, key)
        table.rows[key] = row

    def index(self, name: str, key: Any, value: Any) -> None:
        """Append a value to an index entry."""
        table: Any = self._own.get(name)
        if table is None:
            table = self._layer(name)
        if self._attempt is not None:
            self._attempt.put(table, key)
        table.append(key, value)

    def number_settlement(self, payment: PaymentKey, n: int) -> None:
        """Record that a payment has a settlement with number `n`."""
        self.put("last_settlement", payment, max(n, self.last_settlement.get(payment) or 0))

    def enqueue(self, name: str, account: AccountKey, sort_key: SortKey) -> None:
        """Add a sort key to one of an account's queues."""
        self.put(name, account, (getattr(self, name).get(account) or _EMPTY).add(sort_key))

    def walk(self, name: str, account: AccountKey, since: SortKey = BEGINNING) -> Iterator[Any]:
        """Rows in one of an account's queues from a sort key on, each in its current form.

        Raises NotLoadedError at a stretch that is not loaded.
        """
        queue: Queue | None = getattr(self, name).get(account)
        if queue is None:
            return
        table, has = QUEUES[name]
        queue = self._without_head(name, account, queue)
        try:
            for sort_key in queue.since(since):
                # Looked up each time: the first row that is put in a fork replaces the table by a layer of its own.
                row = getattr(self, table)[sort_key[-1]]
                if has(row):
                    yield row
        except GapError as gap:
            raise NotLoadedError(name, account, gap.after) from None

    def _without_head(self, name: str, account: AccountKey, queue: Queue) -> Queue:
        """A queue whose first row is still in it; skips used-up rows once."""
        table, has = QUEUES[name]
        rows, start = getattr(self, table), queue.start
        while start < len(queue.base) and not has(rows[queue.base[start][-1]]):
            start += 1
        if start > queue.start:
            queue = replace(queue, start=start)
            self.put(name, account, queue)
        return queue

    def add_known(self, rows: Iterable[Any]) -> None:
        """Put rows that were loaded later, except those already present, which may have changed meanwhile."""
        for row in rows:
            name = TABLES[type(row)]
            key = row.key
            if getattr(self, name).get(key) is None:
                self.add((row,))
                self._own[name].know(key)

    def add(self, rows: Iterable[Any]) -> None:
        """Put rows with their index entries; a row that is known already is replaced."""
        for row in rows:
            ADDERS[type(row)](self, row)

    def _layer(self, name: str) -> Table[Any, Any]:
        """This state's own layer over a table shared until now."""
        table: Table[Any, Any] = getattr(self, name).fork()
        self._own[name] = table
        setattr(self, name, table)
        return table


STATE_TABLES = tuple(name for name in State.__struct_fields__ if not name.startswith("_"))
INDEXES = frozenset(name for name in STATE_TABLES if name == "policies_of_scope" or "s_of_" in name)
_EMPTY = Queue()

TABLES: Mapping[type, str] = {
    Invoice: "invoices",
    Line: "lines",
    Payment: "payments",
    Settlement: "settlements",
    Entitlement: "entitlements",
    Grant: "grants",
    Application: "applications",
    Reservation: "reservations",
}
"""Tables of which more may be loaded while a batch is decided."""


class Queued(NamedTuple):
    """Table whose rows a queue holds, and the test whether a row is still in it."""

    table: str
    has: Callable[[Any], bool]


QUEUES: Mapping[str, Queued] = {
    "grants_in_use": Queued("grants", lambda grant: grant.available > 0),
    "grants_to_begin": Queued("grants", lambda grant: grant.pending > 0),
    "grants_to_expire": Queued("grants", lambda grant: grant.remaining > 0),
    "open_invoices": Queued("invoices", lambda invoice: invoice.due > 0),
    "taking_invoices": Queued("invoices", lambda invoice: invoice.takes_credit),
    "free_payments": Queued("payments", lambda payment: payment.left > 0),
}
"""Grants in the order of use, by start, by expiry; invoices with something due, and those that take credit
automatically, oldest finalization first; payments with something left that name no invoice, by time.
"""


def _add_account(state: State, row: Account) -> None:
    state.put("accounts", row.key, row)


def _add_invoice(state: State, row: Invoice) -> None:
    before = state.invoices.get(row.key)
    state.put("invoices", row.key, row)
    if row.due > 0 and (before is None or before.due == 0):
        state.enqueue("open_invoices", row.account, row.sort_key)
    if row.takes_credit and (before is None or not before.takes_credit):
        state.enqueue("taking_invoices", row.account, row.sort_key)


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
    standing = [key for key in state.standing_changes.get(row.subject) or () if key != row.key]
    state.put("standing_changes", row.subject, tuple(standing if row.superseded else [*standing, row.key]))
    state.put("changes", row.key, row)


def _add_payment(state: State, row: Payment) -> None:
    before = state.payments.get(row.key)
    if before is None:
        for invoice_id in dict.fromkeys(row.invoice_ids):
            state.index("payments_of_invoice", InvoiceKey(row.key.tenant_id, invoice_id), row.key)
    state.put("payments", row.key, row)
    if row.left > 0 and not row.invoice_ids and (before is None or before.left == 0):
        state.enqueue("free_payments", row.account, row.sort_key)


def _add_reversal(state: State, row: Reversal) -> None:
    if state.reversals.get(row.key) is None:
        state.put("reversals", row.key, row)
        state.index("reversals_of_payment", PaymentKey(row.key.tenant_id, "payment", row.payment_id), row)


def _add_void(state: State, row: Void) -> None:
    state.put("voids", row.key, row)


def _add_settlement(state: State, row: Settlement) -> None:
    if state.settlements.get(row.key) is None:
        state.index("settlements_of_payment", row.payment, row.key)
        state.index("settlements_of_invoice", row.invoice, row.key)
        state.number_settlement(row.payment, row.n)
    state.put("settlements", row.key, row)


def _add_entitlement(state: State, row: Entitlement) -> None:
    if state.entitlements.get(row.key) is None and row.invoice is not None:
        state.index("entitlements_of_invoice", row.invoice, row.key)
    state.put("entitlements", row.key, row)


def _add_grant(state: State, row: Grant) -> None:
    before = state.grants.get(row.key)
    if before is None:
        if row.entitlement is not None:
            state.index("grants_of_entitlement", row.entitlement, row.key)
        if row.reference is not None:
            state.put("grant_of_reference", ReferenceKey(row.key.tenant_id, row.reference), row.key)
        if row.pending > 0:
            state.enqueue("grants_to_begin", row.account, (row.effective_at, row.key.id.int, row.key))
    state.put("grants", row.key, row)
    if row.available > 0 and (before is None or before.available == 0):
        state.enqueue("grants_in_use", row.account, row.sort_key)
    if row.expires_at is not None and row.remaining > 0 and (before is None or before.remaining == 0):
        state.enqueue("grants_to_expire", row.account, (row.expires_at, row.key.id.int, row.key))


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
    BookingCancellation: _add_change,
    BookingShortening: _add_change,
    PlanCancellation: _add_change,
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
