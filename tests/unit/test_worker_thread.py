"""Work in a thread beside the event loop: work that takes too long is interrupted."""

import asyncio
import threading

import pytest

from avoir.postgres import worker_thread as module
from avoir.postgres.worker_thread import OverdueError, run_in_thread


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_CPU_S", 0.2)
    monkeypatch.setattr(module, "_KEEP_ALIVE_S", 0.05)


async def keep_alive() -> None:
    pass


def spin() -> None:
    while True:
        pass


async def test_work_gives_its_result_and_the_transaction_is_kept_awake_meanwhile() -> None:
    done, awakened = threading.Event(), 0

    async def keep_alive() -> None:
        nonlocal awakened
        awakened += 1
        done.set()

    assert await run_in_thread(lambda: done.wait(30), keep_alive)
    assert awakened >= 1


async def test_what_takes_too_much_processor_time_is_interrupted() -> None:
    with pytest.raises(OverdueError, match="processor time"):
        await run_in_thread(spin, keep_alive)


async def test_only_the_part_in_hand_is_interrupted_where_the_work_goes_on() -> None:
    def work() -> list[str]:
        done = ["first"]
        try:
            spin()
        except OverdueError:
            done.append("parked")
        return [*done, "last"]

    assert await run_in_thread(work, keep_alive) == ["first", "parked", "last"]


async def test_work_that_waits_is_not_overdue() -> None:
    waiting = threading.Event()
    asyncio.get_running_loop().call_later(1, waiting.set)
    assert await run_in_thread(lambda: waiting.wait(30), keep_alive)


async def test_work_that_nobody_waits_for_any_more_is_interrupted() -> None:
    begun, ended = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        try:
            spin()
        finally:
            ended.set()

    task = asyncio.create_task(run_in_thread(work, keep_alive))
    assert await asyncio.to_thread(begun.wait, 30)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert await asyncio.to_thread(ended.wait, 30)
