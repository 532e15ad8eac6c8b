"""Commands: requests from admins, customers and services, which Avoir can refuse."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from avoir_events.parts import Actor, Incoming, Owner, check_decimals
from avoir_events.problems import refuse
from avoir_events.scalars import AboveZero, Currency, Id, Text, Time

__all__ = [
    "ApplyCredit",
    "Command",
    "DrawCredit",
    "GrantCredit",
    "RefundCredit",
    "ReinstateCredit",
    "VoidCredit",
]

# The largest `integer` of Postgres.
MAX_PRIORITY = 2**31 - 1


class Command(Incoming):
    """Fields of every command."""

    actor: Actor
    """Who gives the command."""


class GrantCredit(Command):
    """Give an owner credit."""

    owner: Owner
    """Who gets the credit."""
    amount: AboveZero
    """How much."""
    currency: Currency
    """ISO 4217 code of the amount."""
    reason: Literal["referral", "goodwill", "adjustment", "promotion", "purchase", "other"]
    """Why; a purchase counts as paid for, the rest as given."""
    note: Text | None = None
    """A note to the customer or for the record."""
    priority: Annotated[int, Field(strict=True, ge=0, le=MAX_PRIORITY)] = 50
    """Credit of the lowest priority number is used first."""
    effective_at: Time | None = None
    """When the credit takes effect; null: `occurred_at`. If it is in the future, the grant is issued then."""
    expires_at: Time | None = None
    """When what remains expires, after `effective_at`; null: never."""
    reference: Id | None = None
    """The producer's own key, unique within the tenant: no second grant is made with it."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        check_decimals("GrantCredit", self.currency, [(("amount",), self.amount)])
        effective_at = self.effective_at or self.occurred_at
        if self.expires_at is not None and self.expires_at <= effective_at:
            refuse("GrantCredit", ("expires_at",), "must be after effective_at", self.expires_at.isoformat())
        return self


class ApplyCredit(Command):
    """Use credit on an invoice; if the invoice is not finalized yet, the credit is reserved."""

    owner: Owner
    """Whose credit, and whose invoice."""
    invoice_id: Id
    """The invoice, finalized or to come."""
    currency: Currency
    """ISO 4217 code of the invoice and the credit."""
    amount: AboveZero | None
    """How much; null: as much as possible."""
    grant_id: Id | None
    """Which credit; null: by the order of use."""

    @model_validator(mode="after")
    def _in_currency(self) -> Self:
        if self.amount is not None:
            check_decimals("ApplyCredit", self.currency, [(("amount",), self.amount)])
        return self


class ReinstateCredit(Command):
    """Undo an application, or release a reservation."""

    application_id: Id
    """The application or reservation."""
    reason: Text
    """Why, for the record."""


class VoidCredit(Command):
    """Void what remains of a grant, by decision."""

    grant_id: Id
    """The grant."""
    reason: Text
    """Why, for the record."""


class RefundCredit(Command):
    """Record that credit was paid out in money; Avoir itself moves none."""

    owner: Owner
    """Whose credit was paid out."""
    amount: AboveZero
    """How much."""
    currency: Currency
    """ISO 4217 code of the amount."""
    grant_id: Id | None
    """Which credit; null: what was paid for first, then by the order of use."""
    reference: Text
    """The gateway's refund, for the record."""

    @model_validator(mode="after")
    def _in_currency(self) -> Self:
        check_decimals("RefundCredit", self.currency, [(("amount",), self.amount)])
        return self


class DrawCredit(Command):
    """Use prepaid credit for a piece of usage, without an invoice."""

    owner: Owner
    """Whose credit is drawn."""
    amount: AboveZero
    """How much, with up to six decimals in every currency."""
    currency: Currency
    """ISO 4217 code of the amount."""
    allow_partial: bool
    """If there is too little credit: true draws what is available, false refuses the whole draw."""
    reference: Text
    """The piece of usage, for the record."""
