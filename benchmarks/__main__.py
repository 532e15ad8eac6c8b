"""`python -m benchmarks`: measure the service, the floor and a plain handler in one run."""

import argparse
import asyncio
import json
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.check import check
from benchmarks.mix import Wire, mix, of_some_customers
from benchmarks.report import Runs, ratios, show
from benchmarks.service import BenchmarkError, run_program, run_service
from benchmarks.testbed import PARTITIONS, Testbed, feed, publish, testbed, topics_in
from benchmarks.usage import Figures
from deploy.local.process import StackError
from deploy.local.stack import running_stack

MESSAGES = 100_000
PROCESSES = 2
PLAIN_MESSAGES = 3_000
FLOOR_ROUNDS = 3
MOST_MESSAGES = 1_000_000


def main() -> int:
    """Run what the command line asks for; the exit status is 1 where something went wrong."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--messages", type=_count, default=MESSAGES, help=f"how many ({MESSAGES:,})")
    parser.add_argument(
        "--processes",
        type=int,
        default=PROCESSES,
        choices=range(1, PARTITIONS + 1),
        help=f"of the service ({PROCESSES})",
    )
    parser.add_argument("--json", action="store_true", help="print the figures as one JSON object")
    given = parser.parse_args()
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # new topics have no leader for a moment
    try:
        with running_stack(
            kafka=os.environ.get("AVOIR_TEST_KAFKA"), postgres=os.environ.get("AVOIR_TEST_DSN"), fsync=True
        ) as stack:
            runs, checked = asyncio.run(
                _measure(stack.kafka.address, stack.postgres.address, given.messages, given.processes)
            )
    except (StackError, BenchmarkError) as error:
        print(error, file=sys.stderr)
        return 1
    if given.json:
        figures = {name: figures.as_json() for name, figures in runs._asdict().items()}
        print(json.dumps(figures | {"ratios": ratios(runs), "checked": checked}))
    else:
        show(runs, checked)
    return 0


def _count(text: str) -> int:
    count = int(text)
    if not 1_000 <= count <= MOST_MESSAGES:
        raise argparse.ArgumentTypeError(f"from 1,000 to {MOST_MESSAGES:,}")
    return count


async def _measure(kafka: str, dsn: str, count: int, processes: int) -> tuple[Runs, dict[str, Any]]:
    messages = mix(count)
    some = of_some_customers(messages, min(PLAIN_MESSAGES, count))
    async with testbed(kafka, dsn) as bed:
        with _bar("publish", count):
            await publish(kafka, bed.prefix("service"), messages)
        with _bar("Avoir", count) as bar:
            service = await run_service(bed, count, processes, bar)
        with _bar("check", 1):
            checked = await check(bed, messages)
            service = replace(service, events_out=checked["events"] / count)
        with _bar("floor", count * FLOOR_ROUNDS) as bar:
            floor = await _floor(bed, count, checked["event_bytes"], bar)
        with _bar("floor by hand", count * FLOOR_ROUNDS) as bar:
            by_hand = await _floor(bed, count, checked["event_bytes"], bar, by_hand=True)
        with _bar("plain handler", len(some)) as bar:
            plain = await _plain(bed, some, bar)
    return Runs(service, floor, by_hand, plain), checked


async def _floor(bed: Testbed, count: int, event_bytes: int, bar: Any, *, by_hand: bool = False) -> Figures:
    asked = {
        "topics": topics_in(bed.prefix("service")),
        "topic_out": bed.prefix("floor") + "credit-issued",
        "event_bytes": event_bytes,
        "messages": count * FLOOR_ROUNDS,
        "rounds": FLOOR_ROUNDS,
        "by_hand": by_hand,
    }
    return await run_program("benchmarks.floor", bed, "floor", asked, bar)


async def _plain(bed: Testbed, messages: Sequence[Wire], bar: Any) -> Figures:
    prefix = bed.prefix("plain")
    group = prefix + "group"
    asked = {"prefix": prefix, "topics": topics_in(prefix), "group": group, "messages": len(messages)}
    async with asyncio.TaskGroup() as together:
        running = together.create_task(run_program("benchmarks.plain", bed, "plain", asked, bar))
        together.create_task(feed(bed.kafka, prefix, messages, group))
    return running.result()


@contextmanager
def _bar(what: str, total: int) -> Iterator[Any]:
    """A progress bar on standard error."""
    columns = (TextColumn("{task.description:>14}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(what, total=total)
        yield lambda done: progress.update(task, completed=min(done, total))
        progress.update(task, completed=total)


if __name__ == "__main__":
    sys.exit(main())
