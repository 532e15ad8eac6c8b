"""Dumps the schema that the migrations create, as SQL for people: the same text from Postgres 15 to 18."""

import asyncio
import os
import sys

import asyncpg

from avoir.postgres import queries
from avoir.postgres.connect import Connection

_HEAD = "-- The schema that the migrations create: python -m avoir.postgres.schema > schemas/sql/schema.sql\n"


async def dump(connection: Connection) -> str:
    """Every table, index, trigger, grant and function of the schema, in a fixed order."""
    parts = [_HEAD]
    async with connection.transaction(readonly=True):
        # With an empty search path, Postgres writes every table's name with its schema.
        await connection.execute("SET LOCAL search_path = ''")
        for table in await connection.fetch(*queries.schema_tables()):
            parts.append(await _table(connection, table))
        for function in await connection.fetch(*queries.schema_functions()):
            callers = f"-- May be called by: {function['callers'] or 'its owner'}\n"
            parts.append(callers + function["line"].rstrip() + ";\n")
    return "\n".join(parts)


async def _table(connection: Connection, table: asyncpg.Record) -> str:
    async def lines(query: queries.Statement) -> list[str]:
        return [row["line"] for row in await connection.fetch(*query(table=table["oid"]))]

    if table["parent"]:
        text = f"CREATE TABLE avoir.{table['name']} PARTITION OF avoir.{table['parent']} {table['bound']};\n"
    else:
        body = await lines(queries.schema_columns) + await lines(queries.schema_constraints)
        text = f"CREATE TABLE avoir.{table['name']} (\n    " + ",\n    ".join(body) + "\n)"
        text += f" PARTITION BY {table['partition_key']}" if table["partition_key"] else ""
        text += f" WITH ({table['storage']})" if table["storage"] else ""
        text += ";\n"
    for query in (queries.schema_indexes, queries.schema_triggers, queries.schema_grants):
        text += "".join(f"{line};\n" for line in await lines(query))
    return text


async def _print_schema() -> None:
    connection = await asyncpg.connect(os.environ["AVOIR_POSTGRES_DSN"], timeout=10, command_timeout=30)
    try:
        sys.stdout.write(await dump(connection))
    finally:
        await connection.close(timeout=10)


if __name__ == "__main__":
    asyncio.run(_print_schema())
