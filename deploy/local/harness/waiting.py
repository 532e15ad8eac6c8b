"""Waiting for conditions, with a limit."""

import asyncio
import time
from collections.abc import Awaitable, Callable

POLL_S = 0.01


class NotInTime(AssertionError, TimeoutError):
    """A condition did not hold in time: a test fails by it, and a program can say so."""


async def until(
    condition: Callable[[], Awaitable[bool] | bool], within_s: float = 10, what: str = ""
) -> float:
    """Wait until the condition holds, and return the seconds it took. Raises NotInTime if it does not in time."""
    begun = time.monotonic()
    while True:
        answer = condition()
        if answer if isinstance(answer, bool) else await answer:
            return time.monotonic() - begun
        if time.monotonic() > begun + within_s:
            raise NotInTime(f"not within {within_s} s: {what or condition}")
        await asyncio.sleep(POLL_S)
