"""Policy values in force for a tenant, an owner or an invoice at a moment, and their sources."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import asyncpg

from avoir.cli.base.snapshot import snapshot
from avoir.core.model.facts import Owner
from avoir.core.model.policy import REFILL, Policy, PolicyVersion, in_force, scopes_of
from avoir.postgres import queries, rows
from avoir.postgres.connect import Connection

KEYS = tuple(name for name in Policy.__struct_fields__ if name != "refill_currency")


class PolicyTarget(NamedTuple):
    """Target of a policy query; without owner and invoice it is the tenant."""

    tenant_id: str
    owner: Owner | None = None
    invoice_id: str | None = None


class ValueInForce(NamedTuple):
    """A key's value at the moment; `set_by` is None for a setting's value; amounts in micros of `currency`."""

    key: str
    value: Any
    currency: str | None
    set_by: PolicyVersion | None


class PolicyMessage(NamedTuple):
    """A message that set keys: when it was recorded, and its sender if its decision says so."""

    version: PolicyVersion
    recorded_at: datetime | None
    by: str | None


@dataclass(frozen=True, slots=True)
class PolicyInForce:
    """The values in force at a moment, and every message that set keys for any of the scopes, oldest first."""

    target: PolicyTarget
    at: datetime
    values: tuple[ValueInForce, ...]
    history: tuple[PolicyMessage, ...]


async def read_policy(
    connection: Connection, widest: Policy, target: PolicyTarget, at: datetime | None
) -> PolicyInForce:
    """The policy in force at a moment (None: now); a known invoice also has its owner's."""
    async with snapshot(connection) as now:
        if target.owner is None and target.invoice_id is not None:
            known = await connection.fetch(
                *queries.explain_invoices(tenant_id=target.tenant_id, invoice_ids=[target.invoice_id])
            )
            owner = rows.invoice(known[0]["invoice"]).account.owner if known else None
            target = target._replace(owner=owner)
        scopes = scopes_of(*target)
        messages = [_set(row) for row in await connection.fetch(*queries.read_policies(scopes=scopes))]
    versions = [[each.version for each in messages if each.version.key == scope] for scope in scopes]
    return PolicyInForce(target, at or now, values_in_force(widest, versions, at or now), tuple(messages))


def _set(row: asyncpg.Record) -> PolicyMessage:
    return PolicyMessage(rows.policy(row), row["recorded_at"], row["sent_by"])


def values_in_force(
    widest: Policy, versions: Sequence[Sequence[PolicyVersion]], at: datetime
) -> tuple[ValueInForce, ...]:
    """Each key's value, by the service's own rule; refill keys once for each currency that any policy names."""
    known = {each.event_id: each for of_scope in versions for each in of_scope}
    stated = {each.keys.get("currency") for each in known.values()} | {widest.refill_currency}
    currencies: list[str | None] = sorted(each for each in stated if each is not None) or [None]
    values = []
    for currency in currencies:
        policy, set_by = in_force(widest, versions, at, currency)
        keys = KEYS if currency == currencies[0] else [key for key in KEYS if key in REFILL]
        values += [
            ValueInForce(
                key,
                getattr(policy, key),
                currency if key in REFILL else None,
                _version(known, set_by, key),
            )
            for key in keys
        ]
    return tuple(values)


def _version(known: Mapping[str, PolicyVersion], set_by: Mapping[str, str], key: str) -> PolicyVersion | None:
    return known[set_by[key]] if key in set_by else None
