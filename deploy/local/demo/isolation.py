"""The demo on servers that the environment names: apart from what they hold, and removed afterwards."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from secrets import token_hex

import asyncpg

from deploy.local.harness.databases import dsn_of, execute
from deploy.local.harness.topics import delete_topics_with
from deploy.local.process import StackError
from deploy.local.stack import Stack


@contextmanager
def own_place(stack: Stack) -> Iterator[tuple[Stack, Mapping[str, str]]]:
    """The stack with a database, topics and a group of the demo's own where its servers outlive the demo."""
    mark = f"avoir-demo-{token_hex(4)}"
    settings: dict[str, str] = {}
    dsn = stack.postgres.address
    if stack.kafka.origin == "given":
        settings = {"AVOIR_KAFKA_TOPIC_PREFIX": f"{mark}-", "AVOIR_KAFKA_GROUP_ID": mark}
    if stack.postgres.origin == "given":
        _execute(dsn, f'CREATE DATABASE "{mark}"')
        moved = dsn_of(dsn, mark)
        stack = replace(stack, postgres=replace(stack.postgres, address=moved))
    try:
        yield stack, settings
    finally:
        if stack.postgres.origin == "given":
            _execute(dsn, f'DROP DATABASE "{mark}" WITH (FORCE)')
        if stack.kafka.origin == "given":
            asyncio.run(delete_topics_with(stack.kafka.address, f"{mark}-"))


def _execute(dsn: str, statement: str) -> None:
    try:
        asyncio.run(execute(dsn, statement))
    except (asyncpg.PostgresError, OSError) as error:
        raise StackError(
            f"{statement} on the Postgres that the environment names: {type(error).__name__}: {error}"
        ) from error
