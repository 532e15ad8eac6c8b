"""Checks that the database answers: a process that can't reach it for long gives up its partitions."""

import asyncio
import time

import structlog

from avoir.postgres import queries
from avoir.postgres.connect import KeptConnection
from avoir.retry import pause

_EVERY_S = 5.0
_TIMEOUT_S = 5.0

log = structlog.get_logger("avoir.presence")


class Presence:
    """`gone` is set once the database has not answered for `give_up_s`; `back` is set otherwise."""

    def __init__(self, connection: KeptConnection, give_up_s: float) -> None:
        self.gone, self.back = asyncio.Event(), asyncio.Event()
        self.back.set()
        self._kept = connection
        self._give_up_s = give_up_s
        self._answered_at = time.monotonic()

    @property
    def silent_s(self) -> float:
        """Seconds since the database last answered."""
        return time.monotonic() - self._answered_at

    async def run(self, stopping: asyncio.Event) -> None:
        """Ask every few seconds until stopped."""
        self._answered_at = time.monotonic()
        while not stopping.is_set():
            try:
                async with asyncio.timeout(_TIMEOUT_S), self._kept.use() as connection:
                    await connection.fetchval(*queries.ping())
            except Exception as error:
                self._missed(f"{type(error).__name__}: {error}")
            else:
                self._answered()
            await pause(min(_EVERY_S, self._give_up_s / 6), stopping)

    def _answered(self) -> None:
        self._answered_at = time.monotonic()
        if self.gone.is_set():
            log.info("the database answers again: back to the group")
            self.gone.clear()
            self.back.set()

    def _missed(self, error: str) -> None:
        if self.silent_s > self._give_up_s and not self.gone.is_set():
            log.error(
                "the database does not answer: this process leaves the group until it does",
                after_s=round(self.silent_s),
                error=error,
            )
            self.back.clear()
            self.gone.set()
