"""Requirements of publishing again: a stopped service, and the heads that readers have seen."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from avoir.cli.base.access import database_of, kafka_client, kafka_failures, names_of
from avoir.cli.base.epochs import RelayBlock, Seen, StillPublishingError, blocked_relay, read_seen
from avoir.cli.base.exits import not_found
from avoir.cli.base.output import bars
from avoir.kafka.publisher import fence, relay_transactional_id
from avoir.postgres.connect import Connection
from avoir.settings import Settings


@asynccontextmanager
async def stopped_service(settings: Settings) -> AsyncIterator[RelayBlock]:
    """Block all relays: a running one ends the command, a stalled one is fenced and publishes nothing more."""
    try:
        async with blocked_relay(database_of(settings, "avoir_service")) as block:
            async with kafka_failures(settings):
                await fence(kafka_client(settings), relay_transactional_id(settings.kafka_group_id))
            yield block
    except StillPublishingError as error:
        not_found(f"Nothing was changed: {error}.")


async def seen_by_readers(settings: Settings, connection: Connection) -> Seen:
    """The heads of all accounts on credit-balance, read with progress."""
    client, names = kafka_client(settings), names_of(settings)
    async with kafka_failures(settings):
        with bars("credit-balance") as progress:
            task = progress.add_task("credit-balance", total=None)
            return await read_seen(
                connection,
                client,
                names,
                settings.ce_source,
                lambda read, to_read: progress.update(task, completed=read, total=to_read),
            )
