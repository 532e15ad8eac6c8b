"""The demo as a user runs it, on servers that are named: the story comes out as told, and nothing stays behind."""

import asyncio
import os
import subprocess
import sys

import asyncpg
from aiokafka.admin import AIOKafkaAdminClient

from deploy.local.folders import CHECKOUT


def test_the_demo_tells_its_story_and_leaves_nothing_behind(kafka: str, postgres: str) -> None:
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
