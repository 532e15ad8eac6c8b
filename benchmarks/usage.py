"""What a run costs: processor time of process trees, peak memory, and the write-ahead log."""

from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import asyncpg
import psutil


@dataclass(frozen=True, slots=True)
class Figures:
    """What one runner did after its first batch or message; what could not be measured is None."""

    messages: int
    seconds: float
    cpu_s: float
    peak_bytes: int
    all_peak_bytes: int | None = None
    postgres_cpu_s: float | None = None
    wal_bytes: int | None = None
    batch_messages: float = 1.0
    batch_statements: float = 0.0
    events_out: float = 0.0

    @property
    def per_second(self) -> float:
        """Messages handled per second."""
        return self.messages / self.seconds

    def as_json(self) -> dict[str, Any]:
        """The figures, with those per message that are compared."""
        return asdict(self) | {
            "messages_per_second": self.per_second,
            "cpu_us_per_message": self.cpu_s / self.messages * 1e6,
            "postgres_cpu_us_per_message": (
                None if self.postgres_cpu_s is None else self.postgres_cpu_s / self.messages * 1e6
            ),
            "wal_bytes_per_message": None if self.wal_bytes is None else self.wal_bytes / self.messages,
        }


@dataclass(frozen=True, slots=True)
class Reading:
    """How much of the database's processor and log had been used at a moment."""

    postgres_cpu_s: float | None
    wal_bytes: int


class PostgresMeter:
    """Reads what the whole server has used, its processes that have ended included."""

    def __init__(
        self, connection: "asyncpg.Connection[asyncpg.Record]", server: psutil.Process | None
    ) -> None:
        self._connection = connection
        self._server = server

    @classmethod
    async def on(cls, connection: "asyncpg.Connection[asyncpg.Record]") -> "PostgresMeter":
        """A meter on the server behind a connection; its processor time only where it runs on this machine."""
        server = None
        with suppress(psutil.Error):
            backend = psutil.Process(await connection.fetchval("SELECT pg_backend_pid()"))
            parent = backend.parent()
            if parent is not None and "postgres" in parent.name():
                server = parent
        return cls(connection, server)

    async def read(self) -> Reading:
        """What was used up to now."""
        used = await self._connection.fetchval("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint")
        return Reading(None if self._server is None else tree_cpu_s(self._server), used)


def used(before: Reading, after: Reading) -> dict[str, Any]:
    """What was used between two readings, as fields of Figures."""
    cpu = (
        None
        if before.postgres_cpu_s is None or after.postgres_cpu_s is None
        else after.postgres_cpu_s - before.postgres_cpu_s
    )
    return {"postgres_cpu_s": cpu, "wal_bytes": after.wal_bytes - before.wal_bytes}


def tree_cpu_s(process: psutil.Process) -> float:
    """User and system time of a process, its children, and those of them that have ended."""
    times = process.cpu_times()
    total = times.user + times.system + times.children_user + times.children_system
    for child in process.children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            its = child.cpu_times()
            total += its.user + its.system + its.children_user + its.children_system
    return float(total)


def peak_bytes(pid: int) -> int:
    """The most memory that a process has had resident; where the kernel does not keep it, what it has now."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return int(psutil.Process(pid).memory_info().rss)
