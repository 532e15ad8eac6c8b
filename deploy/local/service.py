"""The service on a stack: migrated database, made topics, and `avoir serve` as a process of this machine."""

import asyncio
import os
import signal
import sys
import sysconfig
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from deploy.local.folders import run_folder
from deploy.local.process import Server, StackError, free_port
from deploy.local.stack import Stack

ADVICE = "The output above should give the reason; avoir --help lists the commands to try by hand."


@dataclass(frozen=True, slots=True)
class Running:
    """A service that is ready: its HTTP address, and the settings that lead the command line to the same place."""

    address: str
    environment: Mapping[str, str]
    log: Path


@contextmanager
def running_service(
    stack: Stack, *, http_port: int | None = None, more: Mapping[str, str] | None = None
) -> Iterator[Running]:
    """Migrate the database, create the topics, start the service, wait until it is ready, and stop it afterwards.

    `more` are further settings; the port is a preference. Raises StackError with the failing command's output.
    """
    environment = {
        "AVOIR_KAFKA_BOOTSTRAP_SERVERS": stack.kafka.address,
        "AVOIR_POSTGRES_DSN": stack.postgres.address,
        **(more or {}),
    }
    port = free_port(http_port)
    address = f"http://127.0.0.1:{port}"
    with run_folder("service") as run:
        server = Server(
            name="avoir",
            command=[sys.executable, str(_program(run)), "serve"],
            folder=run,
            ready=lambda _pid: _is_ready(address),
            stop_signal=signal.SIGTERM,
            advice=ADVICE,
            environment=environment | {"AVOIR_HTTP_HOST": "127.0.0.1", "AVOIR_HTTP_PORT": str(port)},
        )
        try:
            # It waits by itself for the schema and the topics, so that nothing waits for its imports.
            server.launch()
            _prepare(environment)
            server.wait_ready()
            yield Running(address, environment, server.log)
        finally:
            server.stop()


def avoir() -> str:
    """The installed command line."""
    return str(Path(sysconfig.get_path("scripts")) / "avoir")


def _program(run: Path) -> Path:
    """The command line under a path of this run, by which a later run finds it should this one be killed."""
    program = run / "avoir"
    program.symlink_to(avoir())
    return program


def _prepare(environment: Mapping[str, str]) -> None:
    """Do the same as `avoir migrate` and `avoir topics create`, without starting two more interpreters."""
    import asyncpg
    from aiokafka.errors import KafkaError

    from avoir.kafka.client import client_of
    from avoir.kafka.topics import TopicNames, create_topics
    from avoir.postgres.migrate import migrate
    from avoir.settings import Settings

    with _environment(environment):
        settings = Settings()
    names = TopicNames(settings.kafka_topic_prefix, settings.kafka_topics)

    async def both() -> list[str]:
        _, made = await asyncio.gather(
            migrate(settings.postgres_dsn.get_secret_value()),
            create_topics(client_of(settings), names, settings.kafka_partitions, settings.kafka_replication),
        )
        return made.faults

    try:
        faults = asyncio.run(both())
    except (asyncpg.PostgresError, KafkaError, OSError) as error:
        raise StackError(
            f"Database and topics could not be brought up to date: {type(error).__name__}: {error}"
        ) from error
    if faults:
        raise StackError(f"{len(faults)} topics could not be made, such as {faults[0]}")


@contextmanager
def _environment(more: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(more)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _is_ready(address: str) -> bool:
    with (
        suppress(OSError, urllib.error.URLError),
        urllib.request.urlopen(f"{address}/readyz", timeout=3) as answer,
    ):
        return int(answer.status) == 200
    return False
