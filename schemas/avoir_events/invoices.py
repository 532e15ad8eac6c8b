"""The facts on invoices: finalized, voided."""

from collections.abc import Iterator
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from avoir_events.amounts import micros
from avoir_events.parts import Incoming, Owner, Part, Period, check_decimals
from avoir_events.problems import refuse
from avoir_events.scalars import Amount, AtLeastZero, AtMostZero, Currency, Id, Text, Time

__all__ = [
    "AnyLine",
    "BookingLine",
    "CreditLine",
    "InvoiceFinalized",
    "InvoiceVoided",
    "OtherLine",
    "PlanLine",
    "PrepaidLine",
]

MAX_LINES = 10_000


class Line(Part):
    """Fields of every invoice line; a line's total is amount + tax."""

    line_id: Id
    """Unique within its invoice."""
    period: Period | None = None
    """The time this line pays for."""
    amount: Amount
    """Net amount."""
    tax: Amount = "0"
    """Tax on top of the amount."""


class BookingLine(Line):
    """A line that charges a booking."""

    kind: Literal["booking"]
    """What the line is for."""
    booking_id: Id
    """The booking that the line charges."""


class PlanLine(Line):
    """A line that charges a period of a plan."""

    kind: Literal["plan"]
    """What the line is for."""
    plan_id: Id
    """The plan that the line charges."""
    period: Period
    """The period of the plan that the line charges."""


class PrepaidLine(Line):
    """A line that sells credit: once the invoice is settled, the cost of the line is issued as credit."""

    kind: Literal["prepaid"]
    """What the line is for."""
    expires_at: Time | None = None
    """When the credit bought expires; null: never."""


class CreditLine(Line):
    """A line that uses credit; a way to pay, never a discount."""

    kind: Literal["credit"]
    """What the line is for."""
    amount: AtMostZero
    """Net amount, at most zero."""
    tax: AtMostZero = "0"
    """Tax, at most zero."""
    credit_line_id: Id | None = None
    """Which of Avoir's credit lines this is: `line_item.credit_line_id` of its `credit-issued`."""


class OtherLine(Line):
    """A line for anything else; if negative, a discount."""

    kind: Literal["other"]
    """What the line is for."""


AnyLine = Annotated[
    BookingLine | PlanLine | PrepaidLine | CreditLine | OtherLine, Field(discriminator="kind")
]


class InvoiceFinalized(Incoming):
    """An invoice was finalized. That happens once: the same invoice with different contents is a conflict."""

    invoice_id: Id
    """The invoice, unique within the tenant."""
    number: Id
    """The invoice number that people see; a credit note is numbered after it."""
    owner: Owner
    """Who pays the invoice, and gets the credit for what is on it."""
    currency: Currency
    """ISO 4217 code of every amount in the message."""
    finalization: Literal["automatic", "manual"]
    """Only `automatic` lets the invoice take available credit without a command."""
    auto_apply_credit: bool | None = None
    """Whether the invoice takes available credit without a command; null: the policy decides."""
    lines: Annotated[tuple[AnyLine, ...], Field(strict=False, max_length=MAX_LINES, fail_fast=True)]
    """The lines in their order on the invoice."""
    total: Amount
    """The sum of all lines, tax included; negative for a credit note."""
    amount_paid: AtLeastZero = "0"
    """Paid by then with payments that `payment-recorded` will not report; at most `total`, at least 0."""

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        check_decimals("InvoiceFinalized", self.currency, self._amounts())
        total, paid = micros(self.total), micros(self.amount_paid)
        expected = sum(micros(line.amount) + micros(line.tax) for line in self.lines)
        if total != expected:
            refuse("InvoiceFinalized", ("total",), "not the sum of all lines", self.total)
        if paid > max(total, 0):
            refuse("InvoiceFinalized", ("amount_paid",), "more than total", self.amount_paid)
        return self

    @model_validator(mode="after")
    def _line_ids_differ(self) -> Self:
        seen: set[str] = set()
        for index, line in enumerate(self.lines):
            if line.line_id in seen:
                location = ("lines", index, "line_id")
                refuse("InvoiceFinalized", location, "not unique in its invoice", line.line_id)
            seen.add(line.line_id)
        return self

    def _amounts(self) -> Iterator[tuple[tuple[str | int, ...], str]]:
        for index, line in enumerate(self.lines):
            yield ("lines", index, "amount"), line.amount
            yield ("lines", index, "tax"), line.tax
        yield ("total",), self.total
        yield ("amount_paid",), self.amount_paid


class InvoiceVoided(Incoming):
    """An invoice was voided; what Avoir did because of it is undone."""

    invoice_id: Id
    """The invoice, finalized before or reported later."""
    reason: Text
    """Why, in the words of the invoicing service."""
