"""What an error of the database or the broker means, and what to do about it: wait how long, or give up."""

import asyncio
import random
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto

import asyncpg

from avoir.record import Fenced


class Cause(Enum):
    """What may have brought an error about."""

    DATA = auto()
    """What was handled, or the code on it: the same again fails again."""
    DOUBTFUL = auto()
    """The database, or what was handled: whether the database does something else now tells them apart."""
    AWAY = auto()
    """The database or the broker, whatever is handled."""
    RACE = auto()
    """Others who were at the same rows: the same again is likely to succeed."""
    LOCKED = auto()
    """Somebody who keeps a row or a table locked."""
    SCHEMA = auto()
    """A schema or a right that does not fit this version."""


_BY_SQLSTATE = {
    "22": Cause.DATA,
    "23": Cause.DATA,
    "P0": Cause.DATA,  # raised by a trigger
    "25006": Cause.AWAY,  # read-only: a standby, or a disk that filled up
    "28": Cause.AWAY,
    "40": Cause.RACE,
    "42": Cause.SCHEMA,
    "53300": Cause.AWAY,
    "55P03": Cause.LOCKED,
    "57P03": Cause.AWAY,
    "57P04": Cause.AWAY,
}
"""Causes by SQLSTATE or its class; what is not here is doubtful: a disk that is full for one message's temporary file
alone (53100), or a block that cannot be read under one row (58030), too."""

_DOUBTFUL = (OSError, TimeoutError, MemoryError, asyncpg.InterfaceError, asyncpg.InternalClientError)


class StopServiceError(Exception):
    """The service cannot go on and must end: waiting would not help."""


def cause_of(error: BaseException) -> Cause:
    """What may have brought an error of handling messages about."""
    if isinstance(error, asyncpg.PostgresError):
        state = error.sqlstate or ""
        return _BY_SQLSTATE.get(state) or _BY_SQLSTATE.get(state[:2]) or Cause.DOUBTFUL
    if isinstance(error, Fenced):
        return Cause.RACE
    return Cause.DOUBTFUL if isinstance(error, _DOUBTFUL) else Cause.DATA


def refuse_wrong_schema(error: BaseException) -> None:
    """Raise StopServiceError if the database lacks what the code expects, or does not allow it (class 42)."""
    if cause_of(error) is Cause.SCHEMA:
        raise StopServiceError(
            f"the database and this version do not fit together (SQLSTATE {getattr(error, 'sqlstate', '')}: {error}); "
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
