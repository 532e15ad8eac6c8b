"""Random messages of all kinds about few things, so that they meet: made one by one from what is known by then."""

from collections.abc import Callable
from random import Random
from typing import Any

from avoir.core.model.commands import Command
from avoir.core.model.events import AccountKey
from avoir.core.model.facts import Fact, InvoiceLine, Owner
from avoir.core.model.rows import Invoice
from tests.unit.core.commands import drawn, granted, pay_out, policy, take_away, undo, use_on
from tests.unit.core.world import (
    World,
    cancelled,
    invoice,
    line,
    payment,
    plan_cancelled,
    rejected,
    reversal,
    rows,
    shortened,
    voided,
)

U1, TEAM = Owner("user", "u1"), Owner("team", "u1")
INVOICES = [f"i{n}" for n in range(1, 10)]
BOOKINGS = ["b1", "b2", "b3"]
PLAN_PERIODS = [("06-01", "07-01"), ("07-01", "08-01")]
NOBODYS = "00000000-0000-0000-0000-00000000dead"
EUROS = ["100.00", "50.00", "30.00", "20.00", "10.00", "7.77"]
ASKED = ["10.00", "20.00", "33.33", "50.00", "5.00", "200.00"]
USAGE = ["1.005", "9.999999", "0.000125", "25.00", "0.000001"]
POLICIES: list[dict[str, Any]] = [
    {"credit_as": "line_item"},
    {"credit_as": "line_item"},
    {"credit_as": None},
    {"auto_apply": False},
    {"auto_apply": True},
    {"expires_after_days": 12},
    {"expires_after_days": None},
    {"unpaid_change": "never"},
    {"unpaid_change": None},
    {"proration": "days", "time_zone": "America/New_York"},
    {"refill_threshold": "20.00", "refill_amount": "50.00", "currency": "EUR"},
    {"refill_threshold": None, "refill_amount": None},
]


class Somebody:
    """Says something about a world, as chance will have it."""

    def __init__(self, chance: Random, world: World) -> None:
        self.chance = chance
        self.world = world

    def owner(self) -> Owner:
        return self.chance.choice([U1, U1, U1, TEAM])

    def currency(self) -> str:
        return self.chance.choice(["EUR", "EUR", "EUR", "EUR", "EUR", "USD"])

    def booking_id(self) -> str:
        return self.chance.choice(BOOKINGS)

    def maybe(self, part: float) -> bool:
        return self.chance.random() < part

    def grant_id(self) -> str:
        """A grant with something left, now and then another one, or one that nobody has."""
        known = rows(self.world.state.grants)
        left = [each for each in known if each.remaining]
        set_aside = [each for each in left if each.reserved]
        found = self.chance.choice(
            (set_aside if self.maybe(0.4) else left if self.maybe(0.8) else known) or left or [None]
        )
        return NOBODYS if found is None or self.maybe(0.03) else str(found.key.id)

    def application_id(self) -> str:
        """What stands or is held, now and then what once stood, or what nobody has."""
        applied, reserved = rows(self.world.state.applications), rows(self.world.state.reservations)
        standing = [each.key.id for each in applied if not each.reinstated]
        standing += [each.key.application_id for each in reserved if each.amount]
        once = [each.key.id for each in applied] + [each.key.application_id for each in reserved]
        return str(self.chance.choice((standing if self.maybe(0.85) else once) or [NOBODYS]))

    def known_invoice(self) -> Invoice | None:
        """A finalized invoice, rather one that is not void and has something due."""
        known: list[Invoice] = rows(self.world.state.invoices)
        due = [each for each in known if each.due]
        standing = [each for each in known if not each.voided]
        chosen = (due if self.maybe(0.6) else standing if self.maybe(0.8) else known) or known
        return self.chance.choice(chosen) if chosen else None

    def invoice_id(self) -> str:
        found = self.known_invoice()
        return self.invoice_to_come() if found is None or self.maybe(0.1) else found.key.invoice_id

    def invoice_to_come(self) -> str:
        """An invoice that is not finalized yet, rather one that credit is reserved for, as long as there is one."""
        known = {each.key.invoice_id for each in rows(self.world.state.invoices)}
        held = [
            each.invoice_id for each in rows(self.world.state.reservations) if each.invoice_id and each.amount
        ]
        to_come = [each for each in [*held, *held, *held, *INVOICES] if each not in known]
        return str(self.chance.choice(to_come or INVOICES))

    def account(self, held: Invoice | None) -> AccountKey:
        if held is not None and self.maybe(0.85):
            return held.account
        return AccountKey("t1", *self.owner(), self.currency())

    def line(self, n: int) -> InvoiceLine:
        amount = self.chance.choice(EUROS)
        match self.chance.choice(
            ["booking"] * 4 + ["plan", "prepaid", "other", "discount", "credit", "credit"]
        ):
            case "booking":
                return line(f"l{n}", amount, tax="1.37", booking=self.booking_id())
            case "plan":
                return line(f"l{n}", amount, plan="p1", period=self.chance.choice(PLAN_PERIODS))
            case "discount":
                return line(f"l{n}", f"-{self.chance.choice(EUROS[-2:])}")
            case "credit":
                return line(f"l{n}", f"-{amount}", credit=self.grant_id())
            case kind:
                return line(f"l{n}", amount, kind=kind)

    def invoice(self) -> Fact:
        lines = [self.line(n) for n in range(self.chance.randint(1, 4))]
        total = sum(each.amount + each.tax for each in lines)
        paid = max(total, 0) * self.chance.choice([0, 0, 0, 1, 2, 2]) // 2 // 10_000 * 10_000
        return invoice(
            self.invoice_to_come(),
            *lines,
            paid=f"{paid // 1_000_000}.{paid % 1_000_000:06d}",
            owner=self.owner(),
            currency=self.currency(),
            automatic=self.maybe(0.6),
            auto_apply=self.chance.choice([None, None, None, False]),
        )

    def change(self) -> Fact:
        """A change to a plan or a booking, rather one that has been billed."""
        billed = [each.subject_id for each in rows(self.world.state.lines) if each.kind == "booking"]
        booking = str(self.chance.choice(billed or BOOKINGS))
        revision = self.chance.choice([None, None, 1, 2, 3])
        if self.maybe(0.2):
            unused = self.chance.choice(["whole_periods", "prorate"])
            return plan_cancelled("p1", self.chance.choice(["06-05", "06-16"]), unused)
        if self.maybe(0.5):
            return cancelled(booking, fee=self.chance.choice(["0", "0", "5.00"]), revision=revision)
        prices = "90.00", self.chance.choice(["0", "30.00", "89.99", "120.00"])
        return shortened(booking, prices=prices, revision=revision)

    def payment(self) -> Fact:
        found, payment_id = self.known_invoice(), f"p{self.chance.randint(1, 6)}"
        to = self.account(found)
        named = [found.key.invoice_id] if found is not None and self.maybe(0.6) else []
        amount = self.chance.choice(EUROS)
        if found is not None and found.due and self.maybe(0.5):
            amount = f"{found.due // 1_000_000}.{found.due % 1_000_000:06d}"
        return payment(payment_id, amount, *named, owner=to.owner, currency=to.currency)

    def grant(self) -> Command:
        return granted(
            self.chance.choice(EUROS),
            owner=self.owner(),
            currency=self.currency(),
            reason=self.chance.choice(["goodwill", "purchase", "promotion"]),
            priority=self.chance.choice([0, 50, 50, 90]),
            effective=self.chance.choice([None, None, None, "06-05", "06-15"]),
            expires=self.chance.choice([None, None, None, "06-20", "06-28"]),
            reference=self.chance.choice([None] * 5 + ["order 1", "order 2"]),
        )

    def use(self) -> Command:
        found = self.known_invoice() if self.maybe(0.6) else None
        to = self.account(found)
        return use_on(
            found.key.invoice_id if found is not None else self.invoice_to_come(),
            self.chance.choice([None, *ASKED]),
            grant=self.grant_id() if self.maybe(0.4) else None,
            owner=to.owner,
            currency=to.currency,
        )

    def draw(self) -> Command:
        partial = self.maybe(0.5)
        return drawn(self.chance.choice(USAGE), partial=partial, owner=self.owner(), currency=self.currency())

    def refund(self) -> Command:
        grant, amount = self.grant_id() if self.maybe(0.4) else None, self.chance.choice(ASKED)
        return pay_out(amount, grant=grant, owner=self.owner(), currency=self.currency())

    def policy(self) -> Command:
        owner = self.owner() if self.maybe(0.3) else None
        return policy(owner=owner, **self.chance.choice(POLICIES))

    def void(self) -> Fact:
        return voided(self.invoice_id())

    def reversal(self) -> Fact:
        known = [each for each in rows(self.world.state.payments) if each.key.kind == "payment"]
        paid = self.chance.choice(known).key.id if known else "p1"
        return reversal(f"r{self.chance.randint(1, 5)}", paid, self.chance.choice(EUROS))

    def anything(self) -> Fact | Command:
        """A message of any kind, those that make something happen more often."""
        rare: list[Callable[[], Fact | Command]] = [self.policy, self.reversal, self.refund, self.take_away]
        usual = [self.draw, self.payment, self.void, self.undo, self.reject, self.change, self.change]
        often = [self.invoice, self.grant, self.use]
        return self.chance.choice([*rare, *usual, *often, *often, *often])()

    def undo(self) -> Command:
        return undo(self.application_id())

    def reject(self) -> Fact:
        return rejected(self.application_id())

    def take_away(self) -> Command:
        return take_away(self.grant_id())
