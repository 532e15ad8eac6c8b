"""Proves the ledger: recomputes everything that is stored twice and everything that follows from the facts.

The rules on what is due, what is too late and which grants have expired are repeated in `verify.sql` on purpose: a
proof that shared the service's rules would share its mistakes.
"""

from collections.abc import AsyncIterator, Callable
from typing import NamedTuple

import asyncpg

from avoir.cli.base.differences import Difference, Progress
from avoir.cli.base.snapshot import snapshot
from avoir.cli.verify.chain import verify_chains
from avoir.cli.verify.policies import verify_policies
from avoir.cli.verify.worth import verify_costs, verify_targets
from avoir.core.model.money import format_decimal, minor_unit
from avoir.postgres import queries
from avoir.postgres.connect import Connection


class Sizes(NamedTuple):
    """Number of rows of a tenant to read."""

    entries: int
    lines: int


STEPS: tuple[Callable[[Connection, str, Progress], AsyncIterator[Difference]], ...] = (
    verify_chains,
    verify_costs,
    verify_targets,
    verify_policies,
)

Place = Callable[[asyncpg.Record], str]


def _owner(row: asyncpg.Record) -> str:
    return f"{row['owner_type']}/{row['owner_id']}"


def _invoice(row: asyncpg.Record) -> str:
    return f"invoice {row['invoice_id']} of {_owner(row)}"


def _reservation(row: asyncpg.Record) -> str:
    return f"application {row['application_id']}, grant {row['grant_id']}"


def _due(row: asyncpg.Record) -> str:
    name = f"{row['kind'].replace('_', ' ')} {row['id']} {row['line_id']}".rstrip()
    return f"credit due for {name} of {_owner(row)}"


SUMS: tuple[tuple[queries.Statement, Place], ...] = (
    (queries.verify_grants, lambda row: f"grant {row['grant_id']} of {_owner(row)} in {row['currency']}"),
    (queries.verify_invoices, _invoice),
    (
        queries.verify_payments,
        lambda row: f"{row['kind'].replace('_', ' ')} {row['payment_id']} of {_owner(row)}",
    ),
    (queries.verify_applications, lambda row: f"application {row['application_id']}"),
    (
        queries.verify_uses,
        lambda row: (
            f"application {row['application_id']} by {row['applied_by']} on invoice {row['invoice_id']} of "
            f"{_owner(row)}, grant {row['grant_id']}"
        ),
    ),
    (queries.verify_reservations, _reservation),
    (queries.verify_entitlements, _due),
)

AT_REST: tuple[tuple[queries.Statement, Place], ...] = (
    (
        queries.verify_credit_lines,
        lambda row: f"credit lines of invoice {row['invoice_id']}, grant {row['grant_id']}",
    ),
    (queries.verify_payments_at_rest, lambda row: f"invoice {row['invoice_id']}"),
    (queries.verify_invoices_at_rest, lambda row: f"invoice {row['invoice_id']}"),
)
"""Values compared in whole minor units of their currency."""


EXACT: tuple[tuple[queries.Statement, Place], ...] = (
    (queries.verify_terms, lambda row: f"grant {row['grant_id']}"),
    (queries.verify_due, _due),
    (queries.verify_facts, lambda row: f"message {row['event_id']} of {row['topic']}"),
    (queries.verify_invoice_times, _invoice),
    (queries.verify_reserved, _reservation),
    (queries.verify_applied_at, lambda row: f"application {row['application_id']}"),
)
"""Values compared exactly: who, when, why, how often."""


async def verify(
    connection: Connection,
    tenant_id: str | None,
    progress: Progress,
    begun: Callable[[str, Sizes], None],
) -> AsyncIterator[Difference]:
    """Every difference of one tenant, or of all, at one moment; `begun` gets each tenant with its size.

    A tenant without stored rows is skipped.
    """
    async with snapshot(connection):
        # No nested loops: on a table without statistics Postgres would read it once per row of another.
        await connection.execute(*queries.verify_plans())
        for (tenant,) in await connection.fetch(*queries.verify_tenants()):
            if tenant_id not in (None, tenant):
                continue
            sizes = await connection.fetchrow(*queries.verify_sizes(tenant_id=tenant))
            begun(tenant, Sizes(*sizes) if sizes else Sizes(0, 0))
            for step in STEPS:
                async for difference in step(connection, tenant, progress):
                    yield difference
            for check in (verify_sums, verify_exact):
                async for difference in check(connection, tenant, progress):
                    yield difference


async def verify_sums(
    connection: Connection, tenant_id: str, progress: Progress
) -> AsyncIterator[Difference]:
    """Differences found by the database: grants, invoices, payments, applications, entitlements, unsettled accounts."""
    currencies = [each for (each,) in await connection.fetch(*queries.verify_currencies(tenant_id=tenant_id))]
    units = {"currencies": currencies, "units": [minor_unit(each) for each in currencies]}
    checks = [(statement(tenant_id=tenant_id), place) for statement, place in SUMS]
    checks += [(statement(tenant_id=tenant_id, **units), place) for statement, place in AT_REST]
    for bound, place in checks:
        async for row in connection.cursor(*bound):
            amounts = (format_decimal(row[part], row["currency"]) for part in ("expected", "found"))
            yield Difference(tenant_id, place(row), row["part"], *amounts)
        progress("sums", 1)


async def verify_exact(
    connection: Connection, tenant_id: str, progress: Progress
) -> AsyncIterator[Difference]:
    """Contradictions found by the database: terms of grants, owners of facts, missing facts."""
    for statement, place in EXACT:
        async for row in connection.cursor(*statement(tenant_id=tenant_id)):
            yield Difference(tenant_id, place(row), row["part"], row["expected"], row["found"])
        progress("sums", 1)
