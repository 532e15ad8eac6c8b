"""The service as a process of its own, to ask over HTTP, to stop and to kill."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from avoir.settings import Settings
from deploy.local.process import free_port
from tests.integration.stage import until

ROOT = Path(__file__).resolve().parents[2]


class ServiceProcess:
    """A started service; its log is a file of JSON lines."""

    def __init__(self, settings: Settings, log: Path, arguments: tuple[str, ...]) -> None:
        self.port = free_port()
        self.log = log
        self._environment = {**_environment(settings), "AVOIR_HTTP_PORT": str(self.port)}
        self._arguments = arguments
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, *self._arguments],
                env=self._environment,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def kill(self) -> None:
        """End it as a power cut would."""
        self.process.kill()
        self.process.wait(10)

    def restart(self) -> None:
        """Start it again after it ended."""
        self.process = self._start()

    async def ended(self, within_s: float = 10) -> int:
        """Wait for its end and return the exit status."""
        await until(lambda: self.process.poll() is not None, within_s, f"the service ended\n{self.tail()}")
        assert self.process.returncode is not None
        return self.process.returncode

    async def get(self, path: str) -> httpx.Response | None:
        """An answer over HTTP, if there is one."""
        try:
            async with httpx.AsyncClient(timeout=3) as client:
                return await client.get(f"http://127.0.0.1:{self.port}{path}")
        except httpx.HTTPError:
            return None

    async def ready(self, within_s: float = 60) -> float:
        """Wait until /readyz says yes."""

        async def yes() -> bool:
            assert self.process.poll() is None, self.tail()
            answer = await self.get("/readyz")
            return answer is not None and answer.status_code == 200

        try:
            return await until(yes, within_s, "the service is ready")
        except AssertionError as error:
            answer = await self.get("/readyz")
            raise AssertionError(f"{error}: {answer and answer.text}\n{self.tail()}") from None

    def lines(self) -> list[dict[str, Any]]:
        """The log so far."""
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    def tail(self) -> str:
        """The end of the log, for messages."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-20:])


@contextmanager
def service_process(
    settings: Settings, log: Path, arguments: tuple[str, ...] = ("-m", "tests.integration.tally")
) -> Iterator[ServiceProcess]:
    """A service process, ended afterwards however it is."""
    service = ServiceProcess(settings, log, arguments)
    try:
        yield service
    finally:
        if service.process.poll() is None:
            service.signal(signal.SIGCONT)
            service.kill()


async def avoir(settings: Settings, *arguments: str, code: int = 0) -> str:
    """What a command prints, run as an operator runs it; it has to end with this exit code."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "avoir",
        *arguments,
        env=_environment(settings),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        out, err = await process.communicate()
    assert process.returncode == code, (out + err).decode()
    return out.decode()


def _environment(settings: Settings) -> dict[str, str]:
    """The settings, in the environment of this process."""
    values = settings.model_dump(exclude_unset=True)
    values["postgres_dsn"] = settings.postgres_dsn.get_secret_value()
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("AVOIR_")},
        **{f"AVOIR_{name.upper()}": str(value) for name, value in values.items()},
    }
