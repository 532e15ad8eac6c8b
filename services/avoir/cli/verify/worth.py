"""Proves the worth of lines: cost and target of each, recomputed from the facts.

Costs and targets are computed from the facts by the core's functions. The terms of entitlements are repeated here on
purpose, as the sums are in `verify.sql`: a proof that shared the service's rules would share its mistakes.
"""

from collections.abc import AsyncIterator, Sequence

import asyncpg

from avoir.cli.base.differences import Difference, Progress
from avoir.cli.base.grouping import grouped
from avoir.core.model.facts import InvoiceLine
from avoir.core.model.money import format_decimal
from avoir.core.model.rows import Change
from avoir.core.model.rules import TODAY
from avoir.core.worth.targets import Billed, costs, targets
from avoir.postgres import queries, rows
from avoir.postgres.connect import Connection

PREFETCH = 2_000


async def verify_costs(
    connection: Connection, tenant_id: str, progress: Progress
) -> AsyncIterator[Difference]:
    """Lines whose cost is not their total less their share of the invoice's discounts."""
    stream = connection.cursor(*queries.verify_costs(tenant_id=tenant_id), prefetch=PREFETCH)
    async for invoice_id, lines in grouped(aiter(stream), lambda row: str(row["invoice_id"])):
        currency = lines[0]["currency"]
        billed = [_line(row) for row in lines]
        for row, cost in zip(lines, costs(billed, currency, _rules_of(lines)), strict=True):
            place = f"invoice {invoice_id}, line {row['line_id']}"
            if row["cost"] != cost.amount:
                yield _differs(tenant_id, place, "cost", cost.amount, row["cost"], currency)
            if row["cost_tax"] != cost.tax:
                yield _differs(tenant_id, place, "tax in it", cost.tax or 0, row["cost_tax"] or 0, currency)
        progress("lines", len(lines))


def _rules_of(lines: Sequence[asyncpg.Record]) -> int:
    """Rules of an invoice: under the first ones no line had a tax of its own in its cost."""
    return 1 if all(row["cost_tax"] is None for row in lines) else TODAY


def _line(row: asyncpg.Record) -> InvoiceLine:
    return InvoiceLine(row["line_id"], row["kind"], row["subject_id"], None, row["amount"], row["tax"])


async def verify_targets(
    connection: Connection, tenant_id: str, progress: Progress
) -> AsyncIterator[Difference]:
    """Lines of bookings and plans whose target does not follow from all facts known."""
    billed = grouped(
        aiter(connection.cursor(*queries.verify_billed(tenant_id=tenant_id), prefetch=PREFETCH)),
        lambda row: (str(row["kind"]), str(row["subject_id"])),
    )
    changes = grouped(
        aiter(connection.cursor(*queries.verify_changes(tenant_id=tenant_id), prefetch=PREFETCH)),
        lambda row: (str(row["subject_kind"]), str(row["subject_id"])),
    )
    change = await anext(changes, None)
    async for subject, lines in billed:
        while change is not None and change[0] < subject:
            change = await anext(changes, None)
        known = change[1] if change is not None and change[0] == subject else []
        for difference in _targets_of(tenant_id, lines, known):
            yield difference
        progress("targets", len(lines))


def _targets_of(
    tenant_id: str, lines: Sequence[asyncpg.Record], changes: Sequence[asyncpg.Record]
) -> list[Difference]:
    billed = [Billed(rows.invoice(row), rows.line(row)) for row in lines]
    due = targets(billed, [rows.change(row) for row in changes])
    differences = []
    for row, (_, line) in zip(lines, billed, strict=True):
        target = due.get(line.key)
        expected, stored = target.amount if target else 0, row["target"] or 0
        place = f"{row['kind']} {row['subject_id']}, invoice {row['invoice_id']}, line {row['line_id']}"
        if stored != expected:
            differences.append(_differs(tenant_id, place, "target", expected, stored, row["currency"]))
        elif target is not None and row["target"] is not None:
            differences += _terms_of(tenant_id, place, row, target.change)
    return differences


def _terms_of(tenant_id: str, place: str, row: asyncpg.Record, change: Change) -> list[Difference]:
    """Entitlement terms that differ from those of the change they come from."""
    terms = {
        "source": (change.topic.replace("-", "_"), row["source"]),
        "due from": (change.occurred_at, row["due_from"]),
        "settle by": (change.occurred_at if change.unpaid_change == "never" else None, row["settle_by"]),
        "as line item": (change.credit_as == "line_item", row["as_line_item"]),
        "expires after days": (change.expires_after_days, row["terms_expire_after_days"]),
        "time zone": (change.time_zone if change.rules > 1 else "UTC", row["terms_time_zone"]),
    }
    return [
        Difference(tenant_id, place, name, str(expected), str(found))
        for name, (expected, found) in terms.items()
        if expected != found
    ]


def _differs(tenant_id: str, place: str, what: str, expected: int, found: int, currency: str) -> Difference:
    return Difference(
        tenant_id, place, what, format_decimal(expected, currency), format_decimal(found, currency)
    )
