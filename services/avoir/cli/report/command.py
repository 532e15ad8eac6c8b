"""`avoir report liability`: outstanding credit, for a month end."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any

from cyclopts import App, Parameter
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from avoir.cli.base.access import DSN, connected, load_settings
from avoir.cli.base.exits import Exit, not_found, refuse
from avoir.cli.base.options import AsCsv, AsJson, Moment, refuse_two_formats
from avoir.cli.base.output import (
    amount,
    difference_json,
    hint,
    notes,
    print_csv,
    print_json,
    rfc3339,
    say,
    short_time,
    show,
    table,
)
from avoir.cli.base.snapshot import NotYetError
from avoir.cli.base.words import credit_words
from avoir.cli.report.liability import CurrencyLiability, Figures, TenantLiability, read_liability, totals

PATIENCE_S = 3600.0
UNDER_WAY = timedelta(minutes=5)
"""Far longer than a transaction takes: this long after a moment, everything from before it is recorded."""

AGES = {"0_30": "0-30", "31_60": "31-60", "61_90": "61-90", "over_90": "over 90"}
SPANS = ("30", "60", "90")
FIGURES = (
    "available",
    "reserved",
    "outstanding",
    *(f"age_{age}" for age in AGES),
    *(f"expires_in_{days}" for days in SPANS),
)
COLUMNS = ("tenant_id", "as_of", "currency", "source", "reason", "paid_for", "grants", *FIGURES)

report = App(name="report", help="Figures for finance: outstanding customer credit.")


@report.command
async def liability(
    *,
    tenant: Annotated[
        str | None, Parameter(name=["--tenant", "-t"], help="Only this tenant; default: all tenants.")
    ] = None,
    as_of: Annotated[
        Moment | None,
        Parameter(help="The figures as of this moment: everything recorded by then. Default: now."),
    ] = None,
    json: AsJson = False,
    csv: AsCsv = False,
) -> int:
    """Show customers' outstanding credit per currency and source, its age, and how much expires soon.

    Outstanding is available plus reserved. Age is in whole days since the credit took effect; "in 60 days" includes
    "in 30 days". Expired credit does not count, swept or not.

    All figures come from the ledger's entries, so a moment always gives the same figures. The totals are checked
    against the accounts' balances then; if they differ, each account is listed and the exit code is 1. A date is its
    first instant in UTC: the end of June is `--as-of 2025-07-01`.

    Example: `avoir report liability --tenant t1 --as-of 2025-07-01`
    """
    refuse_two_formats(json, csv)
    tenants = await _read(tenant, as_of)
    if json:
        print_json(liability_json(tenants, as_of))
    elif csv:
        print_csv(COLUMNS, FIGURES, (row for each in tenants for row in liability_rows(each)))
    if tenant is not None and not tenants:
        not_found(f"No account in tenant {tenant}.")
    if not json and not csv:
        print_tenants(tenants)
    return _conclude(tenants, as_of)


async def _read(tenant: str | None, as_of: datetime | None) -> list[TenantLiability]:
    to = notes()
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    tenants: list[TenantLiability] = []
    with Progress(*columns, console=to, transient=True, disable=not to.is_terminal) as progress:
        task = progress.add_task("reading entries")
        async with connected(load_settings(DSN), patience_s=PATIENCE_S) as connection:
            try:
                async for each in read_liability(connection, tenant, as_of):
                    tenants.append(each)
                    progress.update(task, description=f"reading entries: {len(tenants)} tenant(s) done")
            except NotYetError as error:
                refuse(f"--as-of {error}. Leave it out for current figures.")
    return tenants


def _conclude(tenants: Sequence[TenantLiability], as_of: datetime | None) -> int:
    if as_of and any(each.read_at - as_of < UNDER_WAY for each in tenants):
        hint(
            "Transactions from before that moment may still be running. For final figures, run this again "
            f"{int(UNDER_WAY.total_seconds() // 60)} minutes after it."
        )
    differences = [difference for each in tenants for difference in each.differences]
    for difference in differences:
        hint(f"{difference}: run `avoir verify`.")
    return Exit.FOUND if differences else Exit.OK


def liability_json(tenants: Sequence[TenantLiability], as_of: datetime | None) -> dict[str, Any]:
    """The documented shape of `avoir report liability --json`."""
    return {
        "as_of": rfc3339(tenants[0].as_of if tenants else as_of),
        "tenants": [_tenant_json(each) for each in tenants],
        "totals": [_figures_json(currency, figures) for currency, figures in totals(tenants).items()],
    }


def _tenant_json(tenant: TenantLiability) -> dict[str, Any]:
    return {
        "tenant_id": tenant.tenant_id,
        "currencies": [_currency_json(each) for each in tenant.currencies],
        "adds_up": not tenant.differences,
        "differences": [difference_json(each) for each in tenant.differences],
    }


def _currency_json(in_currency: CurrencyLiability) -> dict[str, Any]:
    return {
        **_figures_json(in_currency.currency, in_currency.total),
        "paid_for": amount(in_currency.paid_for.outstanding, in_currency.currency),
        "sources": [
            {
                "source": each.source,
                "reason": each.reason,
                "paid_for": each.paid_for,
                **_figures_json(in_currency.currency, each.figures),
            }
            for each in in_currency.sources
        ],
    }


def _figures_json(currency: str, figures: Figures) -> dict[str, Any]:
    def text(name: str) -> str:
        return amount(getattr(figures, name), currency)

    return {
        "currency": currency,
        "grants": figures.grants,
        "available": text("available"),
        "reserved": text("reserved"),
        "outstanding": text("outstanding"),
        "age_days": {age: text(f"age_{age}") for age in AGES},
        "expires_in_days": {days: text(f"expires_in_{days}") for days in SPANS},
        "expired_unswept": {
            "available": text("expired_available"),
            "reserved": text("expired_reserved"),
        },
    }


def liability_rows(tenant: TenantLiability) -> list[tuple[object, ...]]:
    """Rows of `avoir report liability --csv`: one per source, and no totals, which would count twice in a sum."""
    return [
        (
            tenant.tenant_id,
            rfc3339(tenant.as_of),
            in_currency.currency,
            each.source,
            each.reason,
            "yes" if each.paid_for else "no",
            each.figures.grants,
            *(amount(getattr(each.figures, name), in_currency.currency) for name in FIGURES),
        )
        for in_currency in tenant.currencies
        for each in in_currency.sources
        if each.figures.grants
    ]


def print_tenants(tenants: Sequence[TenantLiability]) -> None:
    """Print every tenant's figures as tables, and the totals over all tenants."""
    if not tenants:
        say("There is no account yet.")
    for place, tenant in enumerate(tenants):
        if place:
            say("")
        print_tenant(tenant)
    if len(tenants) > 1:
        say("")
        show(totals_table(tenants))


def print_tenant(tenant: TenantLiability) -> None:
    """Print one tenant's figures: two tables per currency."""
    say(f"Credit of the customers of tenant {tenant.tenant_id}, as of {short_time(tenant.as_of)} UTC\n")
    if not tenant.currencies:
        say("No credit is outstanding.")
    for in_currency in tenant.currencies:
        show(outstanding_table(in_currency))
        show(ages_table(in_currency))
        expired = in_currency.total.expired_available + in_currency.total.expired_reserved
        if expired:
            money = f"{amount(expired, in_currency.currency)} {in_currency.currency}"
            say(f"Not included: {money} that had expired by then.")
    agreed = not tenant.differences
    say(f"The totals {'match' if agreed else 'DO NOT MATCH'} what the accounts held then.")


def outstanding_table(in_currency: CurrencyLiability) -> Table:
    """Outstanding credit by source, and how much expires soon."""
    names = ("available", "reserved", "outstanding", *(f"expires_in_{days}" for days in SPANS))
    headings = ("Available", "Reserved", "Outstanding", *(f"in {days} days" for days in SPANS))
    return _by_source(
        in_currency, names, headings, f"{in_currency.currency}: outstanding, and how much expires"
    )


def ages_table(in_currency: CurrencyLiability) -> Table:
    """Outstanding credit by source and age."""
    headings = ("Outstanding", *AGES.values())
    names = ("outstanding", *(f"age_{age}" for age in AGES))
    return _by_source(
        in_currency, names, headings, f"{in_currency.currency}: by age, in days since it took effect"
    )


def _by_source(
    in_currency: CurrencyLiability, names: Sequence[str], headings: Sequence[str], title: str
) -> Table:
    made = table("Source", *headings, right=headings, title=title)
    cells = _cells(in_currency.currency, names)
    for each in in_currency.sources:
        if each.figures.grants:
            made.add_row(credit_words(each.source, each.reason), *cells(each.figures))
    made.add_section()
    made.add_row(f"Total {in_currency.currency}", *cells(in_currency.total), style="bold")
    if in_currency.paid_for != in_currency.total:
        made.add_row("of which paid for", *cells(in_currency.paid_for))
    return made


def _cells(currency: str, names: Sequence[str]) -> Callable[[Figures], list[str]]:
    return lambda figures: [amount(getattr(figures, name), currency) for name in names]


def totals_table(tenants: Sequence[TenantLiability]) -> Table:
    """The totals over all tenants, by currency."""
    names = ("available", "reserved", "outstanding", *(f"expires_in_{days}" for days in SPANS))
    headings = ("Available", "Reserved", "Outstanding", *(f"in {days} days" for days in SPANS))
    made = table("Currency", *headings, right=headings, title=f"All {len(tenants)} tenants")
    for currency, figures in totals(tenants).items():
        made.add_row(currency, *_cells(currency, names)(figures))
    return made
