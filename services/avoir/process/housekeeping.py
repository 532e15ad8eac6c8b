"""Expires overdue credit, in one process at a time, and creates the ledger's partitions ahead of time."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

import structlog

from avoir.postgres import queries
from avoir.postgres.connect import Database, KeptConnection
from avoir.postgres.lease import Lease
from avoir.record import BatchReport
from avoir.retry import Backoff, pause, refuse_wrong_schema

LEASE = "expiry"
"""Stored in `leases`, so it keeps this name although the module has another."""
_LEASE_S = 10.0
_PARTITIONS_EVERY_S = 3600.0
_PARTITIONS_AGAIN_S = 60.0

log = structlog.get_logger("avoir.expiry")


class Expirer(Protocol):
    """Expires overdue grants."""

    async def expire(self, limit: int) -> BatchReport:
        """Expire at most `limit` grants in one transaction; reports no messages if none is overdue."""
        ...


class Housekeeping:
    """Expires overdue grants and creates the ledger's partitions ahead of time; under a lease, in one process."""

    def __init__(
        self,
        database: Database,
        expirer: Expirer,
        holder: str,
        *,
        interval_s: float,
        rows: int,
        done: Callable[[BatchReport], None],
    ) -> None:
        self._kept = KeptConnection(database)
        self._expirer = expirer
        self._lease = Lease(LEASE, holder, _LEASE_S)
        self._interval_s = interval_s
        self._rows = rows
        self._done = done
        self._partitions_at = 0.0

    async def run(self, stopping: asyncio.Event) -> None:
        """Run until stopped. Raises StopServiceError for a wrong schema."""
        backoff = Backoff()
        added = False
        while not stopping.is_set():
            try:
                if not added:
                    async with self._kept.use() as connection:
                        await self._lease.add(connection)
                    added = True
                more = await self._round()
                backoff.reset()
                if not more:
                    await pause(self._interval_s, stopping)
            except Exception as error:
                refuse_wrong_schema(error)
                seconds = backoff.next_s()
                log.warning(
                    "expiry waits", error=f"{type(error).__name__}: {error}", after_s=round(seconds, 2)
                )
                await pause(seconds, stopping)
        # Another process can go on at once; if this fails, once the lease has run out.
        with suppress(Exception):
            async with self._kept.use() as connection:
                await self._lease.release(connection)
        await self._kept.close()

    def drop(self) -> None:
        """Abort the connection."""
        self._kept.drop()

    async def _round(self) -> bool:
        """Run one round, if this process has the lease; returns whether there may be more to expire."""
        async with self._kept.use() as connection:
            if not await self._lease.hold(connection):
                return False
        if time.monotonic() > self._partitions_at:
            await self._create_partitions()
        report = await self._expirer.expire(self._rows)
        if report.messages or report.alarms:
            self._done(report)
        return report.messages > 0

    async def _create_partitions(self) -> None:
        """Create the ledger's partitions; the next two months have theirs, so a failure is only reported."""
        try:
            async with self._kept.use() as connection:
                await connection.execute(*queries.ensure_partitions())
        except Exception as error:
            self._partitions_at = time.monotonic() + _PARTITIONS_AGAIN_S
            log.error(
                "the ledger's partitions of the coming months cannot be made",
                error=f"{type(error).__name__}: {error}",
                again_in_s=_PARTITIONS_AGAIN_S,
            )
            self._done(BatchReport(0, alarms={"partitions_failed": 1}))
        else:
            self._partitions_at = time.monotonic() + _PARTITIONS_EVERY_S
