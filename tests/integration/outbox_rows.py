"""Rows of the outbox, as tests of the relay write and count them."""

from collections.abc import Sequence

from avoir.postgres.headers import packed
from deploy.local.harness.databases import connection_to


async def add_outbox(
    dsn: str, rows: Sequence[tuple[str, bytes | None, bytes]], headers: dict[str, bytes] | None = None
) -> None:
    """Write outbox rows of (topic, key, value) in one transaction."""
    async with connection_to(dsn) as connection:
        await connection.execute(
            "INSERT INTO outbox (tenant_id, topic, key, value, headers, recorded_at)"
            " SELECT 't1', v.topic, v.key, v.value, $4, clock_timestamp()"
            " FROM unnest($1::text[], $2::bytea[], $3::bytea[]) WITH ORDINALITY AS v (topic, key, value, n) ORDER BY n",
            [row[0] for row in rows],
            [row[1] for row in rows],
            [row[2] for row in rows],
            packed((headers or {}).items()),
        )


async def outbox_count(dsn: str) -> int:
    """How many rows wait to be published."""
    async with connection_to(dsn) as connection:
        count: int = await connection.fetchval("SELECT count(*) FROM outbox WHERE refused IS NULL")
        return count
