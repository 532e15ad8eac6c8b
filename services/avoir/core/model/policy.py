"""Policies: the settings that govern how credit is given and used, and which are in force when."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Literal, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from avoir.core.model.commands import PolicyScope
from avoir.core.model.facts import Owner
from avoir.core.model.money import format_decimal

REFILL = frozenset({"refill_threshold", "refill_amount"})
"""Keys that are amounts: they apply only in their own currency."""


class Policy(Struct, frozen=True):
    """The policy values in force, amounts in micros.

    `expires_after_days` is for credit from bookings, plans and overpayment.
    """

    auto_apply: bool = True
    credit_as: Literal["balance", "line_item"] = "balance"
    unpaid_change: Literal["wait", "never"] = "wait"
    expires_after_days: int | None = None
    proration: Literal["time", "days"] = "time"
    time_zone: str = "UTC"
    refill_threshold: int | None = None
    refill_amount: int | None = None
    refill_currency: str | None = None

    @property
    def refill(self) -> tuple[int, int] | None:
        """Threshold and amount of refills, in micros; None unless both are set."""
        if self.refill_threshold is None or self.refill_amount is None:
            return None
        return self.refill_threshold, self.refill_amount


class ScopeKey(NamedTuple):
    """Scope of a policy: a tenant (id empty), an owner (`type/id`) or an invoice."""

    tenant_id: str
    scope: PolicyScope
    id: str

    @classmethod
    def of_owner(cls, tenant_id: str, owner: Owner) -> "ScopeKey":
        """The scope of one owner."""
        return cls(tenant_id, "owner", f"{owner.type}/{owner.id}")


def scopes_of(tenant_id: str, owner: Owner | None, invoice_id: str | None) -> list[ScopeKey]:
    """Scopes that apply to an owner or one of its invoices, narrowest first."""
    scopes = [] if invoice_id is None else [ScopeKey(tenant_id, "invoice", invoice_id)]
    if owner is not None:
        scopes.append(ScopeKey.of_owner(tenant_id, owner))
    return [*scopes, ScopeKey(tenant_id, "tenant", "")]


class PolicyVersion(Struct, frozen=True):
    """Keys that one `set-credit-policy` set.

    They apply to everything that occurs at or after `occurred_at`, until another message sets them.
    """

    key: ScopeKey
    event_id: str
    occurred_at: datetime
    keys: Mapping[str, Any]


def stated(keys: Mapping[str, Any]) -> dict[str, Any]:
    """Policy keys as people read them: amounts as decimal strings."""
    currency = keys.get("currency")
    return {
        key: format_decimal(value, currency)
        if key in REFILL and value is not None and currency is not None
        else value
        for key, value in keys.items()
    }


class InForce(NamedTuple):
    """The policy at a moment, and the message that set each value; values from the widest scope have none."""

    policy: Policy
    set_by: Mapping[str, str]

    def used(self, *keys: str) -> dict[str, Any]:
        """Policy values as a decision records them; `set_by` has the event ids of the versions they come from."""
        values = {key: getattr(self.policy, key) for key in keys}
        versions = {key: self.set_by[key] for key in keys if key in self.set_by}
        return values | ({"set_by": versions} if versions else {})


def merge_policy_used(one: Mapping[str, Any], other: Mapping[str, Any]) -> Mapping[str, Any]:
    """Merge the policy values that two parts of a decision used; those of `other` win."""
    if not one or not other:
        return one or other
    kept = {key: event_id for key, event_id in one.get("set_by", {}).items() if key not in other}
    set_by = {**kept, **other.get("set_by", {})}
    values = {key: value for key, value in {**one, **other}.items() if key != "set_by"}
    return values | ({"set_by": set_by} if set_by else {})


def in_force(
    widest: Policy, scopes: Iterable[Iterable[PolicyVersion]], at: datetime, currency: str | None
) -> InForce:
    """The values at a moment from the versions of each scope, narrowest first; `currency` is that of refills."""
    values: dict[str, Any] = {}
    set_by: dict[str, str] = {}
    for versions in scopes:
        for key, (value, event_id) in _latest(versions, at, currency).items():
            # None gives a key back to the next wider scope.
            if key not in values and value is not None:
                values[key], set_by[key] = value, event_id
    policy = widest if widest.refill_currency in (None, currency) else _without_refill(widest)
    return InForce(replace(policy, **values) if values else policy, set_by)


def _latest(
    versions: Iterable[PolicyVersion], at: datetime, currency: str | None
) -> dict[str, tuple[Any, str]]:
    latest: dict[str, tuple[Any, str]] = {}
    # By time, not in the order of arrival: a late message counts as if it had come in time.
    for version in sorted(versions, key=lambda each: (each.occurred_at, each.event_id)):
        if version.occurred_at > at:
            break
        stated = version.keys.get("currency")
        for key, value in version.keys.items():
            if key == "currency" or (key in REFILL and stated not in (None, currency)):
                continue
            latest[key] = value, version.event_id
    return latest


def _without_refill(policy: Policy) -> Policy:
    return replace(policy, refill_threshold=None, refill_amount=None, refill_currency=None)
