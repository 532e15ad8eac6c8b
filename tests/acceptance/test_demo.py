"""The demo as a user runs it, on servers that are given: all comes out as expected, and nothing stays behind."""

import asyncio
import os
import subprocess
import sys

import asyncpg
from aiokafka.admin import AIOKafkaAdminClient

from avoir.wire.topics import BALANCE, COMMANDS, EVENTS, FACTS
from deploy.local.demo import customer, facts
from deploy.local.folders import CHECKOUT

LEFT_OUT = {
    BALANCE,
    "credit-shortfall",
    "reinstate-credit",
    "payment-reversed",
    "credit-application-rejected",
}


def test_the_scenario_has_all_but_what_goes_wrong() -> None:
    steps = [*facts.facts(), *customer.customer()]
    sent = {message.topic for step in steps for message in step.messages}
    out = {topic for step in steps for message in step.messages for topic, _ in message.out}
    by_time = {topic for step in steps for topic, _ in step.by_time}
    assert sent | out | by_time == {*FACTS, *COMMANDS, *EVENTS} - LEFT_OUT


def test_only_facts_are_sent_in_another_order() -> None:
    messages = facts.in_another_order(facts.facts())
    assert {each.topic for each in messages} <= set(FACTS)
    assert len(messages) == sum(len(step.messages) for step in facts.facts())


def test_the_demo_comes_out_and_leaves_nothing_behind(kafka: str, postgres: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "deploy.local.demo"],
        cwd=CHECKOUT,
        env={**os.environ, "AVOIR_KAFKA_BOOTSTRAP_SERVERS": kafka, "AVOIR_POSTGRES_DSN": postgres},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "The same in both orders." in done.stdout
    assert "no differences" in done.stdout
    assert f"$ avoir statement {customer.WHO}" in done.stdout
    assert "NOT AS EXPECTED" not in done.stdout
    assert not asyncio.run(left_behind(kafka, postgres))


async def left_behind(kafka: str, postgres: str) -> list[str]:
    """Topics and databases of a demo."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    topics = await admin.list_topics()
    await admin.close()
    connection = await asyncpg.connect(postgres, timeout=10)
    databases = [row["datname"] for row in await connection.fetch("SELECT datname FROM pg_database")]
    await connection.close()
    return [name for name in (*topics, *databases) if name.startswith("avoir-demo-")]
