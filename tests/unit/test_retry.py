"""Which errors are waited out, which end the service, and how long the pauses are."""

import asyncpg
import pytest

from avoir.process.logs import RepeatLimit
from avoir.retry import Backoff, Cause, StopServiceError, cause_of, refuse_wrong_schema


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (asyncpg.ReadOnlySQLTransactionError("x"), Cause.UNAVAILABLE),
        (asyncpg.TooManyConnectionsError("x"), Cause.UNAVAILABLE),
        (asyncpg.CannotConnectNowError("x"), Cause.UNAVAILABLE),
        (asyncpg.InvalidPasswordError("x"), Cause.UNAVAILABLE),
        (asyncpg.DeadlockDetectedError("x"), Cause.RACE),
        (asyncpg.SerializationError("x"), Cause.RACE),
        (asyncpg.LockNotAvailableError("x"), Cause.LOCKED),
        (asyncpg.ConnectionDoesNotExistError("x"), Cause.DOUBTFUL),
        (asyncpg.AdminShutdownError("x"), Cause.DOUBTFUL),
        (asyncpg.QueryCanceledError("x"), Cause.DOUBTFUL),
        (asyncpg.IdleInTransactionSessionTimeoutError("x"), Cause.DOUBTFUL),
        (asyncpg.OutOfMemoryError("x"), Cause.DOUBTFUL),
        (asyncpg.DiskFullError("x"), Cause.DOUBTFUL),
        (asyncpg.PostgresIOError("x"), Cause.DOUBTFUL),
        (asyncpg.UndefinedFileError("x"), Cause.DOUBTFUL),
        (asyncpg.ProgramLimitExceededError("x"), Cause.DOUBTFUL),
        (asyncpg.InternalServerError("x"), Cause.DOUBTFUL),
        (asyncpg.InterfaceError("x"), Cause.DOUBTFUL),
        (asyncpg.InternalClientError("x"), Cause.DOUBTFUL),
        (ConnectionRefusedError(), Cause.DOUBTFUL),
        (TimeoutError(), Cause.DOUBTFUL),
        (MemoryError(), Cause.DOUBTFUL),
        (asyncpg.UniqueViolationError("x"), Cause.DATA),
        (asyncpg.DataError("x"), Cause.DATA),
        (asyncpg.RaiseError("x"), Cause.DATA),
        (KeyError("x"), Cause.DATA),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value.name,
)
def test_what_an_error_means(error: Exception, cause: Cause) -> None:
    assert cause_of(error) is cause
    refuse_wrong_schema(error)


@pytest.mark.parametrize(
    "error",
    [
        asyncpg.UndefinedTableError("x"),
        asyncpg.InsufficientPrivilegeError("x"),
        asyncpg.PostgresSyntaxError("x"),
    ],
)
def test_a_schema_that_does_not_fit_ends_the_service(error: Exception) -> None:
    with pytest.raises(StopServiceError, match="avoir migrate"):
        refuse_wrong_schema(error)


def test_pauses_grow_to_a_limit_and_begin_anew() -> None:
    backoff = Backoff(0.1, 5.0)
    pauses = [backoff.next_s() for _ in range(100)]
    assert 0.05 <= pauses[0] <= 0.1
    assert all(0.05 <= pause <= 5.0 for pause in pauses)
    assert all(pause >= 2.5 for pause in pauses[10:])
    backoff.reset()
    assert backoff.next_s() <= 0.1


def test_a_library_that_floods_is_let_speak_once_in_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    import logging

    now = 1000.0
    monkeypatch.setattr("avoir.process.logs.time.monotonic", lambda: now)
    limit = RepeatLimit(("aiokafka",))

    def passes(name: str, line: int) -> bool:
        return limit.filter(logging.LogRecord(name, logging.ERROR, "file.py", line, "text", None, None))

    assert [passes("aiokafka.producer", 1) for _ in range(1000)] == [True] + [False] * 999
    assert passes("aiokafka.producer", 2)
    assert all(passes("avoir.loop", 1) for _ in range(10))
    now += 11
    record = logging.LogRecord("aiokafka.producer", logging.ERROR, "file.py", 1, "text", None, None)
    assert limit.filter(record)
    assert record.held_back == 999  # type: ignore[attr-defined]
