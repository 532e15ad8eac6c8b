"""The local stack does what the other tests rely on: it answers, it can be broken, and it leaves nothing."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import asyncpg
import psutil
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from deploy.local.folders import CHECKOUT, run_folder
from deploy.local.kafka import Kafka
from deploy.local.postgres import Postgres
from deploy.local.process import Server, StackError


async def test_a_message_goes_through_kafka(kafka: str, topic_prefix: str) -> None:
    topic = f"{topic_prefix}stack"
    await make_topic(kafka, topic)
    await produce(kafka, topic, b"one")
    assert await consume(kafka, topic, 1) == [b"one"]


async def test_a_missing_topic_is_not_made_by_a_producer(kafka: str, topic_prefix: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    try:
        [described] = await admin.describe_topics([f"{topic_prefix}missing"])
        assert described["error_code"] == 3
        assert f"{topic_prefix}missing" not in await admin.list_topics()
    finally:
        await admin.close()


async def test_postgres_answers(postgres: str) -> None:
    assert await select(postgres, "SELECT 1") == 1


async def test_each_test_has_a_migrated_database_of_its_own(database: str) -> None:
    assert await select(database, "SELECT count(*) > 0 FROM avoir.migrations") is True


async def test_kafka_keeps_its_messages_over_a_kill(own_kafka: Kafka) -> None:
    address = own_kafka.bootstrap_servers
    await make_topic(address, "kept")
    await produce(address, "kept", b"before")
    own_kafka.server.kill()
    own_kafka.server.start()
    await produce(address, "kept", b"after")
    assert await consume(address, "kept", 2) == [b"before", b"after"]


async def test_postgres_keeps_what_was_committed_over_a_kill(own_postgres: Postgres) -> None:
    connection = await asyncpg.connect(own_postgres.dsn)
    await connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    own_postgres.server.kill()
    own_postgres.server.start()
    assert await select(own_postgres.dsn, "SELECT answer FROM kept") == 42
    connection.terminate()


async def test_a_paused_postgres_answers_when_it_is_resumed(own_postgres: Postgres) -> None:
    connection = await asyncpg.connect(own_postgres.dsn)
    own_postgres.server.pause()
    with pytest.raises(TimeoutError):
        await connection.fetchval("SELECT 1", timeout=0.2)
    own_postgres.server.resume()
    await connection.close()
    assert await select(own_postgres.dsn, "SELECT 1") == 1


def test_a_paused_kafka_can_be_restarted(own_kafka: Kafka) -> None:
    own_kafka.server.pause()
    own_kafka.server.restart()
    assert own_kafka.server.running


def test_a_failed_start_shows_the_end_of_the_log_and_advice(own_postgres: Postgres) -> None:
    own_postgres.server.stop()
    own_postgres.server.command = [*own_postgres.server.command, "-c", "max_connections=many"]
    with pytest.raises(StackError, match=r'(?s)"max_connections".*Another server can be used'):
        own_postgres.server.start()


def test_sigterm_ends_what_was_started() -> None:
    """A run that is asked to end takes its servers and their data with it."""
    program = (
        "import time\n"
        "from deploy.local.stack import running_postgres\n"
        "from deploy.local.postgres import launched_postgres\n"
        "with running_postgres(), launched_postgres(fsync=False) as p:\n"
        "    print(p.server.pid, p.server.folder, flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=CHECKOUT,
        env={**os.environ, "AVOIR_STACK": "processes"},
        stdout=subprocess.PIPE,
        text=True,
    ) as run:
        assert run.stdout is not None
        pid, folder = run.stdout.readline().split(maxsplit=1)
        run.terminate()
    assert run.wait(20) == 128 + signal.SIGTERM
    assert not psutil.pid_exists(int(pid))
    assert not Path(folder.strip()).exists()


def test_the_next_run_clears_up_after_one_that_was_killed() -> None:
    program = (
        "import os, signal\n"
        "from deploy.local.postgres import launched_postgres\n"
        "with launched_postgres(fsync=False) as p:\n"
        "    p.server.wait_ready()\n"
        "    print(p.server.pid, p.server.folder, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run(
        [sys.executable, "-c", program], cwd=CHECKOUT, capture_output=True, text=True, timeout=60, check=False
    )
    pid, folder = killed.stdout.split(maxsplit=1)
    assert killed.returncode == -signal.SIGKILL
    with run_folder("next"):
        assert not _alive(int(pid))
        assert not Path(folder.strip()).exists()


def test_servers_run_in_a_group_of_their_own(own_postgres: Postgres) -> None:
    """So that Ctrl-C in a terminal reaches the program that ends them, and not them."""
    server: Server = own_postgres.server
    assert os.getpgid(server.pid) == server.pid != os.getpgid(0)


def _alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


async def make_topic(bootstrap_servers: str, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, num_partitions=1, replication_factor=1)])
    finally:
        await admin.close()


async def produce(bootstrap_servers: str, topic: str, value: bytes) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap_servers, acks="all")
    await producer.start()
    try:
        await producer.send_and_wait(topic, value)
    finally:
        await producer.stop()


async def consume(bootstrap_servers: str, topic: str, count: int) -> list[bytes | None]:
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=bootstrap_servers, group_id=f"{topic}-group", auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        return [(await consumer.getone()).value for _ in range(count)]
    finally:
        await consumer.stop()


async def select(dsn: str, statement: str) -> object:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()
