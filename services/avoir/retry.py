"""Classifies errors of the database and the broker, and computes how long to wait before a retry."""

import asyncio
import random
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto

import asyncpg

from avoir.record import Fenced


class Cause(Enum):
    """Possible causes of an error."""

    DATA = auto()
    """The messages or the code: a retry fails again."""
    DOUBTFUL = auto()
    """The database or the messages: a probe of the database shows which."""
    UNAVAILABLE = auto()
    """The database or the broker, whatever the messages."""
    RACE = auto()
    """Other processes that used the same rows: a retry is likely to succeed."""
    LOCKED = auto()
    """Another session that keeps a row or table locked."""
    SCHEMA = auto()
    """A schema or a right that does not match this version."""


_BY_SQLSTATE = {
    "22": Cause.DATA,
    "23": Cause.DATA,
    "P0": Cause.DATA,  # raised by a trigger
    "25006": Cause.UNAVAILABLE,  # read-only: a standby, or a disk that filled up
    "28": Cause.UNAVAILABLE,
    "40": Cause.RACE,
    "42": Cause.SCHEMA,
    "53300": Cause.UNAVAILABLE,
    "55P03": Cause.LOCKED,
    "57P03": Cause.UNAVAILABLE,
    "57P04": Cause.UNAVAILABLE,
}
"""Causes by SQLSTATE or its class; others are doubtful.

So are a disk that is full for one message's temporary file alone (53100), and a block that can't be read under one row
(58030).
"""

# The batch may have caused these, too: one that is too large runs into timeouts, or out of memory.
_DOUBTFUL = (OSError, TimeoutError, MemoryError, asyncpg.InterfaceError, asyncpg.InternalClientError)


class StopServiceError(Exception):
    """The service can't go on and must end: waiting would not help."""


def cause_of(error: BaseException) -> Cause:
    """The possible cause of an error in handling messages."""
    if isinstance(error, asyncpg.PostgresError):
        state = error.sqlstate or ""
        return _BY_SQLSTATE.get(state) or _BY_SQLSTATE.get(state[:2]) or Cause.DOUBTFUL
    if isinstance(error, Fenced):
        return Cause.RACE
    return Cause.DOUBTFUL if isinstance(error, _DOUBTFUL) else Cause.DATA


def only_others_can_end(error: BaseException) -> bool:
    """Check for an error that lasts until somebody else ends it: a lock, a full disk, an unreachable database."""
    cause = cause_of(error)
    # If the database took other rows, a doubtful error would be Doubted by now: the search for its message goes on.
    is_refused = cause is Cause.DOUBTFUL and isinstance(error, asyncpg.PostgresError)
    return is_refused or cause in (Cause.LOCKED, Cause.UNAVAILABLE)


def refuse_wrong_schema(error: BaseException) -> None:
    """Raise StopServiceError if the database lacks what the code expects, or denies it (class 42)."""
    if cause_of(error) is Cause.SCHEMA:
        raise StopServiceError(
            f"this version and the database schema do not match (SQLSTATE {getattr(error, 'sqlstate', '')}: {error}): "
            "run `avoir migrate`, and check the rights of the role avoir_service"
        ) from error


@dataclass(slots=True)
class Backoff:
    """Growing pauses with jitter: from about `first_s` to `longest_s`, in seconds."""

    first_s: float = 0.1
    longest_s: float = 5.0
    failures: int = 0

    def next_s(self) -> float:
        """The pause in seconds after one more failure."""
        # Bounded before the shift: a long outage must not overflow a float.
        ceiling = min(self.longest_s, self.first_s * float(1 << min(self.failures, 16)))
        self.failures += 1
        # Jitter keeps processes that failed together from coming back together.
        return ceiling * random.uniform(0.5, 1.0)

    def reset(self) -> None:
        """Reset to the shortest pause."""
        self.failures = 0


async def pause(seconds: float, stopping: asyncio.Event) -> None:
    """Wait for some seconds, or until the service stops."""
    with suppress(TimeoutError):
        await asyncio.wait_for(stopping.wait(), seconds)
