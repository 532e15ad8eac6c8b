"""The handler that one would write first: FastStream, a message at a time, a transaction each, then the event."""

import asyncio
import json
import os
import sys
import time
from dataclasses import dataclass, field

import asyncpg
from faststream import AckPolicy
from faststream.kafka import KafkaBroker, KafkaMessage
from pydantic import ValidationError

import avoir_events as wire
from benchmarks.plain_work import TABLES, Work
from benchmarks.usage import peak_bytes


@dataclass(slots=True)
class Count:
    """How many messages are done, and what had been used after the first of them."""

    messages: int
    done: int = 0
    begun: float = 0.0
    cpu: float = 0.0
    statements: int = 0
    events: int = 0
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def one(self) -> None:
        """One more."""
        self.done += 1
        if self.done == 1:
            self.begun, self.cpu = time.monotonic(), time.process_time()
        if self.done >= self.messages:
            self.ended.set()


async def run(
    *, kafka: str, dsn: str, prefix: str, topics: list[str], group: str, messages: int, within_s: float
) -> dict[str, float]:
    """Handle so many messages; the figures, from the end of the first one on."""
    pool = await asyncpg.create_pool(dsn, min_size=1, max_size=4, timeout=10, command_timeout=60)
    await pool.execute(TABLES)
    broker = KafkaBroker(kafka, acks="all", enable_idempotence=True, logger=None)
    count = Count(messages)

    @broker.subscriber(*topics, group_id=group, ack_policy=AckPolicy.MANUAL, auto_offset_reset="earliest")
    async def handle(message: KafkaMessage) -> None:
        topic = str(message.raw_message.topic).removeprefix(prefix)  # type: ignore[union-attr]
        async with pool.acquire() as connection, connection.transaction():
            work = Work(connection)
            try:
                events = await work.handle(wire.read(wire.FACTS[topic], message.body))
            except ValidationError as error:
                events = await work.reject(topic, message.body, wire.describe(error))
        for event in events:
            await broker.publish(event.value, prefix + event.topic, key=event.key)
        await message.ack()
        count.statements += work.statements
        count.events += len(events)
        count.one()

    async with asyncio.timeout(within_s):
        await broker.start()
        await count.ended.wait()
    figures = {
        "messages": count.done - 1,
        "seconds": time.monotonic() - count.begun,
        "cpu_s": time.process_time() - count.cpu,
        "peak_bytes": peak_bytes(os.getpid()),
        "batch_messages": 1,
        "batch_statements": count.statements / count.done,
        "events_out": count.events / count.done,
    }
    await broker.stop()
    await pool.close()
    return figures


if __name__ == "__main__":
    print(json.dumps(asyncio.run(run(**json.loads(sys.argv[1])))))
