"""Proves that grants have the terms that they were given with: whose, why, in what order, from when, until when."""

from collections.abc import AsyncIterator

from avoir.postgres import queries
from avoir.postgres.connect import Connection
from avoir.read.differences import Difference, Progress


async def verify_terms(
    connection: Connection, tenant_id: str, _progress: Progress
) -> AsyncIterator[Difference]:
    """Grants whose terms are not those of the command or the line that they come from."""
    async for row in connection.cursor(queries.verify_terms, tenant_id):
        where = f"grant {row['grant_id']}"
        yield Difference(tenant_id, where, row["part"], row["expected"], row["found"])
