"""Loads the open rows of a batch's accounts, and what its messages name, in a bounded number of statements.

An account can have many grants in use and open invoices: only the first are loaded, and `Loader.complete` loads more
when deciding reaches the end.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime
from typing import Any, TypeVar

from msgspec.structs import replace

from avoir.core.handlers.invoices import MOST_LINES
from avoir.core.model.events import AccountKey
from avoir.core.model.policy import ScopeKey
from avoir.core.model.rows import (
    EntitlementKey,
    Grant,
    GrantKey,
    Invoice,
    InvoiceKey,
    PaymentKey,
    Reservation,
    SubjectKey,
)
from avoir.core.state.queue import BEGINNING, NotLoadedError, Queue, SortKey
from avoir.core.state.references import References
from avoir.core.state.state import State
from avoir.postgres import queries, rows
from avoir.postgres.session import Session
from avoir.postgres.sort_keys import GrantSortKey, InvoiceSortKey, last_sort_keys

FIRST_PAGE = 32
MOST_DUE = 5_000
_GROWTH = 4
_LARGEST_PAGE = 10_000

T = TypeVar("T")


class Loader:
    """Loads the state for deciding messages; everything must be locked already.

    What a command names by id may be inserted while this transaction waits for its locks. If it belongs to an account
    that is not locked, it counts as unknown: it did not exist when the command arrived.
    """

    def __init__(
        self,
        session: Session,
        references: References,
        accounts: Collection[AccountKey],
        page: int = FIRST_PAGE,
        most_due: int = MOST_DUE,
    ) -> None:
        self._state = State.empty()
        self._add: Callable[[Iterable[Any]], None] = self._state.add
        self._session = session
        self._references = references
        self._locked = set(accounts)
        self._undoing: set[AccountKey] = set()
        self._page = page
        # `most_due` limits the whole batch: the state must fit into memory and the transaction into its timeouts.
        self._due_of_each = max(1, most_due // max(1, len(accounts)))
        self.is_more_due = False
        self._pages: dict[tuple[str, AccountKey], int] = {}

    async def load(self, now: datetime) -> State:
        """Load the rows that are due by a moment or come first in the accounts, and those that the messages name."""
        session, references, state, accounts = self._session, self._references, self._state, self._locked
        by_id = await session.fetch_if(
            *queries.load_applications(applications=references.applications, invoices=())
        )
        # A command can name any application: one in an account that is not locked counts as unknown.
        applications = [each for each in map(rows.application, by_id) if each.account in accounts]
        state.add(applications)
        # `touched` are invoices on which something may be undone: by a reversal, a void or a reinstatement. All that
        # was done on them is needed.
        settled = await session.fetch_if(*queries.read_invoices_settled_by(payments=references.reversed))
        touched = {InvoiceKey(row["tenant_id"], row["invoice_id"]) for row in settled} | references.voided
        touched |= {each.invoice for each in applications}
        result = await session.fetch_if(
            *queries.load_invoices(
                accounts=accounts, subjects=references.changing, invoices=references.invoices | touched
            )
        )
        invoices = [rows.invoice(row) for row in result]
        state.add(invoices)
        # Where one message of the batch undoes what another does, open invoices can be touched, too.
        known: dict[Any, AccountKey] = {each.key: each.account for each in invoices}
        known |= {each.key: each.account for each in applications}
        self._undoing = await self._accounts_undoing(known)
        opened = await self._open_invoices(sorted(accounts), BEGINNING, self._page)
        touched |= {each.key for each in (*invoices, *opened) if each.account in self._undoing}
        await self._load_due(now)
        grants = await self._grants_in_use(sorted(accounts), BEGINNING, self._page)
        await self._load_rest(references, touched, [*invoices, *opened], grants)
        await self._load_facts()
        await self._count_lines_elsewhere()
        return state

    async def _load_due(self, now: datetime) -> None:
        """Load the grants whose expiry or effective time has come: a limited number of each account."""
        if not self._locked:
            return
        result = await self._session.fetch(
            *queries.load_due_grants(accounts=self._locked, now=now, limit=self._due_of_each)
        )
        grants = [rows.grant(row) for row in result]
        self._state.add(grants)
        counts = Counter(each.account for each in grants)
        self.is_more_due = any(count >= self._due_of_each for count in counts.values())

    async def complete(self, state: State, work: Callable[[], T]) -> T:
        """Return the result of work over a state; each time the work needs more rows, load them and call it again.

        Deciding may take long, so it runs beside the event loop, which keeps the process in its group.
        """
        self._state, self._add = state, state.add_known
        while True:
            try:
                return await self._session.run_in_thread(work)
            except NotLoadedError as gap:
                missing = gap
            await self._load_on(missing)

    async def _load_on(self, gap: NotLoadedError) -> None:
        """Load more after a sort key, in growing pages, so that a long queue takes few statements."""
        if gap.queue == "grants_of_entitlement":
            await self._load_grants_of(EntitlementKey(*gap.after))
            return
        size = min(self._pages.get((gap.queue, gap.account), self._page) * _GROWTH, _LARGEST_PAGE)
        self._pages[gap.queue, gap.account] = size
        if gap.queue == "grants_in_use":
            grants = await self._grants_in_use([gap.account], gap.after, size)
            await self._load_rest(References(), set(), [], grants)
        else:
            only_taking = gap.queue == "taking_invoices"
            invoices = await self._open_invoices([gap.account], gap.after, size, only_taking=only_taking)
            undone = {each.key for each in invoices if each.account in self._undoing}
            await self._load_rest(References(), undone, invoices, [])

    async def _accounts_undoing(self, known: dict[Any, AccountKey]) -> set[AccountKey]:
        references = self._references
        if references.reversed:
            result = await self._session.fetch(
                *queries.load_payments(accounts=(), payments=references.reversed, invoices=(), grants=())
            )
            for row in result:
                known[rows.payment(row).key] = rows.account_key(row)
        return references.undoing(known, self._locked)

    async def _open_invoices(
        self, accounts: Sequence[AccountKey], after: SortKey, size: int, *, only_taking: bool = False
    ) -> list[Invoice]:
        """Load open invoices of accounts after a sort key, at most `size` of each account."""
        if not accounts:
            return []
        start = InvoiceSortKey.after(after)
        result = await self._session.fetch(
            *queries.load_open_invoices(accounts=accounts, after=start, limit=size, only_taking=only_taking)
        )
        invoices = [rows.invoice(row) for row in result]
        self._add(invoices)
        last_loaded = last_sort_keys(((each.account, each.sort_key) for each in invoices), accounts, size)
        for account, last in last_loaded.items():
            self._loaded("taking_invoices", account, after, last)
            if not only_taking:
                self._loaded("open_invoices", account, after, last)
        return invoices

    async def _grants_in_use(self, accounts: Sequence[AccountKey], after: SortKey, size: int) -> list[Grant]:
        """Load grants with something available after a sort key in the order of use, at most `size` of each account."""
        if not accounts:
            return []
        start = GrantSortKey.after(after)
        result = await self._session.fetch(
            *queries.load_grants_in_use(accounts=accounts, after=start, limit=size)
        )
        grants = [rows.grant(row) for row in result]
        self._add(grants)
        last_loaded = last_sort_keys(((each.account, each.sort_key) for each in grants), accounts, size)
        for account, last in last_loaded.items():
            self._loaded("grants_in_use", account, after, last)
        return grants

    def _loaded(self, name: str, account: AccountKey, after: SortKey, last: SortKey | None) -> None:
        """Record in the state how far a queue of an account is loaded."""
        known: Queue | None = getattr(self._state, name).get(account)
        queue = known or Queue()
        if after == BEGINNING:
            gaps = () if last is None else ((last, None),)
            queue = replace(queue, gaps=gaps)
        else:
            queue = queue.loaded(after, last)
        # No queue is needed for an account without rows in it and without a gap.
        if known is not None or queue.gaps:
            self._state.put(name, account, queue)

    async def _load_rest(
        self,
        references: References,
        touched: set[InvoiceKey],
        loaded: Collection[Invoice],
        in_use: Collection[Grant],
    ) -> None:
        """Load the rows that belong to what messages name, to invoices that may be undone in part, and to open rows."""
        session = self._session
        accounts = self._locked if references is self._references else set()
        if touched:
            result = await session.fetch(*queries.load_applications(applications=(), invoices=touched))
            self._add(map(rows.application, result))
        reserved = await self._load_reservations(references, set())
        used = {*references.grants, *(each.grant for each in reserved), *self._sliced(touched)}
        payments = await self._load_payments(references, touched, used, in_use)
        result = await session.fetch_if(
            *queries.load_entitlements(
                accounts=accounts,
                waited_for={each.key for each in loaded if each.due > 0},
                subjects=references.changing,
                invoices=touched,
                payments=payments,
            )
        )
        entitlements = [rows.entitlement(row) for row in result]
        self._add(entitlements)
        lines = {each.key for each in entitlements if each.key.kind in ("line", "credit_line")}
        result = await session.fetch_if(
            *queries.load_lines(subjects=references.changing, invoices=touched, lines=lines)
        )
        self._add(sorted(map(rows.line, result), key=lambda line: (line.invoice, line.position)))
        many = {each.key for each in entitlements if each.grants > self._page}
        for key in many:
            if self._state.grants_elsewhere.get(key) is None:
                self._state.put("grants_elsewhere", key, True)
        result = await session.fetch_if(
            *queries.load_grants(
                entitlements={each.key for each in entitlements} - many,
                grants=used,
                references=references.grant_references,
            )
        )
        grants = [each for each in map(rows.grant, result) if self._is_known(each, references)]
        self._add(grants)
        with_reserved = {each.key for each in (*grants, *in_use) if each.reserved > 0}
        await self._load_reservations(References(), with_reserved | used)

    async def _load_grants_of(self, entitlement: EntitlementKey) -> None:
        """Load all grants of an entitlement that has many."""
        result = await self._session.fetch(
            *queries.load_grants(entitlements={entitlement}, grants=(), references=())
        )
        grants = [rows.grant(row) for row in result]
        self._add(grants)
        self._state.put("grants_elsewhere", entitlement, False)
        await self._load_reservations(References(), {each.key for each in grants if each.reserved > 0})

    def _is_known(self, grant: Grant, references: References) -> bool:
        return grant.account in self._locked or grant.key not in references.grants

    def _sliced(self, invoices: Iterable[InvoiceKey]) -> set[GrantKey]:
        """The grants used by applications on invoices."""
        state = self._state
        used = (
            state.applications[key]
            for each in invoices
            for key in state.applications_of_invoice.get(each) or ()
        )
        return {GrantKey(each.key.tenant_id, grant_id) for each in used for grant_id, _ in each.slices}

    async def _load_payments(
        self,
        references: References,
        invoices: Collection[InvoiceKey],
        used: Collection[GrantKey],
        in_use: Collection[Grant],
    ) -> set[PaymentKey]:
        """Load payments: those that messages name, and those with overpayment that an invoice may take.

        A payment may have settled any number of invoices: settlements are loaded only of invoices that may reopen.
        """
        session = self._session
        opening = (
            {*references.finalized.values(), *self._undoing} & self._locked
            if references is self._references
            else set()
        )
        over = {key for grant in in_use if (key := grant.payment_key) is not None}
        result = await session.fetch_if(
            *queries.load_payments(
                accounts=opening, payments=references.payments | over, invoices=invoices, grants=used
            ),
        )
        payments = [rows.payment(row) for row in result]
        self._add(payments)
        keys = {each.key for each in payments}
        settlements = await session.fetch_if(*queries.load_settlements(invoices=invoices))
        self._add(map(rows.settlement, settlements))
        for row in await session.fetch_if(*queries.read_last_settlements(payments=keys)):
            self._state.number_settlement(PaymentKey(row["tenant_id"], row["kind"], row["id"]), row["n"])
        return keys

    async def _load_reservations(
        self, references: References, grants: Collection[GrantKey]
    ) -> list[Reservation]:
        """Load reservations by grant, invoice and application id, with the applications that first used them."""
        result = await self._session.fetch_if(
            *queries.load_reservations(
                grants=grants,
                applications=references.applications,
                invoices={*references.finalized, *references.voided},
            ),
        )
        reservations = [each for each in map(rows.reservation, result) if each.account in self._locked]
        self._add(reservations)
        # The first use of a reservation has its id; a later use has another. So whether there was one is needed.
        used_before = {each.application for each in reservations if each.amount > 0}
        result = await self._session.fetch_if(
            *queries.load_applications(applications=used_before, invoices=())
        )
        self._add(map(rows.application, result))
        return reservations

    async def _load_facts(self) -> None:
        session, references, state = self._session, self._references, self._state
        changes = await session.fetch_if(*queries.load_changes(subjects=references.changing))
        state.add(map(rows.change, changes))
        reversals = await session.fetch_if(
            *queries.load_reversals(payments=references.payments, reversals=references.reversals)
        )
        state.add(map(rows.reversal, reversals))
        voids = await session.fetch_if(*queries.load_voids(invoices=references.about))
        state.add(map(rows.void, voids))
        tenants = {ScopeKey(each.tenant_id, "tenant", "") for each in self._locked}
        owners = {ScopeKey.of_owner(each.tenant_id, each.owner) for each in self._locked}
        policies = await session.fetch_if(*queries.load_policies(scopes=references.scopes | tenants | owners))
        state.add(map(rows.policy, policies))

    async def _count_lines_elsewhere(self) -> None:
        """Count the lines of what is billed and never changed: they are not loaded, since there may be too many."""
        billed = self._references.subjects - self._references.changing
        if billed:
            result = await self._session.fetch(
                *queries.read_lines_elsewhere(subjects=billed, limit=MOST_LINES)
            )
            for row in result:
                key = SubjectKey(row["tenant_id"], row["kind"], row["id"])
                here = len(self._state.lines_of_subject.get(key) or ())
                if row["lines"] > here:
                    self._state.put("lines_elsewhere", key, row["lines"] - here)
