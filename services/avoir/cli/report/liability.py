"""Outstanding customer credit of a tenant at a moment: by currency and source, age and expiry.

Everything comes from entries and from columns of grants that never change, so a moment always gives the same figures.
"""

from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

import asyncpg

from avoir.cli.base.differences import Difference
from avoir.cli.base.snapshot import END, snapshot
from avoir.core.model.money import format_decimal
from avoir.postgres import queries
from avoir.postgres.connect import Connection

MAX_DIFFERENCES = 1_000


class Figures(NamedTuple):
    """Sums in micros over grants with something left; `grants` counts them.

    Ages are whole days since a grant took effect and add up to the outstanding amount. "In 60 days" includes "in 30
    days". Expired, unswept credit counts only in its own two sums.
    """

    grants: int
    available: int
    reserved: int
    age_0_30: int
    age_31_60: int
    age_61_90: int
    age_over_90: int
    expires_in_30: int
    expires_in_60: int
    expires_in_90: int
    expired_available: int
    expired_reserved: int

    @property
    def outstanding(self) -> int:
        """All credit that a customer still has: available and reserved."""
        return self.available + self.reserved


class SourceLiability(NamedTuple):
    """The credit of one source; for granted credit, of one reason."""

    source: str
    reason: str
    paid_for: bool
    figures: Figures


@dataclass(frozen=True, slots=True)
class CurrencyLiability:
    """The credit in one currency."""

    currency: str
    sources: tuple[SourceLiability, ...]

    @property
    def total(self) -> Figures:
        """The figures over all sources."""
        return sum_figures(source.figures for source in self.sources)

    @property
    def paid_for(self) -> Figures:
        """The figures over the sources that customers paid for."""
        return sum_figures(source.figures for source in self.sources if source.paid_for)


@dataclass(frozen=True, slots=True)
class TenantLiability:
    """The credit of one tenant's customers at `as_of`, read at `read_at` by the database clock.

    Only the first MAX_DIFFERENCES differences are kept.
    """

    tenant_id: str
    as_of: datetime
    read_at: datetime
    currencies: tuple[CurrencyLiability, ...]
    differences: tuple[Difference, ...]


def sum_figures(all_figures: Iterable[Figures]) -> Figures:
    """Add up figures, column by column."""
    return Figures(*(sum(column) for column in zip(NO_FIGURES, *all_figures, strict=True)))


NO_FIGURES = Figures(*[0] * len(Figures._fields))


def totals(tenants: Iterable[TenantLiability]) -> Mapping[str, Figures]:
    """The totals over all tenants, by currency."""
    sums: defaultdict[str, Figures] = defaultdict(lambda: NO_FIGURES)
    for tenant in tenants:
        for each in tenant.currencies:
            sums[each.currency] = sum_figures((sums[each.currency], each.total))
    return dict(sorted(sums.items()))


async def read_liability(
    connection: Connection, tenant_id: str | None, as_of: datetime | None
) -> AsyncIterator[TenantLiability]:
    """The liability of one tenant, or of each that has an account. Raises NotYetError for a future `as_of`."""
    async with snapshot(connection, as_of) as now:
        for (tenant,) in await connection.fetch(*queries.read_tenants()):
            if tenant_id in (None, tenant):
                yield await _read_tenant(connection, tenant, as_of, now)


async def _read_tenant(
    connection: Connection, tenant_id: str, as_of: datetime | None, now: datetime
) -> TenantLiability:
    moment, recorded_by = as_of or now, as_of or END
    currencies: defaultdict[str, list[SourceLiability]] = defaultdict(list)
    for row in await connection.fetch(
        *queries.report_liability(tenant_id=tenant_id, recorded_by=recorded_by, moment=moment)
    ):
        currencies[row["currency"]].append(_source(row))
    by_currency = tuple(
        CurrencyLiability(currency, tuple(sources)) for currency, sources in currencies.items()
    )
    balances = await connection.fetch(*queries.report_balances(tenant_id=tenant_id, recorded_by=recorded_by))
    differences = [*_against_balances(tenant_id, by_currency, balances)]
    async for row in connection.cursor(
        *queries.report_differences(tenant_id=tenant_id, recorded_by=recorded_by)
    ):
        if len(differences) == MAX_DIFFERENCES:
            break
        amounts = (format_decimal(row[part], row["currency"]) for part in ("expected", "found"))
        where = f"account {row['owner_type']}/{row['owner_id']} {row['currency']}"
        differences.append(Difference(tenant_id, where, row["part"], *amounts))
    return TenantLiability(tenant_id, moment, now, by_currency, tuple(differences))


def _source(row: asyncpg.Record) -> SourceLiability:
    figures = Figures(*(int(row[name]) for name in Figures._fields))
    return SourceLiability(row["source"], row["reason"], row["paid_for"], figures)


def _against_balances(
    tenant_id: str, by_currency: Iterable[CurrencyLiability], balances: Iterable[asyncpg.Record]
) -> Iterable[Difference]:
    """Places where the grants' remaining amounts differ from what accounts held."""
    left = {each.currency: each.total for each in by_currency}
    held = {row["currency"]: row for row in balances}
    for currency in sorted(left.keys() | held.keys()):
        figures, row = left.get(currency, NO_FIGURES), held.get(currency)
        for name, expected in (
            ("available", figures.available + figures.expired_available),
            ("reserved", figures.reserved + figures.expired_reserved),
        ):
            actual = int(row[name]) if row else 0
            if actual != expected:
                amounts = (format_decimal(micros, currency) for micros in (expected, actual))
                yield Difference(tenant_id, f"all accounts in {currency}", name, *amounts)
