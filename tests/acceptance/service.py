"""All that an acceptance test has of the service: topics to write, topics to read, the command line."""

import asyncio
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.local.harness.databases import dsn_of, execute
from deploy.local.harness.service import environment_of, settings_for
from tests.acceptance.deployment import PARTITIONS, Deployment
from tests.acceptance.events import Events
from tests.acceptance.publishing import Place, Publisher, Sending


@dataclass(frozen=True, slots=True)
class Service:
    """A deployment with a client on either side."""

    kafka: str
    prefix: str
    deployment: Deployment
    publisher: Publisher
    events: Events

    def publish(self, records: Iterable[Sending]) -> list[Place]:
        """Publish records and wait until the broker has them; their places."""
        return self.publisher.publish(records)

    def settle(self, within_s: float = 60) -> None:
        """Wait until everything sent was handled, and everything that came of it was read."""
        self.deployment.settled(within_s)
        self.events.catch_up()

    def ask(self, *arguments: str, code: int = 0) -> Any:
        """The document that `avoir ... --json` prints."""
        return self.deployment.ask(*arguments, code=code)


Deploy = Callable[..., Service]
"""Sets up a service of a test's own, with settings by name."""


@contextmanager
def deployed(
    kafka: str, postgres: str, folder: Path, settings: dict[str, str] | None = None
) -> Iterator[Service]:
    """A service that is set up and does not run yet, with a database and topics of its own."""
    name = f"accept-{uuid.uuid4().hex[:8]}"
    prefix = f"{name}-"
    dsn = dsn_of(postgres, name)
    # In a thread, because pytest may hold an event loop of its own here.
    with ThreadPoolExecutor(max_workers=3) as threads:
        threads.submit(asyncio.run, execute(postgres, f'CREATE DATABASE "{name}"')).result()
        given = environment_of(settings_for(kafka, dsn, prefix, kafka_partitions=PARTITIONS))
        deployment = Deployment({**given, **(settings or {})}, folder)
        for done in [
            threads.submit(deployment.call, *words) for words in (("migrate",), ("topics", "create"))
        ]:
            done.result()
        events = Events(kafka, prefix)
        try:
            yield Service(kafka, prefix, deployment, Publisher(kafka, prefix), events)
        finally:
            deployment.end()
            events.close()
            threads.submit(asyncio.run, execute(postgres, f'DROP DATABASE "{name}" WITH (FORCE)')).result()
