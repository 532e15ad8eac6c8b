"""`avoir events rebuild`: publish lost events again."""

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

events = App(name="events", help="Published events.")


@events.command
async def rebuild(
    *,
    topic: Annotated[str | None, Parameter(help="Only this topic (default name); default: all.")] = None,
    reason: Annotated[str, Parameter(help="The reason; kept with the new epoch.")] = "events rebuilt",
    json: AsJson = False,
) -> int:
    """Publish again, under a new epoch, everything that the output topics should hold.

    Use it after topics were deleted, for example. The whole history is decided again and compared with the ledger,
    entry by entry; if anything differs, nothing is published. Dead letters and balances are included. Readers that
    follow epochs end in the same state, whether they start over or continue. Stop the service first and start it again
    afterwards.

    Example: `avoir events rebuild --topic credit-applied`
    """
    from avoir.cli.base.stopped import seen_by_readers, stopped_service
    from avoir.cli.events.rebuild import HistoryDiffersError, RebuildScope
    from avoir.cli.events.rebuild import rebuild as publish_again
    from avoir.wire.topics import EVENTS

    settings = load_settings(DSN, BROKERS)
    default = None if topic is None else names_of(settings).default(topic)
    if default is not None and default not in EVENTS:
        suggestion = did_you_mean(default, EVENTS)
        refuse(f"Avoir does not publish to {topic}.{suggestion} It publishes to {', '.join(EVENTS)}.")
    scope = RebuildScope(default, policy_of(settings), settings.ce_source, settings.kafka_max_message_bytes)
    async with (
        connected(settings, "avoir_service", PATIENCE_S) as connection,
        stopped_service(settings) as block,
    ):
        seen = await seen_by_readers(settings, connection)
        try:
            with bars("messages") as progress:
                task = progress.add_task(
                    "messages", total=await connection.fetchval(*queries.history_messages())
                )
                done = await publish_again(
                    connection, reason, seen, scope, lambda more: progress.advance(task, more), block
                )
        except HistoryDiffersError as error:
            not_found(
                f"Nothing was published, because the history does not lead to the ledger's contents: {error}."
            )
    if json:
        print_json({**done._asdict(), "reason": reason})
    else:
        say(
            f"{done.events} event(s), {done.dead_letters} dead letter(s) and {done.balances} balance(s) will be "
            f"published under epoch {done.epoch} once the service runs."
        )
    return Exit.OK
