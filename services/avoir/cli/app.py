"""The command line `avoir COMMAND`, for operators, support and anybody trying it out."""

from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any

from cyclopts import App, CycloptsError, Group

from avoir.cli.balance.command import balance
from avoir.cli.base.exits import Exit, Failure
from avoir.cli.base.output import console, hint
from avoir.cli.dead_letters.command import dead_letters
from avoir.cli.epoch import epoch
from avoir.cli.events.command import events
from avoir.cli.explain.command import explain
from avoir.cli.migrate import migrate
from avoir.cli.offsets import offsets
from avoir.cli.outbox.command import outbox
from avoir.cli.policy.command import policy
from avoir.cli.report.command import report
from avoir.cli.send import send
from avoir.cli.serve import serve
from avoir.cli.simulate.command import simulate
from avoir.cli.statement.command import statement
from avoir.cli.status.command import status
from avoir.cli.topics import topics
from avoir.cli.verify.command import verify

EPILOGUE = (
    "Exit codes: 0 success, 1 nothing found or differences found, 2 invalid command line or setting, 3 database or "
    "broker unavailable.\n\n"
    "Settings are environment variables; AVOIR_POSTGRES_DSN and AVOIR_KAFKA_BOOTSTRAP_SERVERS give the addresses."
)

app = App(
    name="avoir",
    help="Customer credit for a booking business: how much a cancelled booking is worth, and where the credit went.",
    help_epilogue=EPILOGUE,
    version=lambda: version("avoir"),
    result_action="return_value",
    exit_on_error=False,
    console=console(),
)

GROUPS: tuple[tuple[Group, tuple[Callable[..., Any] | App, ...]], ...] = (
    (Group("Set up and run", sort_key=1), (migrate, topics, serve, send)),
    (Group("Questions about credit", sort_key=2), (balance, statement, report, explain, simulate, policy)),
    (Group("Operations", sort_key=3), (status, verify, dead_letters, outbox, offsets, epoch, events)),
)
for group, commands in GROUPS:
    for command in commands:
        if isinstance(command, App):
            command.group = (group,)
            app.command(command)
        else:
            app.command(command, group=group)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. Raises BrokenPipeError if the reader of its output is gone."""
    try:
        code = app(arguments)
    except CycloptsError:
        return Exit.USAGE
    except Failure as failure:
        hint(failure.message)
        return failure.code
    return code if isinstance(code, int) else Exit.OK
