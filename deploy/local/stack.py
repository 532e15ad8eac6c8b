"""Finds Kafka and Postgres: given servers, otherwise containers, otherwise plain processes."""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Literal
from urllib.parse import urlsplit

from deploy.local.kafka import launched_kafka, prepare_kafka
from deploy.local.postgres import BIN_VARIABLE, launched_postgres
from deploy.local.process import StackError, port_open

KIND_VARIABLE = "AVOIR_STACK"  # "processes" leaves a Docker engine aside
GIVEN_TIMEOUT_SECONDS = 5
Origin = Literal["given", "container", "process"]


@dataclass(frozen=True, slots=True)
class Place:
    """Address of a server, and how it runs."""

    address: str
    origin: Origin
    wait_ready: Callable[[], None] = lambda: None


@dataclass(frozen=True, slots=True)
class Stack:
    """Kafka (bootstrap servers) and Postgres (DSN of a user who may create databases and roles)."""

    kafka: Place
    postgres: Place


def prepare(kafka: str | None = None) -> None:
    """Do now what only the first start has to do, a download above all."""
    if not kafka and not _docker_wanted():
        prepare_kafka()


@contextmanager
def running_stack(
    *,
    kafka: str | None = None,
    postgres: str | None = None,
    fsync: bool = False,
    kafka_port: int | None = None,
    postgres_port: int | None = None,
) -> Iterator[Stack]:
    """Start what is not given, both at the same time, and end it afterwards; the ports are wishes."""
    with (
        ended_by_sigterm(),
        _kafka(kafka, kafka_port) as broker,
        _postgres(postgres, fsync=fsync, port=postgres_port) as database,
    ):
        broker.wait_ready()
        database.wait_ready()
        yield Stack(broker, database)


@contextmanager
def running_kafka(given: str | None = None) -> Iterator[Place]:
    """The broker that is given, or one that runs as long as this context."""
    with ended_by_sigterm(), _kafka(given, None) as broker:
        broker.wait_ready()
        yield broker


@contextmanager
def running_postgres(given: str | None = None, *, fsync: bool = False) -> Iterator[Place]:
    """The Postgres that is given, or one that runs as long as this context."""
    with ended_by_sigterm(), _postgres(given, fsync=fsync, port=None) as database:
        database.wait_ready()
        yield database


@contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM end the program the way Ctrl-C does, so that what it started is ended too."""
    in_main_thread = threading.current_thread() is threading.main_thread()
    if not in_main_thread or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, _exit)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _exit(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


@contextmanager
def _kafka(given: str | None, port: int | None) -> Iterator[Place]:
    with ExitStack() as ends:
        if given:
            _answers("Kafka", given.split(","), default_port=9092)
            yield Place(given, "given")
        elif _docker_wanted():
            from deploy.local.containers import kafka_container

            yield Place(ends.enter_context(kafka_container()), "container")
        else:
            broker = ends.enter_context(launched_kafka(port=port))
            yield Place(broker.bootstrap_servers, "process", broker.server.wait_ready)


@contextmanager
def _postgres(given: str | None, *, fsync: bool, port: int | None) -> Iterator[Place]:
    with ExitStack() as ends:
        if given:
            _answers("Postgres", urlsplit(given).netloc.rpartition("@")[2].split(","), default_port=5432)
            yield Place(given, "given")
        elif _docker_wanted() and not os.environ.get(BIN_VARIABLE):
            from deploy.local.containers import postgres_container

            yield Place(ends.enter_context(postgres_container(fsync=fsync)), "container")
        else:
            database = ends.enter_context(launched_postgres(fsync=fsync, port=port))
            yield Place(database.dsn, "process", database.server.wait_ready)


def _answers(what: str, addresses: Sequence[str], default_port: int) -> None:
    """Raise StackError where no server answers at any of the addresses that the environment names."""
    for address in filter(None, addresses):
        parts = urlsplit(f"//{address}")
        if port_open(parts.port or default_port, parts.hostname or "127.0.0.1", GIVEN_TIMEOUT_SECONDS):
            return
    if any(addresses):
        raise StackError(
            f"Nothing answers at {', '.join(addresses)}, which the environment names for {what}: "
            "start it, or unset that variable and the local stack starts one."
        )


@cache
def _docker_wanted() -> bool:
    wish = os.environ.get(KIND_VARIABLE)
    if wish not in {None, "", "processes"}:
        raise StackError(f'{KIND_VARIABLE} is {wish!r}: it can only be "processes"')
    # Without a socket there is no engine, and the import of its client costs half a second.
    if wish or not (os.environ.get("DOCKER_HOST") or Path("/var/run/docker.sock").exists()):
        return False
    from deploy.local.containers import engine_answers

    return engine_answers()
