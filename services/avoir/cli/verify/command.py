"""`avoir verify`: proves the ledger and lists each difference."""

from typing import Annotated

from cyclopts import Parameter
from rich.progress import Progress

from avoir.cli.base.access import DSN, connected, load_settings
from avoir.cli.base.differences import Difference
from avoir.cli.base.exits import Exit, not_found
from avoir.cli.base.options import AsJson
from avoir.cli.base.output import bars, difference_json, print_json, say
from avoir.cli.verify.query import AT_REST, EXACT, SUMS, Sizes
from avoir.cli.verify.query import verify as find_differences

PATIENCE_S = 3600.0
MAX_IN_JSON = 10_000


class _Counts:
    """A progress bar for each part of the proof, over all tenants begun so far."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks = {
            name: progress.add_task(name, total=0) for name in ("entries", "lines", "targets", "sums")
        }
        self.tenants = 0

    def begun(self, tenant_id: str, sizes: Sizes) -> None:
        """Add a tenant, with the number of rows to read."""
        self.tenants += 1
        for name, more in (
            ("entries", sizes.entries),
            ("lines", sizes.lines),
            ("sums", len(SUMS) + len(AT_REST) + len(EXACT)),
        ):
            self._grow(name, more)

    def advance(self, name: str, rows: int) -> None:
        """Add rows of a part that were read."""
        if name == "targets":
            self._grow(name, rows)
        self._progress.advance(self._tasks[name], rows)

    def _grow(self, name: str, more: int) -> None:
        task = self._progress.tasks[self._tasks[name]]
        self._progress.update(task.id, total=(task.total or 0) + more)

    def count(self, name: str) -> int:
        """Number of rows of a part read so far."""
        return int(self._progress.tasks[self._tasks[name]].completed)


async def verify(
    *,
    tenant: Annotated[
        str | None, Parameter(name=["--tenant", "-t"], help="Only this tenant; default: all.")
    ] = None,
    json: AsJson = False,
) -> int:
    """Prove the ledger: recompute balances, hash chains, sums, costs and targets, and list each difference.

    Only reads, at one moment of the database, in bounded memory. Exit code 1 if anything differs.

    Example: `avoir verify --tenant t1`
    """
    kept: list[Difference] = []
    differing = 0
    with bars("{task.description:8}") as progress:
        counts = _Counts(progress)
        async with connected(load_settings(DSN), patience_s=PATIENCE_S) as connection:
            async for difference in find_differences(connection, tenant, counts.advance, counts.begun):
                differing += 1
                if not json:
                    say(str(difference))
                elif len(kept) < MAX_IN_JSON:
                    kept.append(difference)
    if tenant is not None and not counts.tenants:
        not_found(f"Nothing is known about tenant {tenant}.")
    _conclude(counts, differing, kept, json=json)
    return Exit.FOUND if differing else Exit.OK


def _conclude(counts: _Counts, differing: int, kept: list[Difference], *, json: bool) -> None:
    if json:
        print_json(
            {
                "tenants": counts.tenants,
                "entries": counts.count("entries"),
                "lines": counts.count("lines"),
                "differences": differing,
                "found": [difference_json(each) for each in kept],
            }
        )
        return
    read = (
        f"{counts.count('entries')} entries and {counts.count('lines')} lines of {counts.tenants} tenant(s)"
    )
    say(f"{read} verified: {f'{differing} DIFFERENCES' if differing else 'no differences'}.")
