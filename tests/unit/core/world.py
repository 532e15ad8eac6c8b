"""The core as tests speak to it: facts in the words of the domain, handled one after the other."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from msgspec.structs import replace

from avoir.core.decide import Decided, decide
from avoir.core.decision import Decision
from avoir.core.draft import Draft, Moment
from avoir.core.events import AccountKey, Event, EventBody
from avoir.core.facts import (
    ApplicationRejected,
    BookingCancelled,
    BookingShortened,
    Fact,
    InvoiceFinalized,
    InvoiceLine,
    InvoiceVoided,
    Owner,
    PaymentRecorded,
    PaymentReversed,
    Period,
    PlanCancelled,
)
from avoir.core.ledger import Entry, entry_hash
from avoir.core.message import Message
from avoir.core.money import parse_decimal
from avoir.core.policy import Policy
from avoir.core.settle import expire_overdue
from avoir.core.state import State

U1 = Owner("user", "u1")
EURO = 1_000_000
NOW = datetime(2025, 12, 31, tzinfo=UTC)


def at(text: str) -> datetime:
    """A UTC time from "06-02" or "06-02T10:00", in 2025."""
    return datetime.fromisoformat(f"2025-{text}").replace(tzinfo=UTC)


def line(
    line_id: str,
    amount: str,
    *,
    tax: str = "0",
    booking: str | None = None,
    plan: str | None = None,
    kind: str | None = None,
    period: tuple[str, str] | None = None,
    expires: str | None = None,
) -> InvoiceLine:
    """An invoice line: of a booking, a plan, or of the kind given."""
    return InvoiceLine(
        line_id=line_id,
        kind=kind or ("booking" if booking else "plan" if plan else "other"),  # type: ignore[arg-type]
        subject_id=booking or plan,
        period=Period(at(period[0]), at(period[1])) if period else None,
        amount=parse_decimal(amount),
        tax=parse_decimal(tax),
        expires_at=at(expires) if expires else None,
    )


def invoice(
    invoice_id: str,
    *lines: InvoiceLine,
    paid: str = "0",
    owner: Owner = U1,
    currency: str = "EUR",
    automatic: bool = True,
    auto_apply: bool | None = None,
) -> InvoiceFinalized:
    return InvoiceFinalized(
        invoice_id=invoice_id,
        number=f"N-{invoice_id}",
        owner=owner,
        currency=currency,
        automatic=automatic,
        auto_apply=auto_apply,
        lines=lines,
        total=sum(each.amount + each.tax for each in lines),
        amount_paid=parse_decimal(paid),
    )


def cancelled(
    booking_id: str,
    *,
    by: str = "customer",
    ask: bool | None = None,
    fee: str = "0",
    currency: str | None = None,
    revision: int | None = None,
) -> BookingCancelled:
    return BookingCancelled(
        booking_id=booking_id,
        owner=U1,
        changed_by=by,  # type: ignore[arg-type]
        create_credit=ask,
        fee=parse_decimal(fee),
        currency=currency or ("EUR" if fee != "0" else None),
        revision=revision,
    )


def shortened(
    booking_id: str,
    *,
    billed: tuple[str, str] | None = None,
    remaining: tuple[str, str] | None = None,
    prices: tuple[str, str] | None = None,
    by: str = "customer",
    ask: bool | None = None,
    revision: int | None = None,
) -> BookingShortened:
    return BookingShortened(
        booking_id=booking_id,
        owner=U1,
        changed_by=by,  # type: ignore[arg-type]
        create_credit=ask,
        revision=revision,
        billed_period=Period(at(billed[0]), at(billed[1])) if billed else None,
        remaining_period=Period(at(remaining[0]), at(remaining[1])) if remaining else None,
        billed_price=parse_decimal(prices[0]) if prices else None,
        remaining_price=parse_decimal(prices[1]) if prices else None,
        currency="EUR" if prices else None,
    )


def plan_cancelled(
    plan_id: str, effective: str, unused: str = "whole_periods", *, ask: bool = True
) -> PlanCancelled:
    return PlanCancelled(
        plan_id=plan_id,
        owner=U1,
        changed_by="admin",
        create_credit=ask,
        effective_at=at(effective),
        unused=unused,  # type: ignore[arg-type]
    )


def payment(
    payment_id: str, amount: str, *invoice_ids: str, owner: Owner = U1, currency: str = "EUR"
) -> PaymentRecorded:
    return PaymentRecorded(payment_id, owner, parse_decimal(amount), currency, invoice_ids)


def reversal(reversal_id: str, payment_id: str, amount: str, currency: str = "EUR") -> PaymentReversed:
    return PaymentReversed(reversal_id, payment_id, parse_decimal(amount), currency, "refund")


def voided(invoice_id: str) -> InvoiceVoided:
    return InvoiceVoided(invoice_id, "issued twice")


def rejected(application_id: str) -> ApplicationRejected:
    return ApplicationRejected(application_id, "invoice already closed")


TOPICS: dict[type, str] = {
    InvoiceFinalized: "invoice-finalized",
    BookingCancelled: "booking-cancelled",
    BookingShortened: "booking-shortened",
    PlanCancelled: "plan-cancelled",
    PaymentRecorded: "payment-recorded",
    PaymentReversed: "payment-reversed",
    InvoiceVoided: "invoice-voided",
    ApplicationRejected: "credit-application-rejected",
}


def message(event_id: str, when: str, fact: Fact, tenant: str = "t1") -> Message:
    """A fact with its envelope; the contents hash stands for the parsed message."""
    occurred_at = at(when)
    contents = sha256(repr((occurred_at, fact)).encode()).digest()
    return Message(tenant, TOPICS[type(fact)], event_id, occurred_at, contents, fact)


@dataclass
class World:
    """A state with what was told to it; every step checks the ledger's invariants."""

    policy: Policy = field(default_factory=Policy)
    now: datetime = NOW
    state: State = field(default_factory=State.empty)
    events: list[Event] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)

    def told(self, event_id: str, when: str, fact: Fact) -> Decision:
        """Handle one fact."""
        return self.handle(message(event_id, when, fact))

    def handle(self, told: Message) -> Decision:
        decided = decide(self.state, told, Moment(self.now, 1, self.policy))
        self.state.take_over(decided.state)
        self.events += decided.events
        self.entries += decided.entries
        self.decisions.append(decided.decision)
        self._check(decided)
        return decided.decision

    def sweep(self) -> None:
        """Expire what is overdue, as the service does every second without a message."""
        draft = Draft(self.state.fork(), Moment(self.now, 1, self.policy), None, self.now)
        for account in rows(self.state.accounts):
            expire_overdue(draft, account.key)
        self.state.take_over(draft.state)
        self.events += draft.events
        self.entries += draft.entries

    def handle_all(self, messages: Iterable[Message]) -> "World":
        for each in messages:
            self.handle(each)
        return self

    def bodies(self, kind: type | None = None) -> list[Any]:
        """The events so far, of one kind or all."""
        return [event.body for event in self.events if kind is None or isinstance(event.body, kind)]

    def balance(self, owner: Owner = U1, currency: str = "EUR") -> tuple[float, float]:
        """(available, reserved) in major units."""
        account = self.state.accounts.get(AccountKey("t1", *owner, currency))
        return (account.available / EURO, account.reserved / EURO) if account else (0.0, 0.0)

    def available(self, owner: Owner = U1) -> float:
        return self.balance(owner)[0]

    def due(self, invoice_id: str) -> float:
        return self.state.invoices["t1", invoice_id].due / EURO  # type: ignore[index]

    def applied(self, invoice_id: str) -> float:
        return self.state.invoices["t1", invoice_id].applied / EURO  # type: ignore[index]

    def credited(self, invoice_id: str, line_id: str = "l1") -> float:
        """What was given for a line less what was taken back, in major units."""
        entitlement = self.state.entitlements.get(("t1", "line", invoice_id, line_id))  # type: ignore[arg-type]
        return entitlement.given / EURO if entitlement else 0.0

    def shortfall(self) -> float:
        return float(sum(each.shortfall for each in rows(self.state.entitlements)) / EURO)

    def net(self) -> dict[AccountKey, int]:
        """available + reserved - due + credit that waits for payment - shortfalls, per account.

        Where the credit of an unpaid line is short, its payment makes up for that: so much waits too.
        """
        net: dict[AccountKey, int] = {}
        for account in rows(self.state.accounts):
            net[account.key] = net.get(account.key, 0) + account.available + account.reserved
        for each in rows(self.state.invoices):
            net[each.account] = net.get(each.account, 0) - each.due
        for each in rows(self.state.entitlements):
            waits = each.invoice is not None and self.state.invoices[each.invoice].due > 0
            waiting = max(0, each.target - each.given + each.shortfall) if waits else 0
            net[each.account] = net.get(each.account, 0) + waiting - each.shortfall
        return {key: value for key, value in net.items() if value}

    def _check(self, decided: Decided) -> None:
        for event in decided.events:
            if event.account is not None:
                assert event.available is not None and event.available >= 0
                assert event.reserved is not None and event.reserved >= 0
        for account in rows(decided.state.accounts):
            held = [self.state.grants[key] for key in self.state.grants_of_account.get(account.key) or ()]
            assert account.available == sum(grant.available for grant in held)
            assert account.reserved == sum(grant.reserved for grant in held)
        for grant in rows(decided.state.grants):
            parts = (grant.available, grant.reserved, grant.spent, grant.lost, grant.taken)
            assert grant.amount == sum(parts) and min(parts) >= 0
        for each in rows(decided.state.entitlements):
            assert 0 <= each.target <= each.cost and 0 <= each.given <= each.cost
        for bill in rows(decided.state.invoices):
            assert bill.due >= 0 and bill.settled >= 0 and bill.applied >= 0
        for paid in rows(decided.state.payments):
            assert paid.left >= 0
            settled = [
                self.state.settlements[key] for key in self.state.settlements_of_payment.get(paid.key) or ()
            ]
            assert paid.settled == sum(each.amount for each in settled)

    def check_ledger(self) -> None:
        """Sequence numbers without gaps, running balances and hash chains, from the entries alone."""
        seqs: dict[AccountKey, int] = {}
        for event in self.events:
            if event.account is not None:
                assert event.seq == seqs.get(event.account, 0) + 1
                seqs[event.account] = event.seq
        heads: dict[AccountKey, bytes] = {}
        balances: dict[tuple[AccountKey, str], int] = {}
        for entry in self.entries:
            side = entry.account, entry.ledger_account
            balances[side] = balances.get(side, 0) + entry.amount
            assert balances[side] == entry.balance >= 0
            assert entry_hash(heads.get(entry.account, bytes(32)), replace(entry, hash=b"")) == entry.hash
            heads[entry.account] = entry.hash


def rows(table: Any) -> list[Any]:
    """All rows of a table of a world's own state."""
    return list(table.changed())


def given(*messages: Message, policy: Policy | None = None, now: datetime = NOW) -> World:
    """A world that was told these messages, in this order."""
    return World(policy=policy or Policy(), now=now).handle_all(messages)


def kinds(bodies: Sequence[EventBody]) -> list[str]:
    return [type(body).__name__ for body in bodies]
