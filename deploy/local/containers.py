"""Kafka and Postgres in containers, if a Docker engine answers.

Imported only then. Not tested with every change: the plain processes are. Faults can't be injected here.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import docker
from testcontainers.community.kafka import KafkaContainer
from testcontainers.community.postgres import PostgresContainer

# testcontainers drives the scripts of this image; apache/kafka has none of them.
KAFKA_IMAGE = "confluentinc/cp-kafka:7.9.1"
POSTGRES_IMAGE = "postgres:18"


def engine_answers() -> bool:
    """Check for a usable Docker engine; takes 2 ms if there is none."""
    try:
        docker.from_env(timeout=2).ping()
    except docker.errors.DockerException:
        return False
    return True


@contextmanager
def kafka_container() -> Iterator[str]:
    """Run a broker without topics; yields its bootstrap servers."""
    container = KafkaContainer(KAFKA_IMAGE).with_kraft().with_env("KAFKA_AUTO_CREATE_TOPICS_ENABLE", "false")
    with container as running:
        yield str(running.get_bootstrap_server())


@contextmanager
def postgres_container(*, fsync: bool) -> Iterator[str]:
    """Run an empty Postgres; yields the address of its superuser."""
    container = PostgresContainer(POSTGRES_IMAGE, driver=None)
    if not fsync:
        container = container.with_command("postgres -c fsync=off -c full_page_writes=off")
    with container as running:
        yield str(running.get_connection_url())
