"""Runs the demo: stack and service, steps, final checks; the exit status says whether every result was as expected."""

import asyncio
import os
import shlex
import sys
import time
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from importlib import import_module
from io import StringIO
from threading import Thread
from typing import TYPE_CHECKING

from deploy.local.demo import customer, facts
from deploy.local.process import LOG_TAIL_LINES, StackError
from deploy.local.stack import prepare, running_stack

if TYPE_CHECKING:
    from deploy.local.service import Running

KAFKA, DSN = "AVOIR_KAFKA_BOOTSTRAP_SERVERS", "AVOIR_POSTGRES_DSN"
IGNORED = ("AVOIR_POLICY_", "AVOIR_KAFKA_TOPIC", "AVOIR_KAFKA_GROUP_")
IN_ORDER, OTHERWISE = "t1", "t2"
COMMANDS = (
    f"avoir balance --tenant {IN_ORDER}",
    f"avoir statement {customer.WHO} --tenant {IN_ORDER}",
    f"avoir explain --booking b3 --tenant {IN_ORDER}",
    "avoir verify",
)
SETTINGS = {
    "AVOIR_EXPIRY_INTERVAL_S": "0.2",
    "AVOIR_KAFKA_PARTITIONS": "2",
    "AVOIR_LOG_LEVEL": "WARNING",
}


def main() -> int:
    """The exit status: 0 when everything was as expected."""
    for name in [name for name in os.environ if name.startswith(IGNORED)]:
        del os.environ[name]
    try:
        return _run()
    except StackError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nEnded.", file=sys.stderr)
        return 130


def _run() -> int:
    begun = time.monotonic()
    print(
        "Starting Kafka, Postgres and the service (the first run downloads Kafka: a minute) ...", flush=True
    )
    # The imports take as long as the servers do.
    importing = Thread(target=_import_parts, daemon=True)
    importing.start()
    prepare(kafka=os.environ.get(KAFKA))
    with running_stack(kafka=os.environ.get(KAFKA), postgres=os.environ.get(DSN)) as stack:
        importing.join()
        from deploy.local.demo import isolation, showing
        from deploy.local.service import running_service

        with (
            isolation.own_place(stack) as (own, settings),
            running_service(own, more={**SETTINGS, **settings}) as service,
        ):
            started = time.monotonic()
            wrong = _played(service)
            wrong += _commands(service.environment)
            played = time.monotonic()
    seconds = {
        "started in": started - begun,
        "steps and checks": played - started,
        "stopped in": time.monotonic() - played,
        "in all": time.monotonic() - begun,
    }
    showing.how_to_go_on(seconds)
    for fault in wrong:
        showing.say(f"NOT AS EXPECTED: {fault}", "bold red")
    return 1 if wrong else 0


def _played(service: "Running") -> list[str]:
    """Run the scenario; where the service does not answer, with the end of its log."""
    try:
        return asyncio.run(_play(service.environment))
    except TimeoutError as error:
        log = service.log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:]
        raise StackError(
            "\n".join(["", f"NOT AS EXPECTED: {error}. The end of the service's log:", *log])
        ) from error


def _import_parts() -> None:
    for name in (
        "deploy.local.service",
        "deploy.local.demo.isolation",
        "deploy.local.demo.playing",
        "avoir.cli",
    ):
        import_module(name)


async def _play(environment: Mapping[str, str]) -> list[str]:
    from deploy.local.demo.playing import play
    from deploy.local.demo.session import opened

    async with opened(environment) as session:
        return await play(session, facts.facts(), customer.customer(), IN_ORDER, OTHERWISE)


def _commands(environment: Mapping[str, str]) -> list[str]:
    """Run the commands a user would, in this process, and show what they say; which of them failed."""
    from avoir.cli.app import run
    from deploy.local.demo import showing

    os.environ.update(environment)
    failed = []
    for words in COMMANDS:
        with redirect_stdout(StringIO()) as said, redirect_stderr(StringIO()) as noted:
            code = run(shlex.split(words)[1:])
        showing.command(words, said.getvalue() + noted.getvalue() * (code != 0))
        if code:
            failed.append(f"{words} ended with exit code {code}")
    return failed


if __name__ == "__main__":
    sys.exit(main())
