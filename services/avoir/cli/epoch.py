"""`avoir epoch raise`: begin a new epoch after a restore."""

from typing import Annotated

from cyclopts import App, Parameter

from avoir.cli.base.access import BROKERS, DSN, connected, load_settings
from avoir.cli.base.exits import Exit
from avoir.cli.base.options import AsJson
from avoir.cli.base.output import print_json, say

epoch = App(name="epoch", help="The epoch of the events' sequence numbers.")


@epoch.command(name="raise")
async def raise_(
    *,
    reason: Annotated[
        str,
        Parameter(help="The reason: restored to an earlier moment, or a failover that lost transactions."),
    ],
    json: AsJson = False,
) -> int:
    """Begin a new epoch after the database was restored or a failover lost transactions.

    Sequence numbers then come again with different contents; the higher epoch tells consumers to use the new ones. The
    latest balance of every account is published again under it, and 0 for accounts that only readers of credit-balance
    know. Stop the service first and start it again afterwards; a service that has found its ledger behind may keep
    running.

    Example: `avoir epoch raise --reason "restored to 2025-06-01 12:00 after a disk failure"`
    """
    from avoir.cli.base.epochs import raise_epoch
    from avoir.cli.base.stopped import seen_by_readers, stopped_service

    settings = load_settings(DSN, BROKERS)
    async with connected(settings, "avoir_service") as connection, stopped_service(settings) as block:
        seen = await seen_by_readers(settings, connection)
        raised, accounts = await raise_epoch(connection, reason, settings.ce_source, seen, block)
    if json:
        print_json({"epoch": raised, "reason": reason, "accounts": accounts, "lost": len(seen.lost)})
    else:
        say(f"Epoch {raised} has begun: {reason}")
        say(f"The balances of {accounts} account(s) will be published again once the service runs.")
        if seen.lost:
            say(f"{len(seen.lost)} of them no longer exist in the ledger: their balance is 0.")
    return Exit.OK
