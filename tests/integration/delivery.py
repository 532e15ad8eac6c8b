"""A handler on a test's database, with its consumer's positions in place."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pydantic import SecretStr

from avoir.batch.batch import Rules
from avoir.batch.handle import Handler
from avoir.postgres import queries
from avoir.postgres.connect import Database, KeptConnection
from avoir.record import TopicPartition
from avoir.wire.topics import SUBSCRIBED
from tests.integration.records import Deliverer

GROUP = "g"


@asynccontextmanager
async def delivering(
    dsn: str, rules: Rules | None = None, partition: int = 0
) -> AsyncIterator[tuple[Deliverer, KeptConnection]]:
    """What delivers to a handler of its own, from a partition of its own in every topic; and its connection."""
    connection = KeptConnection(Database(SecretStr(dsn)))
    offsets = {TopicPartition(topic, partition): 0 for topic in SUBSCRIBED}
    async with connection.use() as conn:
        await conn.execute(
            *queries.add_positions(
                group_id=GROUP, partitions=list(offsets), next_offsets=list(offsets.values())
            )
        )
    try:
        yield Deliverer(Handler(connection, rules or Rules(GROUP)), offsets, partition), connection
    finally:
        await connection.close()
