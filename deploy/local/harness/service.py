"""The service as a process of its own, to ask over HTTP, to stop and to kill, and its command line."""

import asyncio
import json
import os
import signal
import subprocess
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from avoir.settings import Settings
from deploy.local.folders import CHECKOUT
from deploy.local.harness.commands import run_command
from deploy.local.harness.waiting import until
from deploy.local.process import free_port

AVOIR = str(Path(sysconfig.get_path("scripts")) / "avoir")
SERVE = (AVOIR, "serve")
LOG_TAIL_LINES = 20
STOP_S = 20


def settings_for(kafka: str, dsn: str, prefix: str, **others: object) -> Settings:
    """Settings with short timeouts, for topics and a group of a run's own."""
    values: dict[str, object] = {
        "kafka_bootstrap_servers": kafka,
        "postgres_dsn": dsn,
        "kafka_topic_prefix": prefix,
        "kafka_group_id": prefix + "group",
        "kafka_session_timeout_ms": 6_000,
        "kafka_heartbeat_interval_ms": 1_000,
        "relay_lease_s": 1.0,
        "http_port": 0,
        "http_host": "127.0.0.1",
    }
    return Settings(**{**values, **others})  # type: ignore[arg-type]


def environment_of(settings: Settings) -> dict[str, str]:
    """The settings that were given, in the environment of this process."""
    values = settings.model_dump(exclude_unset=True)
    values["postgres_dsn"] = settings.postgres_dsn.get_secret_value()
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("AVOIR_")},
        **{f"AVOIR_{name.upper()}": str(value) for name, value in values.items()},
    }


class ServiceProcess:
    """A started service; its log is a file of JSON lines."""

    def __init__(self, environment: Mapping[str, str], log: Path, command: Sequence[str] = SERVE) -> None:
        """Start it, with an HTTP port that is free."""
        self.port = free_port()
        self.log = log
        self._environment = {**environment, "AVOIR_HTTP_PORT": str(self.port)}
        self._command = command
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(
                self._command,
                env=self._environment,
                cwd=CHECKOUT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    @property
    def runs(self) -> bool:
        """Check whether it is still running."""
        return self.process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def stop(self, within_s: float = STOP_S) -> int:
        """End it with SIGTERM; the exit status."""
        self.signal(signal.SIGTERM)
        return self.process.wait(within_s)

    def kill(self) -> None:
        """End it with SIGKILL, as a power cut would."""
        self.process.kill()
        self.process.wait(STOP_S)

    def restart(self) -> None:
        """Start it again after it ended."""
        self.process = self._start()

    def check(self) -> None:
        """Raise AssertionError if it has ended."""
        assert self.runs, f"the service ended: {self.process.returncode}\n{self.tail()}"

    async def ended(self, within_s: float = 10) -> int:
        """Wait for its end; the exit status."""
        await until(lambda: not self.runs, within_s, f"the service ended\n{self.tail()}")
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
        """Wait until /readyz says yes; the seconds it took."""

        async def yes() -> bool:
            self.check()
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
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:])


@contextmanager
def service_process(
    environment: Mapping[str, str], log: Path, command: Sequence[str] = SERVE
) -> Iterator[ServiceProcess]:
    """A service process, ended afterwards however it is."""
    service = ServiceProcess(environment, log, command)
    try:
        yield service
    finally:
        if service.runs:
            service.signal(signal.SIGCONT)
            service.kill()


async def avoir(settings: Settings, *arguments: str, code: int = 0) -> str:
    """Run a command as an operator does, and return its output; it must end with this exit code."""
    done = await asyncio.to_thread(run_command, environment_of(settings), *arguments)
    assert done.code == code, done.out + done.err
    return done.out
