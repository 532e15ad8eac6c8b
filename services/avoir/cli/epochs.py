"""`avoir epoch raise` and `avoir events rebuild`: a restored database, and output that was lost."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from avoir.cli.access import (
    BROKERS,
    DSN,
    connected,
    database_of,
    kafka_client,
    kafka_failures,
    load_settings,
    names_of,
)
from avoir.cli.ending import Exit, not_found, refuse
from avoir.cli.options import AsJson
from avoir.cli.output import notes, print_json, say
from avoir.postgres import queries
from avoir.postgres.connect import Connection
from avoir.settings import Settings, policy_of

if TYPE_CHECKING:
    from avoir.epoch import Quiet, Seen

PATIENCE_S = 24 * 3600.0

epoch = App(name="epoch", help="The epoch of the events' sequence numbers.")
events = App(name="events", help="The events that were published.")


@epoch.command(name="raise")
async def raise_(
    *,
    reason: Annotated[
        str, Parameter(help="What happened: restored to an earlier moment, or a failover that lost.")
    ],
    json: AsJson = False,
) -> int:
    """Begin a new epoch, after the database was restored or a failover lost transactions.

    Sequence numbers then come again with other contents; the higher epoch tells consumers to take the new ones. The
    latest balance of every account is published again under it, and a balance of nothing for accounts that only readers
    of credit-balance know. Stop the service first and start it again afterwards; one that has found the ledger behind
    may run.

    Example: `avoir epoch raise --reason "restored to 2025-06-01 12:00 after a disk failure"`
    """
    from avoir.epoch import raise_epoch

    settings = load_settings(DSN, BROKERS)
    async with connected(settings, "avoir_service") as connection, _quiet(settings) as pause:
        seen = await _read_seen(settings, connection)
        raised, accounts = await raise_epoch(connection, reason, settings.ce_source, seen, pause.check)
    if json:
        print_json({"epoch": raised, "reason": reason, "accounts": accounts, "lost": len(seen.lost)})
    else:
        say(f"Epoch {raised} has begun: {reason}")
        say(f"The balances of {accounts} account(s) will be published again once the service runs.")
        if seen.lost:
            say(f"{len(seen.lost)} of them are not in the ledger any more: their balance is 0.")
    return Exit.OK


@events.command
async def rebuild(
    *,
    topic: Annotated[
        str | None, Parameter(help="Only this topic, by its default name; else all of them.")
    ] = None,
    reason: Annotated[str, Parameter(help="What happened; kept with the new epoch.")] = "events rebuilt",
    json: AsJson = False,
) -> int:
    """Publish again what the topics out should hold, under a new epoch: after topics were deleted, say.

    The whole history is decided again and has to come to what the ledger has, entry by entry; otherwise nothing is
    published. Dead letters and balances come again too. Readers that know epochs end where they would be, whether they
    begin anew or go on. Stop the service first and start it again afterwards.

    Example: `avoir events rebuild --topic credit-applied`
    """
    from avoir.kafka.topics import EVENTS
    from avoir.rebuild import NotTheSameError, Wanted
    from avoir.rebuild import rebuild as publish_again

    settings = load_settings(DSN, BROKERS)
    default = None if topic is None else names_of(settings).default(topic)
    if default is not None and default not in EVENTS:
        refuse(f"{topic} is no topic that Avoir publishes to. It publishes to {', '.join(EVENTS)}.")
    wanted = Wanted(default, policy_of(settings), settings.ce_source, settings.kafka_max_message_bytes)
    async with (
        connected(settings, "avoir_service", PATIENCE_S) as connection,
        _quiet(settings) as pause,
    ):
        seen = await _read_seen(settings, connection)
        try:
            with _bars("messages") as bars:
                task = bars.add_task("messages", total=await connection.fetchval(queries.history_messages))
                done = await publish_again(
                    connection, reason, seen, wanted, lambda more: bars.advance(task, more), pause.check
                )
        except NotTheSameError as error:
            not_found(
                f"Nothing was published, since the history does not come to what the ledger has: {error}."
            )
    if json:
        print_json({**done._asdict(), "reason": reason})
    else:
        say(
            f"{done.events} event(s), {done.dead_letters} dead letter(s) and {done.balances} balance(s) will be "
            f"published under epoch {done.epoch} once the service runs."
        )
    return Exit.OK


@asynccontextmanager
async def _quiet(settings: Settings) -> AsyncIterator["Quiet"]:
    from avoir.epoch import StillPublishingError, quiet

    try:
        async with quiet(database_of(settings, "avoir_service")) as pause:
            yield pause
    except StillPublishingError as error:
        not_found(f"Nothing was changed: {error}.")


async def _read_seen(settings: Settings, connection: Connection) -> "Seen":
    from avoir.epoch import read_seen

    client, names = kafka_client(settings), names_of(settings)
    async with kafka_failures(settings):
        with _bars("credit-balance") as bars:
            task = bars.add_task("credit-balance", total=None)
            return await read_seen(
                connection,
                client,
                names,
                settings.ce_source,
                lambda read, to_read: bars.update(task, completed=read, total=to_read),
            )


def _bars(what: str) -> Progress:
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=notes(), transient=True)
