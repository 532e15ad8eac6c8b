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
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg
import psutil

from benchmarks.stage import Stage
from benchmarks.usage import Figures, PostgresMeter, Reading, peak_bytes, tree_cpu_s, used
from deploy.local.process import free_port

POLL_S = 0.05
STOP_S = 20.0
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


class _Served(NamedTuple):
    """One of the processes, and where it tells its metrics."""

    process: subprocess.Popen[bytes]
    port: int


async def run_service(stage: Stage, messages: int, processes: int, progress: Progress) -> Figures:
    """Run the service until all messages are handled and published; figures from when each process had a batch on."""
    connection = await asyncpg.connect(
        stage.databases["service"],
        timeout=10,
        command_timeout=60,
        server_settings={"enable_seqscan": "off"},
    )
    try:
        await connection.execute("CHECKPOINT")
        meter = await PostgresMeter.on(connection)
        async with AsyncExitStack() as stack:
            served = [await stack.enter_async_context(_serving(stage)) for _ in range(processes)]
            await _begun(served, progress)
            begin = await _until(served, connection, meter, START_S, 1, progress)
            within_s = START_S + messages / SLOWEST_PER_S
            end = await _until(served, connection, meter, within_s, messages, progress)
            peaks = [peak_bytes(process.pid) for process, _ in served]
            counted = sum((_metrics(port) for _, port in served), Counter())
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


async def _begun(served: Sequence[_Served], progress: Progress) -> None:
    """Return once each process has handled a batch: until then they share the partitions out."""
    deadline = time.monotonic() + START_S
    while not all(_handled(each) for each in served):
        _alive(served)
        if time.monotonic() > deadline:
            raise BenchmarkError(f"a process of the service handled nothing within {START_S:.0f} s")
        progress(0)
        await asyncio.sleep(POLL_S)


def _handled(each: _Served) -> int:
    try:
        return _metrics(each.port)["avoir_batch_messages_count"]
    except OSError:
        return 0


def _alive(served: Sequence[_Served]) -> None:
    for process, _ in served:
        if process.poll() is not None:
            raise BenchmarkError(f"the service ended with status {process.returncode}")


async def _until(
    served: Sequence[_Served],
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
            cpu_s = sum(tree_cpu_s(psutil.Process(process.pid)) for process, _ in served)
            return _Moment(time.monotonic(), handled, cpu_s, await meter.read())
        progress(handled)
        _alive(served)
        if time.monotonic() > deadline:
            raise BenchmarkError(f"only {handled} messages were handled within {within_s:.0f} s")
        await asyncio.sleep(POLL_S)


@asynccontextmanager
async def _serving(stage: Stage) -> AsyncIterator[_Served]:
    port = free_port()
    environment = os.environ | {
        "AVOIR_KAFKA_BOOTSTRAP_SERVERS": stage.kafka,
        "AVOIR_POSTGRES_DSN": stage.databases["service"],
        "AVOIR_KAFKA_TOPIC_PREFIX": stage.prefix("service"),
        "AVOIR_KAFKA_GROUP_ID": GROUP + stage.run,
        "AVOIR_HTTP_HOST": "127.0.0.1",
        "AVOIR_HTTP_PORT": str(port),
    }
    with tempfile.TemporaryDirectory(prefix="avoir-bench-") as folder:
        log_path = Path(folder) / "serve.log"
        with log_path.open("wb") as log:
            process = subprocess.Popen(  # noqa: ASYNC220 - it starts once, before anything is measured
                [sys.executable, "-m", "avoir", "serve"],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            yield _Served(process, port)
        except BenchmarkError as error:
            raise BenchmarkError(f"{error}. The end of its log:\n{_tail(log_path)}") from None
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(STOP_S)


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
    module: str, stage: Stage, runner: str, asked: dict[str, Any], progress: Progress
) -> Figures:
    """Run a program of this package as a process of its own; it prints its figures when it is done."""
    connection = await asyncpg.connect(stage.databases[runner], timeout=10, command_timeout=60)
    try:
        await connection.execute("CHECKPOINT")
        meter = await PostgresMeter.on(connection)
        before = await meter.read()
        within_s = START_S + asked["messages"] / SLOWEST_PER_S * 3
        asked |= {"kafka": stage.kafka, "dsn": stage.databases[runner], "within_s": within_s}
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
