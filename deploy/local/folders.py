"""Folders of the local stack: downloads (kept) and data (for one run)."""

import fcntl
import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

CHECKOUT = Path(__file__).resolve().parents[2]
PID_FILE = "pid"


def stack_folder() -> Path:
    """The folder that outlives a run: `.stack` of the checkout, or beside it where `nobody` cannot go in."""
    folder = CHECKOUT / ".stack"
    if os.geteuid() == 0 and not _open_to_all(CHECKOUT):
        checkout = hashlib.sha256(os.fsencode(CHECKOUT)).hexdigest()[:8]
        folder = Path(tempfile.gettempdir()) / f"avoir-stack-{checkout}"
    folder.mkdir(mode=0o755, exist_ok=True)
    if folder.stat().st_uid != os.geteuid():
        raise PermissionError(f"{folder} belongs to someone else: remove it")
    return folder


def _open_to_all(folder: Path) -> bool:
    return all(parent.stat().st_mode & stat.S_IXOTH for parent in (folder, *folder.parents))


@contextmanager
def cache_lock() -> Iterator[Path]:
    """Let one process at a time fill the cache; yields its folder."""
    folder = stack_folder()
    with (folder / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder


@contextmanager
def run_folder(name: str) -> Iterator[Path]:
    """A folder for the data of one run, removed at its end; first clears up after runs that were killed."""
    with cache_lock() as folder:
        runs = folder / "run"
        runs.mkdir(exist_ok=True)
        _clear_orphans(runs)
        run = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=runs))
        run.chmod(0o755)
        owner = (run / "owner").open("w")
        fcntl.flock(owner, fcntl.LOCK_EX)
    try:
        yield run
    finally:
        shutil.rmtree(run, ignore_errors=True)
        owner.close()


def _clear_orphans(runs: Path) -> None:
    """End what is left of runs whose owner has died: the kernel has released its lock."""
    for run in runs.iterdir():
        with suppress(OSError), (run / "owner").open("a") as owner:
            fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _end_orphan(run)
            shutil.rmtree(run, ignore_errors=True)


def _end_orphan(run: Path) -> None:
    with suppress(OSError, ValueError, psutil.Error):
        server = psutil.Process(int((run / PID_FILE).read_text()))
        # A process id can have been given to somebody else since.
        if any(str(run) in word for word in server.cmdline()):
            family = [server, *server.children(recursive=True)]
            for member in family:
                with suppress(psutil.NoSuchProcess):
                    member.kill()
