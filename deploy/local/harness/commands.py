"""Commands of `avoir`, each in a process of its own that has imported it already: a fork, instead of a start."""

import multiprocessing
import os
import pkgutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import avoir.cli

TIMEOUT_S = 60

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    [__name__, *(found.name for found in pkgutil.walk_packages(avoir.cli.__path__, "avoir.cli."))]
)


class Done(NamedTuple):
    """Result of a command: its exit code (None if it crashed) and output."""

    code: int | None
    out: str
    err: str


def run_command(environment: Mapping[str, str], *arguments: str, timeout_s: float = TIMEOUT_S) -> Done:
    """Run `avoir ARGUMENTS` with this environment alone. Raises TimeoutError if it does not end in time."""
    with tempfile.TemporaryDirectory(prefix="avoir-command-") as folder:
        out, err, code = (Path(folder, name) for name in ("out", "err", "code"))
        process = _FORKS.Process(target=_run, args=(dict(environment), arguments, out, err, code))
        process.start()
        process.join(timeout_s)
        if process.is_alive():
            process.kill()
            process.join()
            raise TimeoutError(f"avoir {' '.join(arguments)} did not end in {timeout_s} s: {err.read_text()}")
        # Not `process.exitcode`: another thread that starts a process may have read it first, and then it is 255.
        return Done(int(code.read_text()) if code.exists() else None, out.read_text(), err.read_text())


def _run(environment: dict[str, str], arguments: Sequence[str], out: Path, err: Path, code: Path) -> None:
    from avoir.cli.app import run

    os.environ.clear()
    os.environ.update(environment)
    for number, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
    code.write_text(str(run(arguments)))
