"""`avoir events rebuild`: publish again what the topics lost."""

from typing import Annotated

from cyclopts import App, Parameter

from avoir.cli.base.access import BROKERS, DSN, connected, load_settings, names_of
from avoir.cli.base.exits import Exit, not_found, refuse
from avoir.cli.base.options import AsJson
from avoir.cli.base.output import bars, print_json, say
from avoir.postgres import queries
from avoir.settings import policy_of
from avoir.wire.nearest import did_you_mean

PATIENCE_S = 24 * 3600.0

events = App(name="events", help="The events that were published.")


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
    from avoir.cli.base.stopped import seen_by_readers, stopped_service
    from avoir.cli.events.rebuild import NotTheSameError, Wanted
    from avoir.cli.events.rebuild import rebuild as publish_again
    from avoir.wire.topics import EVENTS

    settings = load_settings(DSN, BROKERS)
    default = None if topic is None else names_of(settings).default(topic)
    if default is not None and default not in EVENTS:
        asked = did_you_mean(default, EVENTS)
        refuse(f"{topic} is no topic that Avoir publishes to.{asked} It publishes to {', '.join(EVENTS)}.")
    wanted = Wanted(default, policy_of(settings), settings.ce_source, settings.kafka_max_message_bytes)
    async with (
        connected(settings, "avoir_service", PATIENCE_S) as connection,
        stopped_service(settings) as pause,
    ):
        seen = await seen_by_readers(settings, connection)
        try:
            with bars("messages") as progress:
                task = progress.add_task(
                    "messages", total=await connection.fetchval(*queries.history_messages())
                )
                done = await publish_again(
                    connection, reason, seen, wanted, lambda more: progress.advance(task, more), pause
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
