"""The command that sets policies for a tenant, an owner or one invoice."""

from datetime import timedelta
from functools import cache
from typing import Annotated, Any, Literal, Self
from zoneinfo import available_timezones

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from avoir_events.commands import Command
from avoir_events.parts import Owner, Part, check_decimals
from avoir_events.problems import problem, refuse
from avoir_events.scalars import AboveZero, AtLeastZero, Currency, Id

__all__ = [
    "Policy",
    "Scope",
    "SetCreditPolicy",
]

MAX_EXPIRY = timedelta(days=36_500)

_SCOPES = ("tenant", "owner", "invoice_id")
_INVOICE_KEYS = frozenset({"auto_apply"})


def _true(value: bool) -> bool:
    if not value:
        raise problem("must be true")
    return value


@cache
def _time_zones() -> frozenset[str]:
    # Files of the time zone data that are no places: the first is the machine's own zone, the others stand for none.
    return frozenset(available_timezones() | {"UTC"}) - {"localtime", "posixrules", "Factory"}


def _known_zone(name: str) -> str:
    if name not in _time_zones():
        raise problem("not an IANA time zone known here")
    return name


TimeZone = Annotated[Id, AfterValidator(_known_zone)]
"""IANA name of a time zone, the same on every machine."""


def _one_scope() -> list[Any]:
    def only(scope: str) -> dict[str, Any]:
        others: dict[str, Any] = {name: {"type": "null"} for name in _SCOPES if name != scope}
        return {"required": [scope], "properties": others | {scope: {"not": {"type": "null"}}}}

    return [only(scope) for scope in _SCOPES]


class Scope(Part):
    """The scope of a policy: exactly one of the three fields."""

    model_config = ConfigDict(json_schema_extra={"oneOf": _one_scope()})

    tenant: Annotated[bool, AfterValidator(_true), Field(json_schema_extra={"const": True})] | None = None
    """True: the whole tenant."""
    owner: Owner | None = None
    """One owner."""
    invoice_id: Id | None = None
    """One invoice; only `auto_apply` may be set."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        given = [name for name in _SCOPES if getattr(self, name) is not None]
        if len(given) != 1:
            refuse("Scope", (), f"must have exactly one of tenant, owner, invoice_id; has {len(given)}")
        return self


class Policy(Part):
    """The keys to set. A key set to null falls back to the next wider scope; a key left out stays unchanged."""

    auto_apply: bool | None = None
    """Whether an automatic finalization takes available credit. Default true."""
    credit_as: Literal["balance", "line_item"] | None = None
    """How credit from bookings and plans is kept: free to use, or for the next invoice. Default balance."""
    unpaid_change: Literal["wait", "never"] | None = None
    """Whether a change to something unpaid gives credit once it is paid, or never. Default wait."""
    expires_after_days: Annotated[int, Field(strict=True, ge=1, le=MAX_EXPIRY.days)] | None = None
    """Days after which credit from bookings, plans and overpayments expires. Default never."""
    proration: Literal["time", "days"] | None = None
    """How the running period of a plan is prorated: by elapsed time or by whole days. Default time."""
    time_zone: TimeZone | None = None
    """IANA name of the time zone in which days are counted. Default UTC."""
    refill_threshold: AtLeastZero | None = None
    """Available credit below this requests a refill; with `currency`. Default none."""
    refill_amount: AboveZero | None = None
    """How much the refill should be; with `currency`. Default none."""
    currency: Currency | None = None
    """ISO 4217 code of the two refill amounts; required with them."""

    @model_validator(mode="after")
    def _refill_in_currency(self) -> Self:
        refill = [(("refill_threshold",), self.refill_threshold), (("refill_amount",), self.refill_amount)]
        amounts = [(location, amount) for location, amount in refill if amount is not None]
        if amounts and self.currency is None:
            refuse("Policy", ("currency",), f"missing: required with {amounts[0][0][0]}")
        if self.currency is not None:
            check_decimals("Policy", self.currency, amounts)
        return self

    @model_serializer(mode="wrap")
    def _only_set(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in handler(self).items() if name in self.model_fields_set}


class SetCreditPolicy(Command):
    """Set policy keys for one scope. A fact follows the policy in force at its own time."""

    scope: Scope
    """Whom the policy is for."""
    policy: Policy
    """The keys to set."""

    @model_validator(mode="after")
    def _fits_scope(self) -> Self:
        if self.scope.invoice_id is not None:
            for name in sorted(self.policy.model_fields_set - _INVOICE_KEYS):
                refuse("SetCreditPolicy", ("policy", name), "not allowed in the scope of an invoice")
        return self
