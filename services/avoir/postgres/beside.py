"""Runs work in a thread beside the event loop, and interrupts what takes too much processor time."""

import asyncio
import ctypes
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

MOST_CPU_S = 20.0
"""The most processor time of one piece of work: well below the time after which the watchdog ends the process."""

_AWAKE_S = 2.0

T = TypeVar("T")


class OverdueError(Exception):
    """Raised inside work that took too much processor time."""

    def __str__(self) -> str:
        return f"it took more than {MOST_CPU_S:.0f} s of processor time"


async def beside(work: Callable[[], T], awake: Callable[[], Awaitable[object]]) -> T:
    """Run work in a thread and return its result; `awake` is awaited every 2 s meanwhile.

    OverdueError is raised at whatever the work is doing once it has used MOST_CPU_S, and again after as much: the work
    may take that for the fault of the message in hand and go on. Processor time counts, not the clock: a machine that
    stood still makes nothing overdue. Work that nobody waits for any more is interrupted too.
    """
    running = _Interruptible(work)
    working = asyncio.ensure_future(asyncio.to_thread(running.run))
    # Where the connection is lost meanwhile nobody waits for it any more, nor for what it raises.
    working.add_done_callback(lambda done: done.cancelled() or done.exception())
    begun_s = time.process_time()
    try:
        while not (await asyncio.wait({working}, timeout=_AWAKE_S))[0]:
            if time.process_time() > begun_s + MOST_CPU_S:
                running.interrupt()
                begun_s = time.process_time()
            await awake()
    finally:
        if not working.done():
            running.interrupt()
    return working.result()


class _Interruptible(Generic[T]):
    """Work that can be interrupted from another thread while it runs, and not before or after."""

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
        with self._lock:
            if self._thread_id is not None:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(
                    ctypes.c_ulong(self._thread_id), ctypes.py_object(OverdueError)
                )
