"""The command line of the local stack: up, down, status."""

import argparse
import sys

from deploy.local import background
from deploy.local.process import StackError


def main() -> int:
    """Do what the command line asks; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m deploy.local", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="up|down|status")
    for verb, meaning in (
        ("up", "start Kafka, Postgres and the service, and leave them running"),
        ("keep", None),
    ):
        options = verbs.add_parser(verb, help=meaning) if meaning else verbs.add_parser(verb)
        options.add_argument(
            "--fsync",
            action=argparse.BooleanOptionalAction,
            default=True,
            help="without it Postgres is faster, but loses data if the machine fails",
        )
    verbs.add_parser("down", help="stop them and remove their data")
    verbs.add_parser("status", help="say whether they run, and their addresses")
    given = parser.parse_args()
    try:
        return _do(given)
    except StackError as error:
        print(error, file=sys.stderr)
        return 1


def _do(given: argparse.Namespace) -> int:
    match given.verb:
        case "keep":
            background.keep(fsync=given.fsync)
        case "up":
            if background.current() is None:
                print(
                    "Starting Kafka, Postgres and the service (the first run downloads Kafka: a minute) ...",
                    flush=True,
                )
            _tell(background.up(fsync=given.fsync))
        case "down":
            ended = background.down()
            if ended is None:
                print("Nothing was running.")
            else:
                print("Stopped, and the data is removed. If your shell still has the variables:\n")
                print(f"  unset {' '.join(ended.environment)}")
        case "status":
            running = background.current()
            if running is None:
                print("Nothing is running: make up starts it.")
                return 1
            _tell(running)
    return 0


def _tell(running: background.Up) -> None:
    print("Running. In your shell:\n")
    for name, value in running.environment.items():
        print(f"  export {name}={value}")
    print(FIRST_COMMANDS.format(service=running.service, log=running.log))


FIRST_COMMANDS = """
The service answers at {service}/readyz and {service}/metrics,
and writes its log to {log}

Then, for a first look:

  echo '{{"event_id": "e1", "tenant_id": "t1", "occurred_at": "2025-05-15T12:00:00Z", "booking_id": "b1",
    "owner": {{"type": "user", "id": "u1"}}, "changed_by": "customer"}}' | tr -d '\\n' \\
    | .venv/bin/avoir send booking-cancelled -
  .venv/bin/avoir explain --booking b1 --tenant t1
  echo '{{"event_id": "e2", "tenant_id": "t1", "occurred_at": "2025-05-16T12:00:00Z",
    "actor": {{"type": "admin", "id": "a1"}}, "owner": {{"type": "user", "id": "u1"}}, "amount": "50.00",
    "currency": "EUR", "reason": "referral", "note": "brought a friend"}}' | tr -d '\\n' \\
    | .venv/bin/avoir send grant-credit -
  .venv/bin/avoir explain e2 --tenant t1
  .venv/bin/avoir balance user/u1 --tenant t1
  .venv/bin/avoir policy show
  .venv/bin/avoir status
  make down
"""

if __name__ == "__main__":
    sys.exit(main())
