"""`avoir epoch raise`: what has to be said to readers after the database was restored."""

from typing import Annotated

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
from avoir.cli.ending import Exit, not_found
from avoir.cli.options import AsJson
from avoir.cli.output import notes, print_json, say

epoch = App(name="epoch", help="The epoch of the events' sequence numbers.")


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
    from avoir.epoch import StillPublishingError, quiet, raise_epoch, read_seen

    settings = load_settings(DSN, BROKERS)
    client, names = kafka_client(settings), names_of(settings)
    columns = (TextColumn("credit-balance"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    async with connected(settings, "avoir_service") as connection:
        try:
            async with quiet(database_of(settings, "avoir_service")) as pause:
                with Progress(*columns, console=notes(), transient=True) as bars:
                    task = bars.add_task("credit-balance", total=None)
                    async with kafka_failures(settings):
                        seen = await read_seen(
                            connection,
                            client,
                            names,
                            settings.ce_source,
                            lambda read, to_read: bars.update(task, completed=read, total=to_read),
                        )
                raised, accounts = await raise_epoch(
                    connection, reason, settings.ce_source, seen, pause.check
                )
        except StillPublishingError as error:
            not_found(f"The epoch was not raised: {error}.")
    if json:
        print_json({"epoch": raised, "reason": reason, "accounts": accounts, "lost": len(seen.lost)})
    else:
        say(f"Epoch {raised} has begun: {reason}")
        say(f"The balances of {accounts} account(s) will be published again once the service runs.")
        if seen.lost:
            say(f"{len(seen.lost)} of them are not in the ledger any more: their balance is 0.")
    return Exit.OK
