"""Which policy values are in force for a tenant, an owner or an invoice at a moment, and where they come from."""

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


class Whom(NamedTuple):
    """Whose policy is asked for; neither an owner nor an invoice is the tenant's."""

    tenant_id: str
    owner: Owner | None = None
    invoice_id: str | None = None


class ValueInForce(NamedTuple):
    """A key's value at the moment; `set_by` is None where it is the setting's; amounts in micros of `currency`."""

    key: str
    value: Any
    currency: str | None
    set_by: PolicyVersion | None


class Set(NamedTuple):
    """A message that set keys: when it was recorded and by whom it was sent, where its decision tells."""

    version: PolicyVersion
    recorded_at: datetime | None
    by: str | None


@dataclass(frozen=True, slots=True)
class PolicyInForce:
    """The values in force at a moment, and every message that set keys for any of the scopes, oldest first."""

    whom: Whom
    at: datetime
    values: tuple[ValueInForce, ...]
    history: tuple[Set, ...]


async def read_policy(
    connection: Connection, widest: Policy, whom: Whom, at: datetime | None
) -> PolicyInForce:
    """The policy in force at a moment (None: now); an invoice that is known is its owner's too."""
    async with snapshot(connection) as now:
        if whom.owner is None and whom.invoice_id is not None:
            known = await connection.fetch(
                *queries.explain_invoices(tenant_id=whom.tenant_id, invoice_ids=[whom.invoice_id])
            )
            owner = rows.invoice(known[0]["invoice"]).account.owner if known else None
            whom = whom._replace(owner=owner)
        scopes = scopes_of(*whom)
        found = [_set(row) for row in await connection.fetch(*queries.read_policies(scopes=scopes))]
    versions = [[each.version for each in found if each.version.key == scope] for scope in scopes]
    return PolicyInForce(whom, at or now, values_in_force(widest, versions, at or now), tuple(found))


def _set(row: asyncpg.Record) -> Set:
    return Set(rows.policy(row), row["recorded_at"], row["sent_by"])


def values_in_force(
    widest: Policy, versions: Sequence[Sequence[PolicyVersion]], at: datetime
) -> tuple[ValueInForce, ...]:
    """Each key's value, by the service's own rule; refills once for each currency that anybody named."""
    known = {each.event_id: each for of_scope in versions for each in of_scope}
    stated = {each.keys.get("currency") for each in known.values()} | {widest.refill_currency}
    currencies: list[str | None] = sorted(each for each in stated if each is not None) or [None]
    found = []
    for currency in currencies:
        policy, set_by = in_force(widest, versions, at, currency)
        keys = KEYS if currency == currencies[0] else [key for key in KEYS if key in REFILL]
        found += [
            ValueInForce(
                key,
                getattr(policy, key),
                currency if key in REFILL else None,
                _version(known, set_by, key),
            )
            for key in keys
        ]
    return tuple(found)


def _version(known: Mapping[str, PolicyVersion], set_by: Mapping[str, str], key: str) -> PolicyVersion | None:
    return known[set_by[key]] if key in set_by else None
