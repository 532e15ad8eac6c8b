"""A deployment of the service: a database, a topic prefix, the command line, and the processes that serve."""

import json
import os
import signal
import subprocess
import sysconfig
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deploy.local.process import free_port

AVOIR = str(Path(sysconfig.get_path("scripts")) / "avoir")
PARTITIONS = 4
COMMAND_TIMEOUT_S = 60
LOG_TAIL_LINES = 20


@dataclass(slots=True)
class Process:
    """One `avoir serve`; its log is a file of JSON lines."""

    process: subprocess.Popen[bytes]
    log: Path

    def stop(self, within_s: float = 20) -> int:
        """End it with SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(within_s)

    def kill(self) -> None:
        """End it with SIGKILL, as a power cut would."""
        self.process.kill()
        self.process.wait(20)

    def check(self) -> None:
        """Fail when it has ended."""
        assert self.process.poll() is None, f"the service ended: {self.process.returncode}\n{self.tail()}"

    def tail(self) -> str:
        """The end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:])


@dataclass(slots=True)
class Deployment:
    """Where one service runs and how it is asked: by its command line only."""

    environment: Mapping[str, str]
    folder: Path
    processes: list[Process] = field(default_factory=list)

    def call(self, *arguments: str, code: int = 0) -> str:
        """What `avoir ...` prints; it has to end with this exit code."""
        return self._run(*arguments, code=code).stdout

    def fault(self, *arguments: str, code: int) -> str:
        """What `avoir ...` says of a fault; it has to end with this exit code."""
        return self._run(*arguments, code=code).stderr

    def _run(self, *arguments: str, code: int) -> "subprocess.CompletedProcess[str]":
        done = subprocess.run(
            [AVOIR, *arguments],
            env=dict(self.environment),
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )
        assert done.returncode == code, f"avoir {' '.join(arguments)}: {done.returncode}\n{done.stderr}"
        return done

    def ask(self, *arguments: str, code: int = 0) -> Any:
        """The document that `avoir ... --json` prints."""
        return json.loads(self.call(*arguments, "--json", code=code))

    def serve(self, **settings: str) -> Process:
        """Start one more process of the service."""
        log = self.folder / f"serve-{len(self.processes)}.log"
        port = str(free_port())
        with log.open("ab") as output:
            process = subprocess.Popen(
                [AVOIR, "serve"],
                env={**self.environment, "AVOIR_HTTP_PORT": port, **settings},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self.processes.append(Process(process, log))
        return self.processes[-1]

    def end(self) -> None:
        """End what still runs, however."""
        for process in self.processes:
            if process.process.poll() is None:
                process.kill()

    def settled(self, within_s: float = 60) -> dict[str, Any]:
        """Wait until all that was sent is handled and all that came of it is published; the last status."""
        until = time.monotonic() + within_s
        while True:
            status: dict[str, Any] = self.ask("status")
            if not status["outbox"]["waiting"] and not any(topic["lag"] for topic in status["topics"]):
                return status
            assert any(each.process.poll() is None for each in self.processes), "no service runs"
            assert time.monotonic() < until, f"not settled within {within_s} s: {status}\n{self._tails()}"

    def _tails(self) -> str:
        return "\n".join(process.tail() for process in self.processes)


def environment_for(kafka: str, dsn: str, prefix: str, cache: Path) -> dict[str, str]:
    """The environment of all programs of a deployment; compiled Python is kept even where the shell says not to."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AVOIR_")}
    if inherited.pop("PYTHONDONTWRITEBYTECODE", None):
        inherited["PYTHONPYCACHEPREFIX"] = str(cache)
    return {
        **inherited,
        "AVOIR_KAFKA_BOOTSTRAP_SERVERS": kafka,
        "AVOIR_POSTGRES_DSN": dsn,
        "AVOIR_KAFKA_TOPIC_PREFIX": prefix,
        "AVOIR_KAFKA_GROUP_ID": f"{prefix}avoir",
        "AVOIR_KAFKA_PARTITIONS": str(PARTITIONS),
        "AVOIR_KAFKA_SESSION_TIMEOUT_MS": "6000",
        "AVOIR_KAFKA_HEARTBEAT_INTERVAL_MS": "1000",
        "AVOIR_HTTP_HOST": "127.0.0.1",
    }
