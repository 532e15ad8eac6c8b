"""Runs work in a thread beside the event loop, and interrupts it if it takes too much processor time."""

import asyncio
import ctypes
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

MAX_CPU_S = 20.0
"""Maximum processor time of one piece of work: well below the time after which the watchdog ends the process."""

# Well below `idle_in_transaction_session_timeout`, after which Postgres ends the waiting transaction.
_KEEP_ALIVE_S = 2.0

T = TypeVar("T")


class OverdueError(Exception):
    """Raised inside work that took too much processor time."""

    def __str__(self) -> str:
        return f"it took more than {MAX_CPU_S:.0f} s of processor time"


async def run_in_thread(work: Callable[[], T], keep_alive: Callable[[], Awaitable[object]]) -> T:
    """Run work in a thread and return its result; `keep_alive` is awaited every 2 s meanwhile.

    Raises OverdueError inside the work once it has used MAX_CPU_S, and again after as much: the work may count that as
    a failure of the current message and go on. Processor time counts, not the clock: a stopped machine makes nothing
    overdue. Abandoned work is interrupted too.
    """
    running = _Interruptible(work)
    working = asyncio.ensure_future(asyncio.to_thread(running.run))
    # If `keep_alive` fails, nobody awaits the work any more: its error must not be reported as never retrieved.
    working.add_done_callback(lambda done: done.cancelled() or done.exception())
    begun_s = time.process_time()
    try:
        while not (await asyncio.wait({working}, timeout=_KEEP_ALIVE_S))[0]:
            if time.process_time() > begun_s + MAX_CPU_S:
                running.interrupt()
                begun_s = time.process_time()
            await keep_alive()
    finally:
        if not working.done():
            running.interrupt()
    return working.result()


class _Interruptible(Generic[T]):
    """Work that another thread can interrupt while it runs, but not before or after."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self._lock = threading.Lock()
        self._thread_id: int | None = None

    def run(self) -> T:
        with self._lock:
            self._thread_id = threading.get_ident()
        try:
            return self._work()
        finally:
            with self._lock:
                self._thread_id = None

    def interrupt(self) -> None:
        """Raise OverdueError in the work's thread, at its next step in Python."""
        # Under the lock: once the work has ended, its thread may already run something else.
        with self._lock:
            if self._thread_id is not None:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(
                    ctypes.c_ulong(self._thread_id), ctypes.py_object(OverdueError)
                )
