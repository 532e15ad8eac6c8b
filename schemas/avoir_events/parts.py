"""Common parts of messages: base models, owners, actors, periods, and the check of a currency's decimals."""

from collections.abc import Iterable
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, model_validator

from avoir_events.amounts import DECIMALS, decimals_of
from avoir_events.problems import refuse
from avoir_events.scalars import Id, Time

__all__ = [
    "Actor",
    "Incoming",
    "Owner",
    "Part",
    "Period",
]


class Part(BaseModel):
    """Base of everything in a message: frozen and strict; unknown fields are ignored."""

    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="ignore",
        serialize_by_alias=True,
        validate_by_alias=True,
        validate_by_name=True,
        use_attribute_docstrings=True,
    )


class Incoming(Part):
    """Fields of every fact and command."""

    event_id: Id
    """Unique within its tenant and topic; a repetition is a duplicate. The header `ce_id` replaces a missing one."""
    tenant_id: Id
    """The operator whose customers these are."""
    occurred_at: Time
    """When it happened, at most 24 h ahead of Avoir's clock. The header `ce_time` replaces a missing one."""


class Owner(Part):
    """A holder of credit."""

    type: Literal["user", "team", "customer"]
    """The kind of owner; the same id with a different type is a different owner."""
    id: Id
    """The owner's id, unique within tenant and type."""


class Actor(Part):
    """The sender of a command."""

    type: Literal["admin", "customer", "service"]
    """The kind of actor."""
    id: Id
    """The actor's id, for the record."""


class Period(Part):
    """A half-open period: it includes the start and excludes the end."""

    start: Time
    """First moment of the period."""
    end: Time
    """The moment at which the period ends; after `start`."""

    @model_validator(mode="after")
    def _start_before_end(self) -> Self:
        if self.start >= self.end:
            refuse("Period", ("end",), "must be after start", self.end.isoformat())
        return self


def check_decimals(title: str, currency: str, amounts: Iterable[tuple[tuple[str | int, ...], str]]) -> None:
    """Raise ValidationError for the first amount that, without final zeros, has more decimals than the currency."""
    allowed = DECIMALS[currency]
    for location, amount in amounts:
        if decimals_of(amount) > allowed:
            refuse(title, location, f"more decimals than {currency} has ({allowed})", amount)
