"""A server as a process of this machine: start, wait, stop, and every way to kill it that tests need."""

import os
import pwd
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from deploy.local.folders import PID_FILE

POLL_SECONDS = 0.01
LOG_TAIL_LINES = 30


class StackError(RuntimeError):
    """Something of the local stack could not be started; the message says what to do."""


@dataclass(slots=True)
class Server:
    """One server process, its log file and how to tell that it answers."""

    name: str
    command: Sequence[str]
    folder: Path
    ready: Callable[[int], bool]  # given the process id
    stop_signal: signal.Signals
    advice: str  # what to do when it does not start
    user: str | None = None
    environment: dict[str, str] = field(default_factory=dict)
    start_timeout_seconds: float = 60
    stop_timeout_seconds: float = 15
    _process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        """File that gets its output."""
        return self.folder / f"{self.name}.log"

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        if self._process is None:
            raise RuntimeError(f"{self.name} is not running")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Check whether the process is alive (a paused one is)."""
        return self._process is not None and self._process.poll() is None

    def launch(self) -> None:
        """Start the process in a group of its own, without waiting for it."""
        if self.running:
            raise RuntimeError(f"{self.name} is running already")
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command,
                cwd="/",
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                user=self.user,
                group=pwd.getpwnam(self.user).pw_gid if self.user else None,
                extra_groups=[] if self.user else None,
            )
        (self.folder / PID_FILE).write_text(str(self.pid))

    def wait_ready(self) -> None:
        """Return as soon as the server answers; raise StackError with the end of its log if it never does."""
        until = time.monotonic() + self.start_timeout_seconds
        while not self.ready(self.pid):
            if not self.running:
                raise self._failure(f"ended with status {self._process and self._process.returncode}")
            if time.monotonic() > until:
                raise self._failure(f"did not answer within {self.start_timeout_seconds:.0f} s")
            time.sleep(POLL_SECONDS)

    def start(self) -> None:
        """Launch it and wait until it answers."""
        self.launch()
        self.wait_ready()

    def stop(self) -> None:
        """End it in its own clean way, or by force when that takes too long."""
        if self._process is None:
            return
        family = self._family()
        with suppress(ProcessLookupError):
            self._signal(family, signal.SIGCONT)
            self._process.send_signal(self.stop_signal)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(self.stop_timeout_seconds)
        self._end_by_force(family)

    def kill(self) -> None:
        """Kill it and its children at once, like a power cut."""
        self._end_by_force(self._family())

    def pause(self) -> None:
        """Stop it with SIGSTOP, children too: it holds its connections and does nothing."""
        self._signal(self._family(), signal.SIGSTOP)

    def resume(self) -> None:
        """Wake it after `pause`."""
        self._signal(self._family(), signal.SIGCONT)

    def restart(self) -> None:
        """Stop it if it runs, and start it on the same data and port."""
        self.stop()
        self.start()

    def _family(self) -> list[psutil.Process]:
        """The server, then its children: a parent that died first starts nothing in their place."""
        with suppress(psutil.NoSuchProcess):
            if self.running:
                server = psutil.Process(self.pid)
                return [server, *server.children(recursive=True)]
        return []

    @staticmethod
    def _signal(family: list[psutil.Process], number: signal.Signals) -> None:
        for member in family:
            with suppress(psutil.NoSuchProcess):
                member.send_signal(number)

    def _end_by_force(self, family: list[psutil.Process]) -> None:
        self._signal(family, signal.SIGKILL)
        if self._process is not None:
            self._process.wait(10)
            self._process = None
        if not all_ended(family, timeout_seconds=10):
            raise StackError(f"{self.name}: some of {[member.pid for member in family]} do not end")

    def _failure(self, what: str) -> StackError:
        lines = self.log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:]
        tail = "\n".join(f"  | {line}" for line in lines) or "  | (nothing)"
        return StackError(f"{self.name} {what}. The end of its log:\n{tail}\n{self.advice}")


def all_ended(processes: Sequence[psutil.Process], *, timeout_seconds: float) -> bool:
    """Wait until none of them runs: a zombie orphan counts as ended."""
    until = time.monotonic() + timeout_seconds
    while any(_runs(process) for process in processes):
        if time.monotonic() > until:
            return False
        time.sleep(POLL_SECONDS)
    return True


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def free_port(preferred: int | None = None) -> int:
    """A free port below those the kernel gives to outgoing connections."""
    candidates = [preferred] if preferred else []
    candidates += random.sample(range(20_000, 32_000), 50)
    for port in candidates:
        with suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port
    raise StackError("no free port between 20000 and 32000 on 127.0.0.1")


def port_open(port: int, host: str = "127.0.0.1", timeout_seconds: float = 1) -> bool:
    """Check whether a server accepts connections there."""
    with suppress(OSError), socket.create_connection((host, port), timeout=timeout_seconds):
        return True
    return False
