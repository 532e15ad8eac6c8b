"""What to do about an error of the database or the broker: wait how long, or give up."""

import asyncio
import random
from contextlib import suppress
from dataclasses import dataclass

import asyncpg

_AWAY = (OSError, TimeoutError, asyncpg.InterfaceError, asyncpg.InternalClientError)
_RESOURCES = ("08", "25", "40", "53", "55", "57", "58")
_SCHEMA = "42"


class StopServiceError(Exception):
    """The service cannot go on and must end: waiting would not help."""


def is_transient(error: BaseException) -> bool:
    """Whether the database was away or busy, so that the same again is likely to succeed."""
    if isinstance(error, asyncpg.PostgresError):
        return (error.sqlstate or "")[:2] in _RESOURCES
    return isinstance(error, _AWAY)


def refuse_wrong_schema(error: BaseException) -> None:
    """Raise StopServiceError if the database lacks what the code expects, or does not allow it (class 42)."""
    if isinstance(error, asyncpg.PostgresError) and (error.sqlstate or "").startswith(_SCHEMA):
        raise StopServiceError(
            f"the database and this version do not fit together (SQLSTATE {error.sqlstate}: {error}); "
            "run `avoir migrate`, and check the rights of the role avoir_service"
        ) from error


@dataclass(slots=True)
class Backoff:
    """Growing pauses with jitter, between `first_s` and `longest_s`."""

    first_s: float = 0.1
    longest_s: float = 5.0
    failures: int = 0

    def next_s(self) -> float:
        """The pause after one more failure."""
        ceiling = min(self.longest_s, self.first_s * float(1 << min(self.failures, 16)))
        self.failures += 1
        return ceiling * random.uniform(0.5, 1.0)

    def reset(self) -> None:
        """Begin again with the shortest pause."""
        self.failures = 0


async def pause(seconds: float, stopping: asyncio.Event) -> None:
    """Wait, but no longer than until the service stops."""
    with suppress(TimeoutError):
        await asyncio.wait_for(stopping.wait(), seconds)
