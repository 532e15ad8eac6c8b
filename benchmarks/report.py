"""The report of a benchmark: a table for people, the same figures as JSON for scripts."""

from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from benchmarks.usage import Figures

WIDTH = 110


class Runs(NamedTuple):
    """What each runner did; of the floor once with the producer's `send`, once with batches filled by hand."""

    service: Figures
    floor: Figures
    floor_by_hand: Figures
    plain: Figures


def ratios(runs: Runs) -> dict[str, float]:
    """How many times the plain handler, and what part of the floor."""
    per_second = runs.service.per_second
    return {
        "times_plain": per_second / runs.plain.per_second,
        "of_floor": per_second / runs.floor.per_second,
        "of_floor_by_hand": per_second / runs.floor_by_hand.per_second,
    }


def show(runs: Runs, checked: dict[str, Any]) -> None:
    """Print the table, the ratios beside their aims, and what the check found."""
    console = Console(width=WIDTH, highlight=False)
    table = Table(title="Through Kafka, the service and Kafka again", title_justify="left")
    table.add_column("")
    for name in ("Avoir", "floor", "floor by hand", "plain handler"):
        table.add_column(name, justify="right")
    for label, *cells in _rows(*runs):
        table.add_row(label, *cells)
    console.print(table)
    found = ratios(runs)
    console.print(
        f"Avoir is {found['times_plain']:.1f} times the plain handler (aim 20), "
        f"{found['of_floor']:.1%} of the floor (aim 10 %; {found['of_floor_by_hand']:.1%} of the one by hand), "
        f"peak {runs.service.peak_bytes / 1e6:.0f} MB (aim 200)."
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
