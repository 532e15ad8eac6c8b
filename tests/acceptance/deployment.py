"""A deployment of the service: a database, a topic prefix, the command line, and the processes that serve."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deploy.local.harness.commands import Done, run_command
from deploy.local.harness.service import ServiceProcess

PARTITIONS = 4
POLL_S = 0.05


@dataclass(slots=True)
class Deployment:
    """Where one service runs and how it is asked: by its command line only."""

    environment: Mapping[str, str]
    folder: Path
    processes: list[ServiceProcess] = field(default_factory=list)

    def call(self, *arguments: str, code: int = 0) -> str:
        """What `avoir ...` prints; it has to end with this exit code."""
        return self._run(*arguments, code=code).out

    def fault(self, *arguments: str, code: int) -> str:
        """What `avoir ...` says of a fault; it has to end with this exit code."""
        return self._run(*arguments, code=code).err

    def _run(self, *arguments: str, code: int) -> Done:
        done = run_command(self.environment, *arguments)
        assert done.code == code, f"avoir {' '.join(arguments)}: {done.code}\n{done.err}"
        return done

    def ask(self, *arguments: str, code: int = 0) -> Any:
        """The document that `avoir ... --json` prints."""
        return json.loads(self.call(*arguments, "--json", code=code))

    def serve(self, **settings: str) -> ServiceProcess:
        """Start one more process of the service."""
        log = self.folder / f"serve-{len(self.processes)}.log"
        self.processes.append(ServiceProcess({**self.environment, **settings}, log))
        return self.processes[-1]

    def end(self) -> None:
        """End what still runs, however."""
        for process in self.processes:
            if process.runs:
                process.kill()

    def settled(self, within_s: float = 60) -> dict[str, Any]:
        """Wait until all that was sent is handled and all that came of it is published; the last status."""
        until = time.monotonic() + within_s
        while True:
            status: dict[str, Any] = self.ask("status")
            if not status["outbox"]["waiting"] and not any(topic["lag"] for topic in status["topics"]):
                return status
            assert any(each.runs for each in self.processes), "no service runs"
            assert time.monotonic() < until, f"not settled within {within_s} s: {status}\n{self._tails()}"
            time.sleep(POLL_S)

    def _tails(self) -> str:
        return "\n".join(process.tail() for process in self.processes)
