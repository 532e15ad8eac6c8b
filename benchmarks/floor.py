"""The floor: consume, COPY the raw rows, publish a record for each, in batches and with no thought at all.

It publishes with the producer's `send`, as any client does, or else in batches that it fills by hand: faster, but
without a record's key deciding its partition.
"""

import asyncio
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import asyncpg
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord
from aiokafka.producer.message_accumulator import BatchBuilder

from benchmarks.usage import peak_bytes

TABLE = """
CREATE TABLE IF NOT EXISTS raw (topic text, partition integer, kafka_offset bigint, key bytea, value bytea);
TRUNCATE raw;
"""
COLUMNS = ["topic", "partition", "kafka_offset", "key", "value"]
HEADERS = [
    ("content-type", b"application/json"),
    ("ce_specversion", b"1.0"),
    ("ce_id", b"00000000-0000-5000-8000-000000000000"),
    ("ce_source", b"/avoir"),
    ("ce_type", b"avoir.credit-issued.v1"),
    ("ce_time", b"2025-06-01T00:00:00.000000Z"),
]
"""As many and as long as an event's; all else that a record holds is as long as the mean event."""

MAX_RECORDS = 2_000
BATCH_BYTES = 262_144


async def run(
    *,
    kafka: str,
    dsn: str,
    topics: list[str],
    topic_out: str,
    event_bytes: int,
    messages: int,
    rounds: int,
    by_hand: bool,
    within_s: float,
) -> dict[str, float]:
    """Pass so many messages through, in so many rounds over what is there; the figures of all rounds together.

    Each round counts from the end of its first batch on. One alone takes about a second, which is too short to tell.
    """
    connection = await asyncpg.connect(dsn, timeout=10, command_timeout=60)
    await connection.execute(TABLE)
    found: Counter[str] = Counter()
    publish = _publish_by_hand if by_hand else _publish
    async with (
        asyncio.timeout(within_s),
        AIOKafkaProducer(
            bootstrap_servers=kafka, acks="all", enable_idempotence=True, max_batch_size=BATCH_BYTES
        ) as producer,
    ):
        publish_each = partial(publish, producer, topic_out, b"x" * event_bytes)
        for n in range(rounds):
            async with AIOKafkaConsumer(
                *topics,
                bootstrap_servers=kafka,
                group_id=f"{topic_out}-group-{by_hand}-{n}",
                auto_offset_reset="earliest",
                enable_auto_commit=False,
            ) as consumer:
                found.update(await _pass_through(consumer, connection, publish_each, messages // rounds))
    await connection.close()
    return {
        "messages": found["messages"],
        "seconds": found["seconds"],
        "cpu_s": found["cpu_s"],
        "peak_bytes": peak_bytes(os.getpid()),
        "batch_messages": found["passed"] / found["batches"],
        "batch_statements": 1,
        "events_out": 1,
    }


async def _pass_through(
    consumer: AIOKafkaConsumer,
    connection: "asyncpg.Connection[asyncpg.Record]",
    publish: Callable[[Sequence[ConsumerRecord]], Awaitable[None]],
    messages: int,
) -> dict[str, float]:
    passed = begun_after = batches = 0
    begun, cpu = 0.0, 0.0
    while passed < messages:
        found = await consumer.getmany(timeout_ms=200, max_records=MAX_RECORDS)
        records = [record for part in found.values() for record in part]
        if not records:
            continue
        rows = [(r.topic, r.partition, r.offset, r.key, r.value) for r in records]
        async with connection.transaction():
            await connection.copy_records_to_table("raw", records=rows, columns=COLUMNS)
        await publish(records)
        passed += len(records)
        batches += 1
        if not begun:
            begun, cpu, begun_after = time.monotonic(), time.process_time(), passed
    return {
        "messages": passed - begun_after,
        "seconds": time.monotonic() - begun,
        "cpu_s": time.process_time() - cpu,
        "passed": passed,
        "batches": batches,
    }


async def _publish(
    producer: AIOKafkaProducer, topic: str, value: bytes, records: Sequence[ConsumerRecord]
) -> None:
    await asyncio.gather(
        *[await producer.send(topic, value, key=record.key, headers=HEADERS) for record in records]
    )


async def _publish_by_hand(
    producer: AIOKafkaProducer, topic: str, value: bytes, records: Sequence[ConsumerRecord]
) -> None:
    places = sorted(await producer.partitions_for(topic))
    filling: dict[int, BatchBuilder] = {}
    sent = []
    for n, record in enumerate(records):
        place = places[n % len(places)]
        out: dict[str, Any] = {"timestamp": None, "key": record.key, "value": value, "headers": HEADERS}
        if place in filling and filling[place].append(**out) is None:
            sent.append(await producer.send_batch(filling.pop(place), topic, partition=place))
        if place not in filling:
            filling[place] = producer.create_batch()
            filling[place].append(**out)
    sent += [await producer.send_batch(batch, topic, partition=place) for place, batch in filling.items()]
    await asyncio.gather(*sent)


if __name__ == "__main__":
    print(json.dumps(asyncio.run(run(**json.loads(sys.argv[1])))))
