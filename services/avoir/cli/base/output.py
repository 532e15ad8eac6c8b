"""Output of commands: tables for people, one JSON document for programs."""

import csv
import json
import sys
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from avoir.cli.base.differences import Difference
from avoir.core.model.money import format_decimal

if TYPE_CHECKING:
    from rich.progress import Progress

WIDTH_ELSEWHERE = 100
WIDEST = 1_000
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""First characters of a cell that spreadsheets may run as a formula."""


class _Output(Console):
    def on_broken_pipe(self) -> None:
        """Re-raise the error: rich would exit with 1, which has a different meaning here."""
        raise BrokenPipeError


def console() -> Console:
    """Standard output, 100 columns wide if it is not a terminal. Raises BrokenPipeError if the reader is gone."""
    return _Output(width=None if sys.stdout.isatty() else WIDTH_ELSEWHERE, highlight=False)


def notes() -> Console:
    """Standard error: progress, hints and errors."""
    return Console(stderr=True, width=None if sys.stderr.isatty() else WIDTH_ELSEWHERE, highlight=False)


def bars(what: str) -> "Progress":
    """Progress bars on standard error that disappear at the end; `what` is a column: a text or a task's field."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=notes(), transient=True)


def print_json(document: Any) -> None:
    """Print a document as JSON, with keys in the documented order."""
    sys.stdout.write(json.dumps(document, ensure_ascii=False, indent=2) + "\n")


def print_csv(columns: Sequence[str], amounts: Collection[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table as CSV with a header line; None is an empty field.

    Text that a spreadsheet would take for a formula gets an apostrophe in front; columns of amounts are left alone.
    """
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(columns)
    is_text = [column not in amounts for column in columns]
    for row in rows:
        writer.writerow(
            f"'{cell}" if text and isinstance(cell, str) and cell.startswith(FORMULA) else cell
            for cell, text in zip(row, is_text, strict=True)
        )


def difference_json(difference: Difference) -> dict[str, str]:
    """One difference in JSON."""
    return {
        "tenant_id": difference.tenant_id,
        "where": difference.where,
        "what": difference.what,
        "expected": difference.expected,
        "found": difference.found,
    }


def table(
    *columns: str, right: Iterable[str] = (), whole: Iterable[str] = (), title: str | None = None
) -> Table:
    """An empty table; `right` columns are right-aligned, and cells of `right` and `whole` columns are never broken."""
    made = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", title_style="bold", pad_edge=False)
    for column in columns:
        justify: Literal["left", "right"] = "right" if column in right else "left"
        made.add_column(column, justify=justify, overflow="fold", no_wrap=column in (*right, *whole))
    return made


def add_rows(to: Table, rows: Iterable[Sequence[str]]) -> Table:
    """The table with these rows; cell texts are printed literally."""
    for row in rows:
        to.add_row(*map(Text, row))
    return to


def show(made: Table) -> None:
    """Print a table, wider than the console if an amount would be cut otherwise."""
    to = console()
    needed = made.__rich_measure__(to, to.options.update(max_width=WIDEST)).minimum
    to.width = max(to.width, needed)
    to.print(made)


def say(text: str) -> None:
    """Print a line for people, without interpreting markup."""
    console().print(text, markup=False)


def hint(text: str) -> None:
    """Print a line on standard error without wrapping, so that a log keeps it whole."""
    notes().print(text, markup=False, soft_wrap=True)


def rfc3339(moment: datetime | None) -> str | None:
    """A moment in JSON: 2025-06-01T12:00:00Z, with microseconds if there are any."""
    return None if moment is None else moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def short_time(moment: datetime | None) -> str:
    """A moment in a table, in UTC to the second."""
    return "" if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def amount(micros: int, currency: str) -> str:
    """An amount in a table or in JSON, as a decimal string."""
    return format_decimal(micros, currency)


def signed(micros: int, currency: str) -> str:
    """A movement in a table: with its sign."""
    return f"{'+' if micros > 0 else ''}{format_decimal(micros, currency)}"


def span(seconds: float) -> str:
    """A duration: 3 s, 2 min, 5 h, 3 d."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{int(seconds // size)} {unit}"
    return f"{max(0, int(seconds))} s"
