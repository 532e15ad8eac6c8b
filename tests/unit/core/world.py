"""The core as tests speak to it: facts in the words of the domain, handled one after the other."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any
from uuid import UUID

from msgspec.structs import replace

from avoir.core.decide import decide, expire
from avoir.core.model import commands
from avoir.core.model.commands import Command
from avoir.core.model.decision import Decision
from avoir.core.model.events import AccountKey, CreditApplied, CreditReserved, Event, EventBody
from avoir.core.model.facts import (
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
from avoir.core.model.ledger import Entry
from avoir.core.model.message import Message
from avoir.core.model.money import parse_decimal
from avoir.core.model.policy import Policy
from avoir.core.model.rows import Grant
from avoir.core.state.draft import Moment
from avoir.core.state.state import State
from tests.unit.core.invariants import check_ledger, check_rows, net_of

U1 = Owner("user", "u1")
EURO = 1_000_000
NOW = datetime(2025, 12, 31, tzinfo=UTC)
WHEN_ASKED = datetime.min.replace(tzinfo=UTC)


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
    credit: UUID | str | None = None,
) -> InvoiceLine:
    """An invoice line: of a booking, a plan, a credit line of Avoir's, or of the kind given."""
    of = "booking" if booking else "plan" if plan else "credit" if credit else "other"
    return InvoiceLine(
        line_id=line_id,
        kind=kind or of,  # type: ignore[arg-type]
        subject_id=booking or plan,
        period=Period(at(period[0]), at(period[1])) if period else None,
        amount=parse_decimal(amount),
        tax=parse_decimal(tax),
        credit_line_id=None if credit is None else str(credit),
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
    commands.GrantCredit: "grant-credit",
    commands.ApplyCredit: "apply-credit",
    commands.ReinstateCredit: "reinstate-credit",
    commands.VoidCredit: "void-credit",
    commands.RefundCredit: "refund-credit",
    commands.DrawCredit: "draw-credit",
    commands.SetCreditPolicy: "set-credit-policy",
}


def message(event_id: str, when: str, fact: Fact | Command, tenant: str = "t1") -> Message:
    """A fact or a command with its envelope; the contents hash stands for the parsed message.

    A grant that says no `effective_at` counts from when it was asked for.
    """
    occurred_at = at(when)
    if isinstance(fact, commands.GrantCredit) and fact.effective_at == WHEN_ASKED:
        fact = replace(fact, effective_at=occurred_at)
    contents = sha256(repr((occurred_at, fact)).encode()).digest()
    return Message(tenant, TOPICS[type(fact)], event_id, occurred_at, contents, fact)


@dataclass
class World:
    """A state with the messages that it handled; every step checks the ledger's invariants."""

    policy: Policy = field(default_factory=Policy)
    now: datetime = NOW
    state: State = field(default_factory=State.empty)
    events: list[Event] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)

    def decide(self, event_id: str, when: str, fact: Fact | Command) -> Decision:
        """Handle one fact or command."""
        return self.handle(message(event_id, when, fact))

    def handle(self, message: Message) -> Decision:
        decided = decide(self.state, message, Moment(self.now, 1, self.policy))
        self.events += decided.events
        self.entries += decided.entries
        self.decisions.append(decided.decision)
        check_rows(self.state, decided)
        return decided.decision

    def sweep(self) -> None:
        """Let grants begin and expire, as the service does every second without a message, and before a batch."""
        accounts = {each.account for each in rows(self.state.grants)}
        draft = expire(self.state, sorted(accounts), Moment(self.now, 1, self.policy))
        self.events += draft.events
        self.entries += draft.entries

    def handle_all(self, messages: Iterable[Message]) -> "World":
        for each in messages:
            self.handle(each)
        return self

    def grant(self, event_id: str) -> Grant:
        """The grant that a message gave, as it stands."""
        found: list[Grant] = [each for each in rows(self.state.grants) if each.event_id == event_id]
        (grant,) = found
        return grant

    def grant_id(self, event_id: str) -> str:
        return str(self.grant(event_id).key.id)

    def application_id(self, event_id: str) -> str:
        """The id of the one application or reservation that a message made."""
        made = [
            each.body.application_id
            for each in self.events
            if each.caused_by is not None
            and each.caused_by.event_id == event_id
            and isinstance(each.body, CreditApplied | CreditReserved)
        ]
        (found,) = set(made)
        return str(found)

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
        return net_of(self.state)

    def check_ledger(self) -> None:
        check_ledger(self.events, self.entries)


def rows(table: Any) -> list[Any]:
    """All rows of a table of a world's own state."""
    return list(table.rows.values())


def given(*messages: Message, policy: Policy | None = None, now: datetime = NOW) -> World:
    """A world that handled these messages, in this order."""
    return World(policy=policy or Policy(), now=now).handle_all(messages)


def kinds(bodies: Sequence[EventBody]) -> list[str]:
    return [type(body).__name__ for body in bodies]
