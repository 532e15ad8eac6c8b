"""How a benchmark is told: a table for people, the same figures as JSON for scripts."""

from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.usage import Figures

WIDTH = 100


def ratios(service: Figures, floor: Figures, plain: Figures) -> dict[str, float]:
    """How many times the plain handler, and what part of the floor."""
    return {
        "times_plain": service.per_second / plain.per_second,
        "of_floor": service.per_second / floor.per_second,
    }


def show(service: Figures, floor: Figures, plain: Figures, checked: dict[str, Any]) -> None:
    """Print the table, the ratios beside their aims, and what the check found."""
    console = Console(width=WIDTH, highlight=False)
    table = Table(title="Through Kafka, the service and Kafka again", title_justify="left")
    table.add_column("")
    for name in ("Avoir", "floor", "plain handler"):
        table.add_column(name, justify="right")
    for label, *cells in _rows(service, floor, plain):
        table.add_row(label, *cells)
    console.print(table)
    found = ratios(service, floor, plain)
    console.print(
        f"Avoir is {found['times_plain']:.1f} times the plain handler (aim 20), "
        f"{found['of_floor']:.1%} of the floor (aim 10 %), peak {service.peak_bytes / 1e6:.0f} MB (aim 200)."
    )
    outcomes = ", ".join(f"{count:,} {outcome}" for outcome, count in sorted(checked["outcomes"].items()))
    console.print(
        f"Checked: every message decided once ({outcomes}); {checked['events']:,} events out, none missing, "
        f"{checked['published'].get('repeated', 0)} repeated;"
    )
    console.print("verify finds no difference.")


def _rows(*all_figures: Figures) -> list[tuple[str, ...]]:
    return [
        ("messages measured", *(f"{each.messages:,}" for each in all_figures)),
        ("messages per second", *(f"{each.per_second:,.0f}" for each in all_figures)),
        ("CPU per message, process", *(_us(each.cpu_s, each.messages) for each in all_figures)),
        ("CPU per message, Postgres", *(_us(each.postgres_cpu_s, each.messages) for each in all_figures)),
        ("messages per batch", *(f"{each.batch_messages:,.0f}" for each in all_figures)),
        ("statements per batch", *(f"{each.batch_statements:,.1f}" for each in all_figures)),
        ("events out per message", *(f"{each.events_out:,.2f}" for each in all_figures)),
        ("WAL per message", *(_bytes(each.wal_bytes, each.messages) for each in all_figures)),
        ("peak memory, process", *(_megabytes(each.peak_bytes) for each in all_figures)),
        (
            "peak memory, all of them",
            *(_megabytes(each.all_peak_bytes or each.peak_bytes) for each in all_figures),
        ),
    ]


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.0f} MB"


def _us(seconds: float | None, messages: int) -> str:
    return "not measured" if seconds is None else f"{seconds / messages * 1e6:,.0f} µs"


def _bytes(count: int | None, messages: int) -> str:
    return "not measured" if count is None else f"{count / messages:,.0f} B"
