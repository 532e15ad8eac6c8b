"""The service under load: `avoir serve` as anywhere, until every message is handled and every event is out."""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import psutil

from benchmarks.testbed import Testbed
from benchmarks.usage import Figures, PostgresMeter, Reading, peak_bytes, tree_cpu_s, used
from deploy.local.harness.service import ServiceProcess, service_process

POLL_S = 0.05
START_S = 60.0
SLOWEST_PER_S = 150
GROUP = "bench"

# The outbox is looked at only once all is handled, and by its index: behind it lie the rows that are deleted already.
_HANDLED = "SELECT coalesce(sum(next_offset), 0)::bigint FROM avoir.consumer_offsets"
_IS_OUT = "SELECT NOT EXISTS (SELECT FROM avoir.outbox WHERE refused IS NULL)"

Progress = Callable[[int], None]


class BenchmarkError(RuntimeError):
    """The benchmark cannot go on, or what it measured is wrong."""


@dataclass(frozen=True, slots=True)
class _Moment:
    """Where the run stood at a moment, and what it had used."""

    at: float
    handled: int
    cpu_s: float
    database: Reading


async def run_service(bed: Testbed, messages: int, processes: int, progress: Progress) -> Figures:
    """Run the service until all messages are handled and published; figures from when each process had a batch on."""
    connection = await asyncpg.connect(
        bed.databases["service"],
        timeout=10,
        command_timeout=60,
        server_settings={"enable_seqscan": "off"},
    )
    try:
        await connection.execute("CHECKPOINT")
        meter = await PostgresMeter.on(connection)
        async with AsyncExitStack() as stack:
            served = [await stack.enter_async_context(_serving(bed)) for _ in range(processes)]
            await _begun(served, progress)
            begin = await _until(served, connection, meter, START_S, 1, progress)
            within_s = START_S + messages / SLOWEST_PER_S
            end = await _until(served, connection, meter, within_s, messages, progress)
            peaks = [peak_bytes(each.process.pid) for each in served]
            counted = sum((_metrics(each.port) for each in served), Counter())
    finally:
        await connection.close()
    batches = counted["avoir_batch_messages_count"]
    return Figures(
        messages=end.handled - begin.handled,
        seconds=end.at - begin.at,
        cpu_s=end.cpu_s - begin.cpu_s,
        peak_bytes=max(peaks),
        all_peak_bytes=sum(peaks),
        **used(begin.database, end.database),
        batch_messages=messages / batches,
        batch_statements=counted["avoir_statements_total"] / batches,
    )


async def _begun(served: Sequence[ServiceProcess], progress: Progress) -> None:
    """Return once each process has handled a batch: until then they share the partitions out."""
    deadline = time.monotonic() + START_S
    while not all(_handled(each) for each in served):
        _alive(served)
        if time.monotonic() > deadline:
            raise BenchmarkError(f"a process of the service handled nothing within {START_S:.0f} s")
        progress(0)
        await asyncio.sleep(POLL_S)


def _handled(each: ServiceProcess) -> int:
    try:
        return _metrics(each.port)["avoir_batch_messages_count"]
    except OSError:
        return 0


def _alive(served: Sequence[ServiceProcess]) -> None:
    for each in served:
        if not each.runs:
            raise BenchmarkError(f"the service ended with status {each.process.returncode}")


async def _until(
    served: Sequence[ServiceProcess],
    connection: "asyncpg.Connection[asyncpg.Record]",
    meter: PostgresMeter,
    within_s: float,
    messages: int,
    progress: Progress,
) -> _Moment:
    deadline = time.monotonic() + within_s
    while True:
        handled = await connection.fetchval(_HANDLED)
        if handled >= messages and (messages == 1 or await connection.fetchval(_IS_OUT)):
            cpu_s = sum(tree_cpu_s(psutil.Process(each.process.pid)) for each in served)
            return _Moment(time.monotonic(), handled, cpu_s, await meter.read())
        progress(handled)
        _alive(served)
        if time.monotonic() > deadline:
            raise BenchmarkError(f"only {handled} messages were handled within {within_s:.0f} s")
        await asyncio.sleep(POLL_S)


@asynccontextmanager
async def _serving(bed: Testbed) -> AsyncIterator[ServiceProcess]:
    environment = os.environ | {
        "AVOIR_KAFKA_BOOTSTRAP_SERVERS": bed.kafka,
        "AVOIR_POSTGRES_DSN": bed.databases["service"],
        "AVOIR_KAFKA_TOPIC_PREFIX": bed.prefix("service"),
        "AVOIR_KAFKA_GROUP_ID": GROUP + bed.run,
        "AVOIR_HTTP_HOST": "127.0.0.1",
    }
    with (
        tempfile.TemporaryDirectory(prefix="avoir-bench-") as folder,
        service_process(environment, Path(folder) / "serve.log") as service,
    ):
        try:
            yield service
        except BenchmarkError as error:
            raise BenchmarkError(f"{error}. The end of its log:\n{_tail(service.log)}") from None
        with suppress(subprocess.TimeoutExpired):
            service.stop()


def _tail(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if '"message ' not in line]
    return "\n".join(lines[-10:])


def _metrics(port: int) -> Counter[str]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    # What counts whole things is whole, and nothing else is asked for.
    return Counter({name: int(float(value)) for name, value in pairs})


async def run_program(
    module: str, bed: Testbed, runner: str, asked: dict[str, Any], progress: Progress
) -> Figures:
    """Run a program of this package as a process of its own; it prints its figures when it is done."""
    connection = await asyncpg.connect(bed.databases[runner], timeout=10, command_timeout=60)
    try:
        await connection.execute("CHECKPOINT")
        meter = await PostgresMeter.on(connection)
        before = await meter.read()
        within_s = START_S + asked["messages"] / SLOWEST_PER_S * 3
        asked |= {"kafka": bed.kafka, "dsn": bed.databases[runner], "within_s": within_s}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", module, json.dumps(asked), stdout=subprocess.PIPE
        )
        try:
            async with asyncio.timeout(within_s + 10):
                printed, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode != 0:
            raise BenchmarkError(f"{module} ended with status {process.returncode}")
        progress(asked["messages"])
        return Figures(**json.loads(printed), **used(before, await meter.read()))
    finally:
        await connection.close()
