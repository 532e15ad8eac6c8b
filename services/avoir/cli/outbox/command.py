"""`avoir outbox list | retry`: the events that the broker refused for good, and sending them again."""

from typing import Annotated

from cyclopts import App, Parameter

from avoir.cli.base.access import DSN, connected, load_settings
from avoir.cli.base.exits import Exit
from avoir.cli.base.options import COUNT, AsJson
from avoir.cli.base.output import add_rows, console, print_json, rfc3339, say, short_time, table
from avoir.cli.outbox.retry import retry_refused
from avoir.postgres import queries

outbox = App(name="outbox", help="Events that the broker refused: list them or send them again.")


@outbox.command(name="list")
async def list_(
    *,
    limit: Annotated[int, Parameter(validator=COUNT, help="Maximum number shown, oldest first.")] = 100,
    json: AsJson = False,
) -> int:
    """List the events that the broker refused for good, with the broker's error. Exit code 1 if there are any.

    Example: `avoir outbox list`
    """
    async with connected(load_settings(DSN)) as connection:
        rows = await connection.fetch(*queries.read_refused(limit=limit))
    refused = [
        {
            "outbox_id": row["outbox_id"],
            "tenant_id": row["tenant_id"],
            "topic": row["topic"],
            "key": None if row["key"] is None else row["key"].decode(errors="backslashreplace"),
            "bytes": row["bytes"],
            "recorded_at": rfc3339(row["recorded_at"]),
            "refused": row["refused"],
        }
        for row in rows
    ]
    if json:
        print_json({"refused": refused})
    elif rows:
        made = table("Id", "Recorded (UTC)", "What", whole=("Id", "Recorded (UTC)"))
        shown = (
            (
                str(each["outbox_id"]),
                short_time(row["recorded_at"]),
                f"{each['topic']} of {_shown(each['key'])}, {each['bytes'] or 0} bytes: {each['refused']}",
            )
            for each, row in zip(refused, rows, strict=True)
        )
        console().print(add_rows(made, shown))
    else:
        say("The broker has not refused any event.")
    return Exit.FOUND if rows else Exit.OK


def _shown(key: str | None) -> str:
    if key is None:
        return "no key"
    return key if key.isprintable() else ascii(key)[1:-1]


@outbox.command
async def retry(*, json: AsJson = False) -> int:
    """Send the refused events again once the cause is fixed, for example after raising a topic's size limit.

    Events go out unchanged, after later events of their account. Balances go out as of now, so that an old one doesn't
    follow a new one. The service must be running; events that are refused again are listed again.

    Example: `avoir outbox retry`
    """
    settings = load_settings(DSN)
    async with connected(settings, "avoir_service") as connection:
        retried = await retry_refused(connection, settings.ce_source)
    if json:
        print_json(retried._asdict())
    else:
        say(
            f"{retried.records} event(s) unchanged and {retried.balances} current balance(s) will be "
            "published once the service runs."
        )
    return Exit.OK
