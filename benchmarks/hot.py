"""`python -m benchmarks.hot`: what a message costs on an account, or of a booking, that has much open already.

Each series makes one thing more and more: open credit, open invoices, changes or lines of one booking. At each size the
same messages are handled, in batches, and what they cost of processor time is compared with the smallest size.
"""

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import asyncpg
from pydantic import SecretStr
from rich.console import Console
from rich.table import Table

from avoir.batch.batch import Rules
from avoir.batch.handle import Handler
from avoir.postgres import queries
from avoir.postgres.connect import Database, KeptConnection
from avoir.postgres.migrate import migrate
from avoir.record import Record, TopicPartition
from avoir.wire.topics import SUBSCRIBED
from benchmarks.usage import PostgresMeter
from deploy.local.harness.databases import own_database
from deploy.local.process import StackError
from deploy.local.stack import running_postgres

SIZES = (10, 1_000, 10_000, 100_000)
GROWN_AT_ONCE = 2_000
MEASURED = 100
ROUNDS = 4
MOST = 1.5
WIDTH = 110

OWNER = {"type": "user", "id": "u1"}
ACTOR = {"type": "admin", "id": "a1"}
MAY, JUNE, JULY = (f"2025-0{month}-01T00:00:00Z" for month in (5, 6, 7))

Make = Callable[[str], tuple[str, dict[str, Any]]]


class Series(NamedTuple):
    """What is made more of, and the messages that are measured then, in turn: as many come as go."""

    name: str
    grow: Make
    measured: str
    makes: tuple[Make, ...]
    most: int
    begin: tuple[Make, ...] = ()
    """Handled once, before anything grows."""


def grant(n: str) -> tuple[str, dict[str, Any]]:
    """0.01 of credit."""
    said = {"owner": OWNER, "amount": "0.01", "currency": "EUR", "reason": "goodwill", "actor": ACTOR}
    return "grant-credit", {"occurred_at": MAY, **said}


def draw(n: str) -> tuple[str, dict[str, Any]]:
    """0.01 drawn: one grant."""
    said = {
        "owner": OWNER,
        "amount": "0.01",
        "currency": "EUR",
        "reference": n,
        "actor": ACTOR,
        "allow_partial": False,
    }
    return "draw-credit", {"occurred_at": JULY, **said}


def invoice(
    n: str, booking: str | None = None, amount: str = "10.00", paid: str = "0.00"
) -> tuple[str, dict[str, Any]]:
    """An invoice over an amount for a booking of its own, or for one of many."""
    line = {
        "line_id": "l1",
        "kind": "booking",
        "booking_id": booking or f"b-{n}",
        "amount": amount,
        "tax": "0.00",
    }
    said = {"invoice_id": n, "number": n, "owner": OWNER, "currency": "EUR", "finalization": "manual"}
    return "invoice-finalized", {
        "occurred_at": JUNE,
        **said,
        "lines": [line],
        "total": amount,
        "amount_paid": paid,
    }


def payment(n: str, amount: str = "10.00") -> tuple[str, dict[str, Any]]:
    """A payment that names no invoice: it pays the oldest open ones, and the rest is overpayment."""
    return "payment-recorded", {
        "occurred_at": JULY,
        "payment_id": n,
        "owner": OWNER,
        "amount": amount,
        "currency": "EUR",
        "method": "card",
    }


def overpayment(n: str) -> tuple[str, dict[str, Any]]:
    """Money for many invoices to come."""
    return payment(n, "1000000.00")


def paid_booking(n: str) -> tuple[str, dict[str, Any]]:
    """The booking that is changed many times, billed and paid."""
    return invoice(n, "b1", "1000000.00", "1000000.00")


def billed_again(n: str) -> tuple[str, dict[str, Any]]:
    """One more line for the booking that has many."""
    return invoice(n, "b1")


def change(n: str) -> tuple[str, dict[str, Any]]:
    """One more change to the booking that has many."""
    said = {"booking_id": "b1", "owner": OWNER, "changed_by": "customer", "currency": "EUR"}
    prices = {"billed_price": "1000000.00", "remaining_price": f"{1_000_000 - int(n.rpartition('-')[2])}.00"}
    return "booking-shortened", {"occurred_at": JULY, **said, **prices}


SERIES = (
    Series("open grants of an account", grant, "give, draw", (grant, draw), SIZES[-1]),
    Series("open invoices of an account", invoice, "finalize, pay", (invoice, payment), SIZES[-1]),
    Series("lines of a booking", billed_again, "bill it once more", (billed_again,), 9_000),
    Series("changes of a paid booking", change, "change it once more", (change,), 10_000, (paid_booking,)),
    Series("invoices that a payment paid", invoice, "finalize", (invoice,), 10_000, (overpayment,)),
)


class Cost(NamedTuple):
    """The processor time of one message, in microseconds: in this process and in Postgres."""

    process_us: float
    postgres_us: float

    @property
    def total(self) -> float:
        """Both together."""
        return self.process_us + self.postgres_us


class Rig:
    """A handler on a database of its own, and what it handled."""

    def __init__(self, handler: Handler, meter: PostgresMeter) -> None:
        self._handler = handler
        self._meter = meter
        self._offsets = dict.fromkeys((TopicPartition(topic, 0) for topic in SUBSCRIBED), 0)
        self._delivered = 0

    async def handle(self, makes: Sequence[Make], count: int, at_once: int) -> None:
        """Handle messages in batches."""
        for start in range(0, count, at_once):
            records, before = [], dict(self._offsets)
            for _ in range(min(at_once, count - start)):
                self._delivered += 1
                topic, body = makes[self._delivered % len(makes)](f"n-{self._delivered}")
                place = TopicPartition(topic, 0)
                value = json.dumps({"tenant_id": "t1", "event_id": f"e-{self._delivered}", **body}).encode()
                records.append(Record(topic, 0, self._offsets[place], int(time.time() * 1000), b"k", value))
                self._offsets[place] += 1
            places = {TopicPartition(each.topic, 0) for each in records}
            report = await self._handler.handle(records, {place: before[place] for place in places})
            if any(outcome in ("rejected", "parked") for _, outcome in report.decisions):
                raise RuntimeError(f"a message was not handled: {report.notable[:1]}")

    async def measure(self, makes: Sequence[Make], at_once: int) -> Cost:
        """The least of some rounds in this process: what else the machine does makes them dearer, never cheaper.

        Of Postgres the mean: its processes' time is only counted in hundredths of a second.
        """
        process, before = [], await self._meter.read()
        for _ in range(ROUNDS):
            begun = time.process_time()
            await self.handle(makes, MEASURED, at_once)
            process.append(time.process_time() - begun)
        after = await self._meter.read()
        database = (after.postgres_cpu_s or 0) - (before.postgres_cpu_s or 0)
        return Cost(min(process) / MEASURED * 1e6, database / ROUNDS / MEASURED * 1e6)


@asynccontextmanager
async def rig(admin_dsn: str) -> AsyncIterator[Rig]:
    """A handler on a new database, which is dropped in the end."""
    async with own_database(admin_dsn, f"avoir_hot_{os.getpid()}") as dsn:
        connection = KeptConnection(Database(SecretStr(dsn)))
        watching = await asyncpg.connect(dsn)
        try:
            await migrate(dsn)
            async with connection.use() as opened:
                places = [TopicPartition(topic, 0) for topic in SUBSCRIBED]
                await opened.execute(
                    *queries.add_positions(group_id="hot", partitions=places, next_offsets=[0] * len(places))
                )
            yield Rig(Handler(connection, Rules("hot")), await PostgresMeter.on(watching))
        finally:
            await connection.close()
            await watching.close()


async def run(admin_dsn: str, most: int) -> list[dict[str, Any]]:
    """All series, each on a database of its own."""
    found = []
    for series in SERIES:
        async with rig(admin_dsn) as bench:
            grown, first = 0, dict[int, float]()
            await bench.handle(series.begin, len(series.begin), 1)
            for size in sorted({*SIZES, series.most}):
                if size > min(most, series.most):
                    break
                print(f"{series.name}: {size:,}", file=sys.stderr)
                await bench.handle((series.grow,), size - grown, GROWN_AT_ONCE)
                # Of lines and changes what is measured stays.
                grown = size if len(series.makes) > 1 else size + 2 * ROUNDS * MEASURED
                for at_once in (1, MEASURED):
                    cost = await bench.measure(series.makes, at_once)
                    least = first.setdefault(at_once, cost.total)
                    found.append(
                        {
                            "series": series.name,
                            "messages": series.measured,
                            "open": size,
                            "batch": at_once,
                            "process_us": cost.process_us,
                            "postgres_us": cost.postgres_us,
                            "ratio": cost.total / least,
                        }
                    )
    return found


def show(found: Sequence[dict[str, Any]]) -> None:
    """Print a row for each size, with how many times the smallest it costs."""
    table = Table(
        title=f"Processor time of a message (aim: at most {MOST} times the smallest)",
        title_justify="left",
    )
    for name in ("there is much of", "messages", "batch", "open", "process", "Postgres", "times"):
        table.add_column(name, justify="left" if name in ("there is much of", "messages") else "right")
    for row in found:
        cells = (
            f"{row['batch']}",
            f"{row['open']:,}",
            f"{row['process_us']:,.0f} µs",
            f"{row['postgres_us']:,.0f} µs",
        )
        table.add_row(row["series"], row["messages"], *cells, f"{row['ratio']:.2f}")
    Console(width=WIDTH, highlight=False).print(table)


def main() -> int:
    """Run all series; the exit status is 1 where the database could not be started."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hot", description=__doc__)
    parser.add_argument("--most", type=int, default=SIZES[-1], help=f"the largest size ({SIZES[-1]:,})")
    parser.add_argument("--json", action="store_true", help="print the figures as one JSON list")
    given = parser.parse_args()
    try:
        with running_postgres(os.environ.get("AVOIR_TEST_DSN"), fsync=True) as postgres:
            found = asyncio.run(run(postgres.address, given.most))
    except StackError as error:
        print(error, file=sys.stderr)
        return 1
    if given.json:
        print(json.dumps(found))
    else:
        show(found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
