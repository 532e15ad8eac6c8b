"""Effects of one message on a state, with the events and entries recorded on the way."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from msgspec import Struct, field
from msgspec.structs import replace

from avoir.core.model.commands import Actor
from avoir.core.model.events import (
    AccountKey,
    Cause,
    CreditApplied,
    CreditDrawn,
    CreditExpired,
    CreditIssued,
    CreditRefunded,
    CreditReinstated,
    CreditReserved,
    CreditVoided,
    Event,
    EventBody,
)
from avoir.core.model.facts import Owner
from avoir.core.model.ids import derived_id
from avoir.core.model.ledger import GENESIS, CustomerAccount, Entry, LedgerAccount, Posting, entry_hash, post
from avoir.core.model.money import MOST_MICROS, OverLimitError, format_decimal
from avoir.core.model.policy import InForce, Policy, in_force, scopes_of
from avoir.core.model.rows import (
    Account,
    Change,
    Entitlement,
    EntitlementKey,
    Grant,
    GrantKey,
    Invoice,
    InvoiceKey,
    Payment,
    PaymentKey,
    SubjectKey,
)
from avoir.core.model.rules import TODAY
from avoir.core.state.queue import NotLoadedError
from avoir.core.state.state import Attempt, State

BY_TIME = Cause("", "")
"""Cause of entries that time alone made."""


class Moment(Struct, frozen=True):
    """Circumstances in which a batch is decided: database clock (after the last lock), epoch, widest policy."""

    now: datetime
    epoch: int
    policy: Policy


class Touched(Struct, eq=False):
    """Rows that a message has changed in one account, as keys."""

    invoices: set[InvoiceKey] = field(default_factory=set)
    payments: set[PaymentKey] = field(default_factory=set)
    entitlements: set[EntitlementKey] = field(default_factory=set)
    grants: set[GrantKey] = field(default_factory=set)


TOUCHING: Mapping[type, str] = {
    Invoice: "invoices",
    Payment: "payments",
    Entitlement: "entitlements",
    Grant: "grants",
}
"""Rows that drive settling, and the sets in which their keys are recorded."""


class Draft(Struct, eq=False):
    """Effects of one message so far; `attempt` is what it has put into `state`."""

    state: State
    attempt: Attempt
    moment: Moment
    cause: Cause | None
    occurred_at: datetime
    rules: int = TODAY
    by: Actor | None = None
    events: list[Event] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    writes: int = 0
    _ids: int = 0
    _touched: dict[AccountKey, Touched] = field(default_factory=dict)
    _touched_now: dict[AccountKey, Touched] = field(default_factory=dict)

    def put(self, *rows: Any) -> None:
        """Put rows with their index entries, and record what they touch."""
        self.writes += len(rows)
        self.state.add(rows)
        for row in rows:
            kind = TOUCHING.get(type(row))
            if kind is not None:
                # For this pass, which may still reach the row, and for the next, in case this one is already past it.
                for accounts in (self._touched, self._touched_now):
                    touched = accounts.get(row.account)
                    if touched is None:
                        touched = accounts[row.account] = Touched()
                    getattr(touched, kind).add(row.key)

    def begin_pass(self, key: AccountKey) -> Touched:
        """Begin a new pass over an account; returns what counts as touched in it, which grows during the pass.

        That is what was touched in this pass and the one before; anything older is at rest.
        """
        touched = self._touched[key] = self._touched_now.pop(key) if key in self._touched_now else Touched()
        return touched

    def new_id(self, tenant_id: str, *parts: object) -> UUID:
        """Derive an id from the message, so that a retry gives the same (RFC 9562 UUIDv5).

        Effects of time alone are distinguished by the number of the account's preceding event, which is the same
        whenever they are handled, and together with whichever other accounts.
        """
        if self.cause is None:
            follows = self.events[-1].seq if self.events else None
            return derived_id(tenant_id, *BY_TIME, follows, *parts)
        # A count, since one message may make several ids of the same parts.
        self._ids += 1
        return derived_id(tenant_id, *self.cause, self._ids, *parts)

    def account(self, key: AccountKey) -> Account:
        """An account, opened if it is new."""
        return self.state.accounts.get(key) or Account(key, 0, 0, 0, GENESIS)

    def policy(self, account: AccountKey, at: datetime, invoice: InvoiceKey | None = None) -> InForce:
        """The policy for an account, or for one of its invoices, in force at a moment."""
        invoice_id = None if invoice is None else invoice.invoice_id
        scopes = scopes_of(account.tenant_id, account.owner, invoice_id)
        versions = [versions for scope in scopes if (versions := self.state.policies_of_scope.get(scope))]
        return in_force(self.moment.policy, versions, at, account.currency)

    def open_invoices(self, key: AccountKey) -> Iterator[Invoice]:
        """An account's invoices with something due, oldest finalization first."""
        return self.state.walk("open_invoices", key)

    def grants_in_use(self, key: AccountKey) -> Iterator[Grant]:
        """An account's grants with something available, in the order of use."""
        return self.state.walk("grants_in_use", key)

    def changes(self, subject: SubjectKey) -> list[Change]:
        """The changes of a booking or plan that may decide something, in no order."""
        return [self.state.changes[key] for key in self.state.standing_changes.get(subject) or ()]

    def grants_for(self, key: EntitlementKey) -> list[Grant]:
        """Grants of an entitlement, oldest first. Raises NotLoadedError if they are many and not all loaded."""
        if self.state.grants_elsewhere.get(key):
            raise NotLoadedError("grants_of_entitlement", self.state.entitlements[key].account, key)
        keys = self.state.grants_of_entitlement.get(key) or ()
        return sorted((self.state.grants[each] for each in keys), key=lambda grant: grant.ordinal)

    def record(
        self,
        key: AccountKey,
        body: EventBody,
        postings: Sequence[Posting] = (),
        *,
        cause: Cause | None = None,
        occurred_at: datetime | None = None,
        by: Actor | None = None,
    ) -> None:
        """Record an event of an account and post what it moves; the event holds the balance after it.

        An event that this message causes has its actor.
        """
        occurred_at = occurred_at or self.occurred_at
        before = self.account(key)
        account = before.following(self.moment.epoch)
        # Entries before grants: each entry holds the balance after it, and chains to the hash of the one before.
        legs = [leg for posting in postings for leg in _legs(posting)]
        for n, leg in enumerate(legs, 1):
            entry = self._entry(account, n, leg, body, cause or BY_TIME, occurred_at)
            self.entries.append(entry)
            account = _after(account, entry)
        for posting in postings:
            self._move(key, posting)
        self.put(account)
        self.events.append(
            Event(
                event_id=account.event_id(self.moment.epoch),
                tenant_id=key.tenant_id,
                owner=key.owner,
                account=key,
                occurred_at=occurred_at,
                recorded_at=self.moment.now,
                caused_by=cause,
                epoch=self.moment.epoch,
                seq=account.seq,
                available=account.available,
                reserved=account.reserved,
                body=body,
                voids_from=account.voids_from(self.moment.epoch),
                by=self.by if by is None and cause == self.cause else by,
            )
        )

    def record_without_account(self, tenant_id: str, owner: Owner | None, body: EventBody) -> None:
        """Record an event that concerns no account: it has no sequence number and no balance."""
        self.events.append(
            Event(
                event_id=self.new_id(tenant_id, "event", self.moment.epoch),
                tenant_id=tenant_id,
                owner=owner,
                account=None,
                occurred_at=self.occurred_at,
                recorded_at=self.moment.now,
                caused_by=self.cause,
                epoch=self.moment.epoch,
                seq=None,
                available=None,
                reserved=None,
                body=body,
                by=self.by,
            )
        )

    def _move(self, account: AccountKey, posting: Posting) -> None:
        grant = self.state.grants[GrantKey(account.tenant_id, posting.grant_id)]
        if grant.account != account:
            raise ValueError(f"grant {posting.grant_id} is not of account {account}")
        self.put(post(grant, posting))

    def _entry(
        self, account: Account, n: int, leg: "Leg", body: EventBody, cause: Cause, occurred_at: datetime
    ) -> Entry:
        held = account.available if leg.side == "available" else account.reserved
        if held + leg.amount > MOST_MICROS:
            most = format_decimal(MOST_MICROS, account.key.currency)
            raise OverLimitError(f"amount: the account would hold more than {most} {account.key.currency}")
        entry = Entry(
            account=account.key,
            seq=account.seq,
            n=n,
            ledger_account=leg.side,
            counter_account=leg.counter,
            grant_id=leg.grant_id,
            amount=leg.amount,
            balance=held + leg.amount,
            event=MOVEMENTS[type(body)],
            reason=_reason(body),
            invoice_id=getattr(body, "invoice_id", None),
            application_id=getattr(body, "application_id", None),
            topic=cause.topic,
            event_id=cause.event_id,
            occurred_at=occurred_at,
            recorded_at=self.moment.now,
        )
        return replace(entry, hash=entry_hash(account.head, entry))


def payment_order(payment: Payment) -> tuple[object, ...]:
    """Sort key of payments in the order in which they settle: `amount_paid` before others, then by time and id."""
    return payment.key.kind, payment.occurred_at, payment.key.id


MOVEMENTS: Mapping[type, str] = {
    CreditIssued: "issued",
    CreditApplied: "applied",
    CreditReserved: "reserved",
    CreditReinstated: "reinstated",
    CreditVoided: "voided",
    CreditRefunded: "refunded",
    CreditExpired: "expired",
    CreditDrawn: "drawn",
}
"""Event name of an entry."""


class Leg(NamedTuple):
    """One side of a posting on a customer's ledger account, signed."""

    side: CustomerAccount
    counter: LedgerAccount
    grant_id: UUID
    amount: int


def _legs(posting: Posting) -> Iterator[Leg]:
    if posting.source == "available" or posting.source == "reserved":
        yield Leg(posting.source, posting.destination, posting.grant_id, -posting.amount)
    if posting.destination == "available" or posting.destination == "reserved":
        yield Leg(posting.destination, posting.source, posting.grant_id, posting.amount)


def _after(account: Account, entry: Entry) -> Account:
    if entry.ledger_account == "available":
        return replace(account, available=entry.balance, head=entry.hash)
    return replace(account, reserved=entry.balance, head=entry.hash)


def _reason(body: EventBody) -> str:
    match body:
        case CreditIssued() | CreditReinstated() | CreditVoided():
            return body.reason
        case CreditApplied():
            return body.by
        case CreditRefunded() | CreditDrawn():
            return body.reference
        case CreditReserved():
            return "reserved"
        case CreditExpired():
            return "expired"
        case _:
            raise ValueError(f"{type(body).__name__} moves no credit")
