"""Slow and many HTTP clients: probes are answered, messages handled, connections and descriptors bounded."""

import asyncio
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import httpx
import pytest

from avoir.process.http_limits import LIFETIME_S, MAX_CONNECTIONS, Shared
from avoir.settings import Settings
from deploy.local.harness.records import produce
from deploy.local.harness.service import ServiceProcess, settings_for
from deploy.local.harness.topics import make_all_topics
from deploy.local.harness.waiting import until
from tests.integration.counting_handler import counting_process

SLOW = (
    b"GET /livez HTTP/1.1\r\nHost: a\r\nX-Never: ",
    b"POST /livez HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n",
    b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n" * 100,
    b"",
)
"""Headers without an end, a body that is never sent, answers that are never read, and nothing at all."""
CLIENTS = 600
SLACK = 20


@pytest.fixture
def settings(kafka: str, database: str, topic_prefix: str) -> Settings:
    return settings_for(kafka, database, topic_prefix)


@contextmanager
def slow_clients(port: int, count: int) -> Iterator[list[socket.socket]]:
    """So many open connections that go nowhere, of each kind in turn."""
    with ExitStack() as opened:
        found = []
        for n in range(count):
            client = opened.enter_context(socket.create_connection(("127.0.0.1", port), timeout=30))
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2_048)
            try:
                client.sendall(SLOW[n % len(SLOW)])
            except ConnectionError:
                continue
            found.append(client)
        yield found


def descriptors(service: ServiceProcess) -> int:
    """How many files and sockets the process has open."""
    return len(os.listdir(f"/proc/{service.process.pid}/fd"))


def is_over(client: socket.socket) -> bool:
    """Whether the other side has ended a connection; what it had sent is read on the way."""
    client.setblocking(False)
    try:
        while client.recv(65_536):
            pass
    except BlockingIOError:
        return False
    except ConnectionError:
        pass
    return True


async def counted(service: ServiceProcess, messages: int) -> bool:
    answer = await service.get("/metrics")
    return answer is not None and f'outcome="issued",topic="tally"}} {messages}.0' in answer.text


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts the descriptors as Linux shows them")
async def test_slow_clients_exhaust_nothing_and_are_gone_after_a_while(
    settings: Settings, tmp_path: Path
) -> None:
    names = await make_all_topics(settings, partitions=1)
    fact = names.actual("booking-cancelled")
    with counting_process(settings, tmp_path / "log") as service:
        await service.ready()
        before = descriptors(service)
        with slow_clients(service.port, CLIENTS) as clients:
            for number in range(1, 4):
                await produce(settings.kafka_bootstrap_servers, [(fact, b"k", b"%d" % number)])
                await until(partial(counted, service, number), 60, "handled meanwhile")
                assert descriptors(service) <= before + MAX_CONNECTIONS + SLACK
            for path in ("/livez", "/readyz"):
                answer = await service.get(path)
                assert answer is not None
                assert answer.status_code == 200
            await until(lambda: all(map(is_over, clients)), 6 * LIFETIME_S, "they are all ended")
        await until(lambda: descriptors(service) <= before + SLACK, 60, "nothing is left of them")
        with slow_clients(service.port, MAX_CONNECTIONS):
            service.signal(signal.SIGTERM)
            assert await service.ended(40) == 0


async def test_many_who_ask_at_once_are_all_answered(settings: Settings, tmp_path: Path) -> None:
    await make_all_topics(settings, partitions=1)
    with counting_process(settings, tmp_path / "log") as service:
        await service.ready()
        paths = ("/livez", "/readyz", "/metrics") * (MAX_CONNECTIONS // 4)
        async with httpx.AsyncClient(timeout=30) as client:
            asked = (client.get(f"http://127.0.0.1:{service.port}{path}") for path in paths)
            answers = await asyncio.gather(*asked)
        assert [answer.status_code for answer in answers] == [200] * len(paths)
        assert {answer.headers["connection"] for answer in answers} == {"close"}


class Making:
    """Makes numbers, each when it is let."""

    def __init__(self) -> None:
        self.made = 0
        self.let = asyncio.Event()

    async def __call__(self) -> int:
        self.made += 1
        await self.let.wait()
        return self.made


async def test_an_answer_is_made_once_for_all_who_ask_meanwhile_and_holds_for_a_moment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    making = Making()
    shared = Shared(making)
    asking = [asyncio.create_task(shared.get()) for _ in range(100)]
    await asyncio.sleep(0)
    asking[0].cancel()
    making.let.set()
    assert await asyncio.gather(*asking[1:]) == [1] * 99
    assert await shared.get() == 1
    monkeypatch.setattr(shared, "_fresh_until", 0.0)
    assert await shared.get() == 2


async def test_who_asks_after_a_failure_is_answered_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([OSError("away")])

    async def make() -> str:
        error = next(answers, None)
        if error is not None:
            raise error
        return "here"

    shared = Shared(make)
    with pytest.raises(OSError, match="away"):
        await shared.get()
    monkeypatch.setattr(shared, "_fresh_until", 0.0)
    assert await shared.get() == "here"
