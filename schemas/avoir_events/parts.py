"""What messages have in common: their base, owners, actors, periods and the currency's decimals."""

from collections.abc import Iterable
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, model_validator

from avoir_events.amounts import PLACES, places_of
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
    """Base of everything in a message: frozen, strict, blind to fields it does not know."""

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
    """What every fact and command has."""

    event_id: Id
    """Unique within its tenant and topic; a repetition is a duplicate. The header `ce_id` may stand in."""
    tenant_id: Id
    """The operator whose customers these are."""
    occurred_at: Time
    """When it happened, at most 24 h ahead of Avoir's clock. The header `ce_time` may stand in."""


class Owner(Part):
    """Somebody who can hold credit."""

    type: Literal["user", "team", "customer"]
    """What kind of owner this is; the same id under another type is another owner."""
    id: Id
    """The owner's id, unique within tenant and type."""


class Actor(Part):
    """Who asks for something."""

    type: Literal["admin", "customer", "service"]
    """What kind of actor this is."""
    id: Id
    """The actor's id, kept for the record."""


class Period(Part):
    """A half-open stretch of time: the start belongs to it, the end does not."""

    start: Time
    """First moment of the period."""
    end: Time
    """The moment at which the period is over; after `start`."""

    @model_validator(mode="after")
    def _start_before_end(self) -> Self:
        if self.start >= self.end:
            refuse("Period", ("end",), "must be after start", self.end.isoformat())
        return self


def check_places(title: str, currency: str, amounts: Iterable[tuple[tuple[str | int, ...], str]]) -> None:
    """Refuse the first of the placed amounts that has more decimals than the currency."""
    allowed = PLACES[currency]
    for place, amount in amounts:
        if places_of(amount) > allowed:
            refuse(title, place, f"more decimals than {currency} has ({allowed})", amount)
