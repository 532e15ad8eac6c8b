"""The stack that stays: `up` leaves a keeper process behind which holds it until `down`."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from deploy.local.folders import CHECKOUT, stack_folder
from deploy.local.process import POLL_SECONDS, StackError, all_ended
from deploy.local.service import running_service
from deploy.local.stack import prepare, running_stack

KAFKA_PORT = 19092
POSTGRES_PORT = 15432
HTTP_PORT = 18080
START_TIMEOUT_SECONDS = 120
STOP_TIMEOUT_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Up:
    """A running stack: the keeper's process id, the settings to reach it, the service's address and its log."""

    keeper_pid: int
    environment: Mapping[str, str]
    service: str
    log: str


def _state_file() -> Path:
    return stack_folder() / "up.json"


def _log_file() -> Path:
    return stack_folder() / "up.log"


def current() -> Up | None:
    """Return what `up` left running, if it still runs."""
    try:
        state = Up(**json.loads(_state_file().read_text()))
        if "deploy.local" in psutil.Process(state.keeper_pid).cmdline():
            return state
    except (FileNotFoundError, TypeError, psutil.Error):
        pass  # nothing was left running, or by an earlier version
    return None


def up(*, fsync: bool) -> Up:
    """Start a keeper and wait until all answers; if one runs already, say where."""
    running = current()
    if running is not None:
        return running
    prepare(kafka=os.environ.get("AVOIR_KAFKA_BOOTSTRAP_SERVERS"))
    _state_file().unlink(missing_ok=True)
    with _log_file().open("wb") as log:
        keeper = subprocess.Popen(
            [sys.executable, "-m", "deploy.local", "keep", "--fsync" if fsync else "--no-fsync"],
            cwd=CHECKOUT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    until = time.monotonic() + START_TIMEOUT_SECONDS
    while (running := current()) is None:
        if keeper.poll() is not None or time.monotonic() > until:
            keeper.terminate()
            keeper.wait(STOP_TIMEOUT_SECONDS)
            raise StackError(_log_file().read_text(errors="replace").strip())
        time.sleep(POLL_SECONDS)
    return running


def down() -> Up | None:
    """End the keeper and all it holds; says what it was, None if there was none."""
    running = current()
    if running is None:
        return None
    with suppress(psutil.NoSuchProcess):
        keeper = psutil.Process(running.keeper_pid)
        keeper.terminate()
        if not all_ended([keeper], timeout_seconds=STOP_TIMEOUT_SECONDS):
            keeper.kill()
            raise StackError("the stack did not stop in time: the next start cleans it up")
    return running


def keep(*, fsync: bool) -> None:
    """Hold the stack until SIGTERM; runs in the process that `up` leaves behind."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    given = os.environ
    with (
        running_stack(
            kafka=given.get("AVOIR_KAFKA_BOOTSTRAP_SERVERS"),
            postgres=given.get("AVOIR_POSTGRES_DSN"),
            fsync=fsync,
            kafka_port=KAFKA_PORT,
            postgres_port=POSTGRES_PORT,
        ) as stack,
        running_service(stack, http_port=HTTP_PORT) as service,
    ):
        state = _state_file()
        partial = state.with_suffix(".partial")
        partial.write_text(
            json.dumps(asdict(Up(os.getpid(), service.environment, service.address, str(service.log))))
        )
        partial.rename(state)
        try:
            stop.wait()
        finally:
            state.unlink(missing_ok=True)
