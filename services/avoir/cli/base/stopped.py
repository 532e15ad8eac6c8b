"""What publishing again needs: a service that is stopped, and what readers have seen."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from avoir.cli.base.access import database_of, kafka_client, kafka_failures, names_of
from avoir.cli.base.epochs import Quiet, Seen, StillPublishingError, quiet, read_seen
from avoir.cli.base.exits import not_found
from avoir.cli.base.output import bars
from avoir.kafka.publisher import fence, relay_transactional_id
from avoir.postgres.connect import Connection
from avoir.settings import Settings


@asynccontextmanager
async def stopped_service(settings: Settings) -> AsyncIterator[Quiet]:
    """Nothing publishes within it: a relay that runs ends the command, one that stood still publishes nothing more."""
    try:
        async with quiet(database_of(settings, "avoir_service")) as pause:
            async with kafka_failures(settings):
                await fence(kafka_client(settings), relay_transactional_id(settings.kafka_group_id))
            yield pause
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
