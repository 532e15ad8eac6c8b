"""The facts on bookings, plans, payments and applications, and all facts by topic."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from avoir_events.invoices import InvoiceFinalized, InvoiceVoided
from avoir_events.parts import Incoming, Owner, Period, check_decimals
from avoir_events.problems import refuse
from avoir_events.scalars import AboveZero, AtLeastZero, Currency, Id, Revision, Text, Time

__all__ = [
    "FACTS",
    "BookingCancelled",
    "BookingShortened",
    "CreditApplicationRejected",
    "PaymentRecorded",
    "PaymentReversed",
    "PlanCancelled",
]

MAX_INVOICE_IDS = 10_000

_FEE_HAS_CURRENCY: dict[str, Any] = {
    "if": {"properties": {"fee": {"type": "string"}}, "required": ["fee"]},
    "then": {"properties": {"currency": {"type": "string"}}, "required": ["currency"]},
}
_PERIODS = ("billed_period", "remaining_period")
_PRICES = ("billed_price", "remaining_price", "currency")


def _either_periods_or_prices() -> list[Any]:
    null, given = {"type": "null"}, {"not": {"type": "null"}}
    periods = dict.fromkeys(_PERIODS, given) | dict.fromkeys(_PRICES[:2], null)
    prices = dict.fromkeys(_PRICES, given) | dict.fromkeys(_PERIODS, null)
    return [
        {"required": list(_PERIODS), "properties": periods},
        {"required": list(_PRICES), "properties": prices},
    ]


class Change(Incoming):
    """Fields of changes to bookings and plans."""

    owner: Owner
    """Who made the change; any credit goes to the owner of the invoice."""
    revision: Revision | None = None
    """The booking's or plan's own counter, sent by all producers or by none; null: `occurred_at` orders."""
    changed_by: Literal["customer", "admin"]
    """Changes by a customer always ask for credit, those by an admin only if `create_credit` is true."""
    create_credit: bool | None = None
    """Counts only if `changed_by` is admin: true asks for credit."""


class BookingCancelled(Change):
    """A booking was cancelled."""

    model_config = ConfigDict(json_schema_extra=_FEE_HAS_CURRENCY)

    booking_id: Id
    """The booking, unique within the tenant."""
    channel: Text | None = None
    """Where the change was made: app, widget, admin, api, ..."""
    fee: AtLeastZero | None = None
    """Cancellation fee kept, tax included."""
    currency: Currency | None = None
    """ISO 4217 code of the fee; required with it."""

    @model_validator(mode="after")
    def _fee_in_currency(self) -> Self:
        if self.fee is not None:
            if self.currency is None:
                refuse("BookingCancelled", ("currency",), "missing: required with fee")
            check_decimals("BookingCancelled", self.currency, [(("fee",), self.fee)])
        return self


class BookingShortened(Change):
    """A booking was shortened: either two periods or two prices show how much of what was billed remains."""

    model_config = ConfigDict(json_schema_extra={"oneOf": _either_periods_or_prices()})

    booking_id: Id
    """The booking, unique within the tenant."""
    channel: Text | None = None
    """Where the change was made: app, widget, admin, api, ..."""
    billed_period: Period | None = None
    """The time that was billed; only with `remaining_period`, never with prices."""
    remaining_period: Period | None = None
    """The time still booked."""
    billed_price: AboveZero | None = None
    """What was billed, tax included; only with `remaining_price` and `currency`, never with periods."""
    remaining_price: AtLeastZero | None = None
    """What the booking costs now, tax included."""
    currency: Currency | None = None
    """ISO 4217 code of the two prices; required with them."""

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        by_periods = [name for name in _PERIODS if getattr(self, name) is not None]
        by_prices = [name for name in _PRICES[:2] if getattr(self, name) is not None]
        if not by_periods and not by_prices:
            refuse("BookingShortened", ("billed_period",), "missing: two periods or two prices are required")
        if by_periods and by_prices:
            refuse("BookingShortened", (by_prices[0],), f"must not stand beside {by_periods[0]}")
        for name in _PERIODS if by_periods else _PRICES:
            if getattr(self, name) is None:
                beside = (by_periods or by_prices)[0]
                refuse("BookingShortened", (name,), f"missing: required with {beside}")
        return self

    @model_validator(mode="after")
    def _prices_in_currency(self) -> Self:
        if self.currency is not None and self.billed_price is not None and self.remaining_price is not None:
            prices = [(("billed_price",), self.billed_price), (("remaining_price",), self.remaining_price)]
            check_decimals("BookingShortened", self.currency, prices)
        return self


class PlanCancelled(Change):
    """A plan was cancelled."""

    plan_id: Id
    """The plan, unique within the tenant."""
    effective_at: Time
    """When the plan stops being used."""
    unused: Literal["whole_periods", "prorate"]
    """Whether credit covers only future periods, or also the unused share of the running one (prorate)."""


class PaymentRecorded(Incoming):
    """A payment was received."""

    payment_id: Id
    """The payment, unique within the tenant."""
    owner: Owner
    """Who paid; the payment settles only invoices of this owner."""
    amount: AboveZero
    """What was paid."""
    currency: Currency
    """ISO 4217 code of the amount."""
    method: Text
    """How it was paid: card, transfer, cash, ..."""
    invoice_ids: Annotated[
        tuple[Id, ...], Field(strict=False, max_length=MAX_INVOICE_IDS, fail_fast=True)
    ] = ()
    """The invoices it pays, in order; empty: the owner's open invoices, oldest first. What remains becomes credit."""

    @model_validator(mode="after")
    def _in_currency(self) -> Self:
        check_decimals("PaymentRecorded", self.currency, [(("amount",), self.amount)])
        return self


class PaymentReversed(Incoming):
    """A payment, or a part of it, was taken back."""

    reversal_id: Id
    """The reversal, unique within the tenant."""
    payment_id: Id
    """The payment, recorded before or reported later."""
    amount: AboveZero
    """What was taken back; all reversals of a payment count up to its amount."""
    currency: Currency
    """ISO 4217 code of the amount: the payment's."""
    reason: Literal["refund", "chargeback", "failed"]
    """Why the money went back."""

    @model_validator(mode="after")
    def _in_currency(self) -> Self:
        check_decimals("PaymentReversed", self.currency, [(("amount",), self.amount)])
        return self


class CreditApplicationRejected(Incoming):
    """The invoicing service could not use an application; the credit is available again."""

    application_id: Id
    """The application: `application_id` of its `credit-applied`."""
    reason: Text
    """Why, in the words of the invoicing service."""


FACTS: Final[Mapping[str, type[Incoming]]] = MappingProxyType(
    {
        "invoice-finalized": InvoiceFinalized,
        "booking-cancelled": BookingCancelled,
        "booking-shortened": BookingShortened,
        "plan-cancelled": PlanCancelled,
        "payment-recorded": PaymentRecorded,
        "payment-reversed": PaymentReversed,
        "invoice-voided": InvoiceVoided,
        "credit-application-rejected": CreditApplicationRejected,
    }
)
"""Facts by default topic name; they can't be refused."""
