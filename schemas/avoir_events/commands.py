"""The commands: what admins, customers and services may ask for, and may be refused."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from avoir_events.parts import Actor, Incoming, Owner, check_places
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

MAX_PRIORITY = 2**31 - 1


class Command(Incoming):
    """What every command has."""

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
    """A word to the customer or for the record."""
    priority: Annotated[int, Field(strict=True, ge=0, le=MAX_PRIORITY)] = 50
    """Credit of the lowest priority number is used first."""
    effective_at: Time | None = None
    """From when on the credit can be used; null: `occurred_at`."""
    expires_at: Time | None = None
    """When what remains expires, after `effective_at`; null: never."""
    reference: Id | None = None
    """The producer's own key, unique within the tenant: no second grant is made with it."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        check_places("GrantCredit", self.currency, [(("amount",), self.amount)])
        effective_at = self.effective_at or self.occurred_at
        if self.expires_at is not None and self.expires_at <= effective_at:
            refuse("GrantCredit", ("expires_at",), "must be after effective_at", self.expires_at.isoformat())
        return self


class ApplyCredit(Command):
    """Use credit on an invoice; on an invoice not finalized yet it is reserved."""

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
            check_places("ApplyCredit", self.currency, [(("amount",), self.amount)])
        return self


class ReinstateCredit(Command):
    """Undo an application, or release a reservation."""

    application_id: Id
    """The application or reservation."""
    reason: Text
    """Why, for the record."""


class VoidCredit(Command):
    """Take what remains of a grant back, by decision."""

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
        check_places("RefundCredit", self.currency, [(("amount",), self.amount)])
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
    """Where the credit falls short: true draws what there is, false refuses the draw whole."""
    reference: Text
    """The piece of usage, for the record."""
