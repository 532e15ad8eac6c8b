"""A Kafka broker as a process, without a container."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.local.folders import cache_lock, run_folder
from deploy.local.java import Java, archive_options, archive_path, fetch_jars, find_java, java_command
from deploy.local.process import Server, StackError, free_port, port_open

CLUSTER_ID = "YXZvaXItbG9jYWwtc3RhYw"
ADVICE = (
    "A broken cache can be the cause: make clean, then again. "
    "AVOIR_TEST_KAFKA=host:port uses a broker that runs."
)
SETTINGS = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller_port}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{advertised_port}
log.dirs={data}
auto.create.topics.enable=false
num.partitions=4
default.replication.factor=1
offsets.topic.num.partitions=4
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
log.cleaner.dedupe.buffer.size=4194304
# After a kill -9 the new process waits until the session of the old one has ended.
broker.session.timeout.ms=1000
broker.heartbeat.interval.ms=200
"""


@dataclass(frozen=True, slots=True)
class Kafka:
    """A broker, its address and the folder of its logs."""

    bootstrap_servers: str
    server: Server
    logs: Path


@dataclass(frozen=True, slots=True)
class _Installation:
    java: Java
    jars: Path
    storage: Path  # formatted, never used: it is copied for each run


@contextmanager
def launched_kafka(*, port: int | None = None, advertised_port: int | None = None) -> Iterator[Kafka]:
    """Launch a broker without topics (`server.wait_ready()` waits for it); end it afterwards.

    With `advertised_port` it sends its clients there: to a proxy before it.
    """
    installation = prepare_kafka()
    archive = archive_path(installation.jars, installation.java)
    options = archive_options(installation.java, archive, record=False) if archive.exists() else ()
    with _launched(installation, options, port, advertised_port=advertised_port) as kafka:
        yield kafka


def prepare_kafka() -> _Installation:
    """Fetch the jars, format the storage and archive the classes, as far as that is not done yet."""
    java = find_java()
    with cache_lock() as cache:
        jars = fetch_jars(cache, java)
        installation = _Installation(java, jars, _formatted_storage(java, jars))
    archive = archive_path(jars, java)
    if not archive.exists():
        _record_archive(installation, archive)
    return installation


def _formatted_storage(java: Java, jars: Path) -> Path:
    storage = jars.with_name(f"{jars.name}-storage")
    if storage.exists():
        return storage
    partial = storage.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    settings = jars.with_name("format.properties")
    settings.write_text(SETTINGS.format(port=1, advertised_port=1, controller_port=2, data=partial))
    command = java_command(java, jars)
    command += ["kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", str(settings)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode != 0:
        raise StackError(f"Kafka's storage could not be formatted:\n{done.stdout}{done.stderr}\n{ADVICE}")
    settings.unlink()
    partial.rename(storage)
    return storage


def _record_archive(installation: _Installation, archive: Path) -> None:
    """Run the broker once so that Java keeps the classes it loads: every later start takes half as long."""
    with _launched(installation, (), None, archive=archive) as kafka:
        kafka.server.wait_ready()
        kafka.server.stop()
        recorded = kafka.server.folder / "archive"
        if recorded.exists():  # a Java that cannot make one is only slower
            partial = archive.with_name(f"{archive.name}-{os.getpid()}")
            shutil.copyfile(recorded, partial)
            partial.rename(archive)


@contextmanager
def _launched(
    installation: _Installation,
    options: Sequence[str],
    port: int | None,
    *,
    archive: Path | None = None,
    advertised_port: int | None = None,
) -> Iterator[Kafka]:
    with run_folder("kafka") as run:
        if archive is not None:
            options = archive_options(installation.java, run / "archive", record=True)
        data = run / "data"
        shutil.copytree(installation.storage, data)
        port = free_port(port)
        settings = run / "server.properties"
        settings.write_text(
            SETTINGS.format(
                port=port, advertised_port=advertised_port or port, controller_port=free_port(), data=data
            )
        )
        server = Server(
            name="kafka",
            command=[
                *java_command(installation.java, installation.jars, *options),
                "kafka.Kafka",
                str(settings),
            ],
            folder=run,
            ready=lambda _pid: port_open(port),
            stop_signal=signal.SIGTERM,
            advice=ADVICE,
            stop_timeout_seconds=60 if archive is not None else 15,
        )
        try:
            server.launch()
            yield Kafka(f"127.0.0.1:{port}", server, data)
        finally:
            server.stop()
