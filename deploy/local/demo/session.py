"""Session of the demo: sends messages through the real topics, reads decisions in Postgres and events in Kafka."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord

from avoir.cli.balance.query import AccountBalance, read_balances
from avoir.cli.explain.query import explain
from avoir.cli.explain.view import RecordedDecision, Subject
from avoir.core.model.facts import Owner
from avoir.kafka.client import client_of
from avoir.kafka.topics import TopicNames
from avoir.postgres.connect import Connection, Database
from avoir.settings import Settings
from avoir.wire.topics import BALANCE, DEAD_LETTER, EVENTS
from deploy.local.demo import messages
from deploy.local.demo.scenario import Json, Message
from deploy.local.harness.waiting import until

TIMEOUT_SECONDS = 20
SOON_SECONDS = 1


class Seen(NamedTuple):
    """An event as it came out of Kafka; a dead letter has its headers for a body."""

    topic: str
    body: Json


class Place(NamedTuple):
    """Topic, partition and offset of a message that was sent."""

    topic: str
    partition: int
    offset: int


@dataclass(slots=True)
class Session:
    """One client of the topics, and a reader of the database."""

    names: TopicNames
    producer: AIOKafkaProducer
    consumer: AIOKafkaConsumer
    connection: Connection
    seen: list[Seen] = field(default_factory=list)

    async def send(self, tenant_id: str, message: Message) -> Place:
        """Publish a message and wait for the broker."""
        value = json.dumps({"tenant_id": tenant_id, **self._filled(tenant_id, message.value)}).encode()
        sent = await self.producer.send_and_wait(self.names.actual(message.topic), value)
        return Place(message.topic, sent.partition, sent.offset)

    def _filled(self, tenant_id: str, value: Any) -> Any:
        """A value with what could not be known when the scenario was written: ids of grants, and "soon"."""
        match value:
            case dict():
                return {name: self._filled(tenant_id, each) for name, each in value.items()}
            case list():
                return [self._filled(tenant_id, each) for each in value]
            case messages.SOON:
                return (datetime.now(UTC) + timedelta(seconds=SOON_SECONDS)).isoformat()
            case str() if value.startswith(messages.GRANT):
                return self._grant(tenant_id, value.removeprefix(messages.GRANT))
            case _:
                return value

    def _grant(self, tenant_id: str, event_id: str) -> str:
        for each in self.seen_of(tenant_id):
            cause = each.body["caused_by"] or {}
            if each.topic == "credit-issued" and cause["event_id"] == event_id:
                return str(each.body["grant_id"])
        return f"(no grant of {event_id})"

    async def decision(self, tenant_id: str, message: Message, place: Place) -> RecordedDecision:
        """The decision on the message at a place. TimeoutError if none is made."""
        subject = Subject("event", message.event_id)
        decisions: list[RecordedDecision] = []

        async def look() -> bool:
            for each in (await explain(self.connection, tenant_id, subject)).decisions:
                if Place(each.topic, each.partition, each.offset) == place:
                    decisions.append(each)
            return bool(decisions)

        await until(look, TIMEOUT_SECONDS, f"a decision on {message.topic} {message.event_id}")
        return decisions[0]

    async def published(self, tenant_id: str, expected: Counter[str]) -> None:
        """Wait until all events of a tenant's accounts are there, and so many of each topic; no error if not."""

        async def complete() -> bool:
            seen = Counter(each.topic for each in self.seen_of(tenant_id))
            if any(seen[topic] < number for topic, number in expected.items()):
                return False
            return all(
                len(self._numbers(tenant_id, account)) == account.seq
                for account in await self.accounts(tenant_id)
            )

        with suppress(TimeoutError):
            await until(complete, TIMEOUT_SECONDS, "the events")

    async def accounts(self, tenant_id: str) -> tuple[AccountBalance, ...]:
        """The accounts of a tenant as the database has them."""
        return (await read_balances(self.connection, tenant_id, None, 1000)).accounts

    async def due(self, tenant_id: str, invoice_id: str) -> int:
        """Amount due on an invoice, in micros."""
        explanation = await explain(self.connection, tenant_id, Subject("invoice", invoice_id))
        return sum(each.due for each in explanation.invoices if each.key.invoice_id == invoice_id)

    def seen_of(self, tenant_id: str) -> list[Seen]:
        """The events of a tenant so far, balances left out."""
        return [each for each in self.seen if each.body["tenant_id"] == tenant_id and each.topic != BALANCE]

    def caused_by(self, tenant_id: str, place: Place, event_id: str) -> list[Seen]:
        """The events that a message caused, in the order of their numbers."""
        message = {"topic": place.topic, "event_id": event_id}
        caused = [
            each
            for each in self.seen_of(tenant_id)
            if (cause := each.body["caused_by"]) is not None
            and (message.items() <= cause.items() or cause == place._asdict())
        ]
        return sorted(caused, key=lambda each: each.body.get("seq") or 0)

    def by_time(self, tenant_id: str) -> list[Seen]:
        """The events that no message caused."""
        return [each for each in self.seen_of(tenant_id) if each.body["caused_by"] is None]

    def _numbers(self, tenant_id: str, account: AccountBalance) -> set[int]:
        key = account.account
        account_of = {"owner": {"type": key.owner_type, "id": key.owner_id}, "currency": key.currency}
        return {
            each.body["seq"] for each in self.seen_of(tenant_id) if each.body.get("account") == account_of
        }

    async def collect(self) -> None:
        """Take in what is published, for as long as the session lasts."""
        async for record in self.consumer:
            self.seen.append(_seen(self.names.default(record.topic), record))


def owner_of(account: AccountBalance) -> str:
    """An owner as people write it: user/u1."""
    owner: Owner = account.account.owner
    return f"{owner.type}/{owner.id}"


def _seen(topic: str, record: ConsumerRecord) -> Seen:
    body: Json = {}
    with suppress(ValueError):
        body = json.loads(record.value or b"{}")
    if topic == DEAD_LETTER:
        headers = {name: value.decode() for name, value in record.headers}
        place = Place(headers["avoir-topic"], int(headers["avoir-partition"]), int(headers["avoir-offset"]))
        body = {"tenant_id": body.get("tenant_id"), "caused_by": place._asdict(), **headers}
    return Seen(topic, body)


@asynccontextmanager
async def opened(environment: Mapping[str, str]) -> AsyncIterator[Session]:
    """A session with a running service, for as long as this context."""
    settings = Settings(**{name.lower().removeprefix("avoir_"): value for name, value in environment.items()})  # type: ignore[arg-type]
    names = TopicNames(settings.kafka_topic_prefix, settings.kafka_topics)
    options = client_of(settings).options()
    producer = AIOKafkaProducer(**options, acks="all", enable_idempotence=True)
    consumer = AIOKafkaConsumer(
        *map(names.actual, EVENTS),
        **options,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
    )
    database = Database(settings.postgres_dsn, role="avoir_readonly", application_name="avoir-demo")
    connection = await database.connect()
    await asyncio.gather(producer.start(), consumer.start())
    session = Session(names, producer, consumer, connection)
    collecting = asyncio.create_task(session.collect())
    try:
        yield session
    finally:
        collecting.cancel()
        await asyncio.gather(collecting, return_exceptions=True)
        await asyncio.gather(producer.stop(), consumer.stop(), connection.close(timeout=5))
