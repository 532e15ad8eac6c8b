"""Publishes messages as an upstream service would, with a client that Avoir does not use."""

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from confluent_kafka import KafkaError, Message, Producer

FLUSH_TIMEOUT_S = 30
BY_KEY = -1

Headers = tuple[tuple[str, bytes | None], ...]


@dataclass(frozen=True, slots=True)
class Sending:
    """A record to publish; `topic` is the default name, without a partition the key chooses."""

    topic: str
    value: bytes | None
    key: bytes | None = None
    headers: Headers = ()
    partition: int | None = None


class Place(NamedTuple):
    """Where a record lies; `topic` is the default name."""

    topic: str
    partition: int
    offset: int


def sending(topic: str, body: Mapping[str, Any], **more: Any) -> Sending:
    """A record with a JSON value, keyed by its contents' ids so that one tenant's records are spread."""
    key = f"{body.get('tenant_id')}/{body.get('event_id')}".encode()
    return Sending(topic, json.dumps(body).encode(), **{"key": key, **more})


class Publisher:
    """Publishes in order, with rising timestamps."""

    def __init__(self, kafka: str, prefix: str, most_bytes: int = 1_000_000) -> None:
        self._producer = Producer(
            {
                "bootstrap.servers": kafka,
                "acks": "all",
                "linger.ms": 2,
                "log_level": 0,
                "message.max.bytes": most_bytes,
            }
        )
        self._prefix = prefix
        self._clock_ms = 0

    def publish(self, records: Iterable[Sending]) -> list[Place]:
        """Publish all and wait until the broker has them; their places in the same order."""
        places: dict[int, Place] = {}
        errors: list[KafkaError] = []
        count = 0
        for count, record in enumerate(records, 1):
            self._produce(record, count, places, errors)
        left = self._producer.flush(FLUSH_TIMEOUT_S)
        assert not left and not errors, f"{left} records not published: {errors[:1]}"
        return [places[number] for number in range(1, count + 1)]

    def _produce(
        self, record: Sending, number: int, places: dict[int, Place], errors: list[KafkaError]
    ) -> None:
        def delivered(error: KafkaError | None, message: Message) -> None:
            if error is not None:
                errors.append(error)
            else:
                places[number] = Place(record.topic, message.partition() or 0, message.offset() or 0)

        self._clock_ms = max(self._clock_ms + 1, int(time.time() * 1000))
        self._producer.produce(
            self._prefix + record.topic,
            value=record.value,
            key=record.key,
            partition=BY_KEY if record.partition is None else record.partition,
            headers=list(record.headers),
            timestamp=self._clock_ms,
            on_delivery=delivered,
        )
        self._producer.poll(0)
