"""Reads the events as a downstream service would, while they come, with a client that Avoir does not use."""

import json
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import Condition, Thread
from typing import Any, TypeVar

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from avoir_events import EVENTS
from tests.acceptance.deployment import PARTITIONS

T = TypeVar("T")
LATEST = OffsetSpec.latest()  # type: ignore[no-untyped-call]
DEAD_LETTER, BALANCE = "credit-dead-letter", "credit-balance"


@dataclass(frozen=True, slots=True)
class Heard:
    """A record of a topic out; `body` is its JSON, and of a dead letter nothing."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    body: dict[str, Any]


class Events:
    """Every event published so far, by tenant; dead letters apart."""

    def __init__(self, kafka: str, prefix: str) -> None:
        self._prefix = prefix
        self._places = [
            TopicPartition(prefix + topic, partition, OFFSET_BEGINNING)
            for topic in EVENTS
            for partition in range(PARTITIONS)
        ]
        self._admin = AdminClient({"bootstrap.servers": kafka, "log_level": 0})
        self._consumer = Consumer(
            {
                "bootstrap.servers": kafka,
                "group.id": f"{prefix}reader",
                "enable.auto.commit": False,
                "log_level": 0,
                # A transaction's end takes an offset too, so only this says that all is read.
                "enable.partition.eof": True,
            }
        )
        self._consumer.assign(self._places)
        self._by_tenant: defaultdict[str, list[Heard]] = defaultdict(list)
        self._dead_letters: list[Heard] = []
        self._next: dict[tuple[str, int], int] = {}
        self._errors: list[KafkaError] = []
        self._arrived = Condition()
        self._ending = False
        self._thread = Thread(target=self._read, daemon=True)
        self._thread.start()

    def of(self, tenant: str, topic: str | None = None) -> list[Heard]:
        """The events of a tenant, perhaps of one topic only, as far as they arrived."""
        with self._arrived:
            return [each for each in self._by_tenant.get(tenant, ()) if topic in (None, each.topic)]

    def tenants(self) -> list[str]:
        """All tenants heard of."""
        with self._arrived:
            return sorted(self._by_tenant)

    def dead_letters(self) -> list[Heard]:
        """What arrived on the topic of dead letters."""
        with self._arrived:
            return list(self._dead_letters)

    def until(self, found: Callable[[], T | None], what: str, within_s: float = 30) -> T:
        """Wait until something is found among the events; fail when it is not in time."""
        end = time.monotonic() + within_s
        while True:
            with self._arrived:
                if answer := found():
                    return answer
                left = end - time.monotonic()
                assert left > 0, f"not within {within_s} s: {what}"
                self._arrived.wait(min(left, 1))

    def catch_up(self, within_s: float = 30) -> None:
        """Wait until everything is read that the topics hold now."""
        asked = {TopicPartition(place.topic, place.partition): LATEST for place in self._places}
        found = self._admin.list_offsets(asked, request_timeout=20)
        ends = {(place.topic, place.partition): future.result().offset for place, future in found.items()}
        self.until(lambda: not self._behind(ends), f"the topics out are read to their ends: {ends}", within_s)

    def _behind(self, ends: Mapping[tuple[str, int], int]) -> list[tuple[str, int]]:
        assert not self._errors, self._errors
        return [place for place, end in ends.items() if self._next.get(place, 0) < end]

    def close(self) -> None:
        """Stop reading."""
        self._ending = True
        self._thread.join(10)
        self._consumer.close()

    def _read(self) -> None:
        while not self._ending:
            records = self._consumer.consume(500, 0.1)
            with self._arrived:
                for record in records:
                    self._take(record)
                self._arrived.notify_all()

    def _take(self, record: Any) -> None:
        error = record.error()
        if error is None:
            self._keep(record)
        elif error.code() == KafkaError._PARTITION_EOF:
            self._next[record.topic(), record.partition()] = record.offset()
        else:
            self._errors.append(error)

    def _keep(self, record: Any) -> None:
        topic = record.topic().removeprefix(self._prefix)
        value = record.value()
        body = {} if topic == DEAD_LETTER else json.loads(value)
        heard = Heard(
            topic,
            record.partition(),
            record.offset(),
            record.key(),
            value,
            tuple(record.headers() or ()),
            body,
        )
        if topic == DEAD_LETTER:
            self._dead_letters.append(heard)
        else:
            self._by_tenant[body["tenant_id"]].append(heard)
