"""The floor: consume, COPY the raw rows, publish a record for each, in batches and with no thought at all."""

import asyncio
import json
import os
import sys
import time
from typing import Any

import asyncpg
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.producer.message_accumulator import BatchBuilder

from benchmarks.usage import peak_bytes

TABLE = """
CREATE TABLE raw (topic text, partition integer, kafka_offset bigint, key bytea, value bytea)
"""
COLUMNS = ["topic", "partition", "kafka_offset", "key", "value"]
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
    within_s: float,
) -> dict[str, float]:
    """Pass so many messages through; the figures, from the end of the first batch on."""
    connection = await asyncpg.connect(dsn, timeout=10, command_timeout=60)
    await connection.execute(TABLE)
    event = b"x" * event_bytes
    passed = begun_after = batches = 0
    begun, cpu = 0.0, 0.0
    async with (
        asyncio.timeout(within_s),
        AIOKafkaConsumer(
            *topics,
            bootstrap_servers=kafka,
            group_id=topic_out + "-group",
            auto_offset_reset="earliest",
            enable_auto_commit=False,
        ) as consumer,
        AIOKafkaProducer(
            bootstrap_servers=kafka, acks="all", enable_idempotence=True, max_batch_size=BATCH_BYTES
        ) as producer,
    ):
        places = sorted(await producer.partitions_for(topic_out))
        while passed < messages:
            found = await consumer.getmany(timeout_ms=200, max_records=MAX_RECORDS)
            records = [record for part in found.values() for record in part]
            if not records:
                continue
            rows = [(r.topic, r.partition, r.offset, r.key, r.value) for r in records]
            async with connection.transaction():
                await connection.copy_records_to_table("raw", records=rows, columns=COLUMNS)
            await _publish(producer, topic_out, places, [(r.key, event) for r in records])
            passed += len(records)
            batches += 1
            if not begun:
                begun, cpu, begun_after = time.monotonic(), time.process_time(), passed
    await connection.close()
    return {
        "messages": passed - begun_after,
        "seconds": time.monotonic() - begun,
        "cpu_s": time.process_time() - cpu,
        "peak_bytes": peak_bytes(os.getpid()),
        "batch_messages": passed / batches,
        "batch_statements": 1,
    }


async def _publish(
    producer: AIOKafkaProducer, topic: str, places: list[int], records: list[tuple[bytes | None, bytes]]
) -> None:
    filling: dict[int, BatchBuilder] = {}
    sent = []
    for n, (key, value) in enumerate(records):
        place = places[n % len(places)]
        record: dict[str, Any] = {"timestamp": None, "key": key, "value": value, "headers": []}
        if place in filling and filling[place].append(**record) is None:
            sent.append(await producer.send_batch(filling.pop(place), topic, partition=place))
        if place not in filling:
            filling[place] = producer.create_batch()
            filling[place].append(**record)
    sent += [await producer.send_batch(batch, topic, partition=place) for place, batch in filling.items()]
    await asyncio.gather(*sent)


if __name__ == "__main__":
    print(json.dumps(asyncio.run(run(**json.loads(sys.argv[1])))))
