"""Whether a measured run was right: every message decided once, every event out, and the ledger proven."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import asyncpg
from aiokafka import AIOKafkaConsumer, TopicPartition

from avoir.cli.verify.query import verify
from avoir.wire.topics import EVENTS
from benchmarks.mix import Wire
from benchmarks.service import BenchmarkError
from benchmarks.testbed import PARTITIONS, Testbed

READ_S = 120.0
_DECISIONS = """
SELECT outcome, count(*) AS decisions, count(DISTINCT (topic, partition, kafka_offset)) AS messages
FROM avoir.decisions GROUP BY outcome
"""
# Of more malformed messages than the dead letters of a minute have room for, some are only counted.
_REJECTED = """
SELECT coalesce(sum(messages), 0)::bigint FROM avoir.dead_letters WHERE outcome IN ('rejected', 'summarised')
"""
_EVENTS = "SELECT coalesce(sum(seq), 0)::bigint FROM avoir.accounts"


async def check(bed: Testbed, messages: Sequence[Wire]) -> dict[str, Any]:
    """Raise BenchmarkError where something is not as it must be; else what was decided and published."""
    connection = await asyncpg.connect(
        bed.databases["service"],
        timeout=10,
        command_timeout=600,
        server_settings={"search_path": "avoir"},
    )
    try:
        outcomes = await _outcomes(connection, messages)
        differences = [
            each
            async for each in verify(
                connection, None, lambda _part, _rows: None, lambda _tenant, _sizes: None
            )
        ]
        numbered = await connection.fetchval(_EVENTS)
    finally:
        await connection.close()
    if differences:
        raise BenchmarkError(f"verify finds {len(differences)} differences, the first: {differences[0]}")
    published, sizes = await _published(bed)
    if published["numbered"] != numbered:
        raise BenchmarkError(f"{published['numbered']} events are out of {numbered} that have a number")
    return {
        "outcomes": outcomes,
        "published": published,
        "events": len(sizes),
        "event_bytes": sum(sizes) // max(1, len(sizes)),
    }


async def _outcomes(
    connection: "asyncpg.Connection[asyncpg.Record]", messages: Sequence[Wire]
) -> dict[str, int]:
    rows = await connection.fetch(_DECISIONS)
    decided = {row["outcome"]: row["decisions"] for row in rows}
    kinds = Counter(message.kind for message in messages)
    once = all(row["messages"] == row["decisions"] for row in rows)
    decided["rejected"] = await connection.fetchval(_REJECTED)
    if not once or sum(decided.values()) != len(messages):
        raise BenchmarkError(f"{len(messages)} messages, and these decisions: {decided}")
    must_be = {"rejected": kinds["rejected"], "duplicate": kinds["repeat"], "parked": 0, "conflict": 0}
    for outcome, expected in must_be.items():
        if decided.get(outcome, 0) != expected:
            raise BenchmarkError(f"{decided.get(outcome, 0)} messages are {outcome}, not {expected}")
    return decided


async def _published(bed: Testbed) -> tuple[dict[str, int], list[int]]:
    """Read every event back as a consumer does; of each account the numbers must begin at 1, rise and have no gap.

    Events are published at least once: what is not above an account's last number in a topic is dropped and counted.
    """
    counts: Counter[str] = Counter()
    seqs: dict[tuple[str, str], list[int]] = {}
    last: dict[tuple[str, str, str], int] = {}
    sizes: list[int] = []
    prefix = bed.prefix("service")
    places = [TopicPartition(prefix + topic, n) for topic in EVENTS for n in range(PARTITIONS)]
    async with AIOKafkaConsumer(bootstrap_servers=bed.kafka, isolation_level="read_committed") as consumer:
        consumer.assign(places)
        await consumer.seek_to_beginning(*places)
        ends = await consumer.end_offsets(places)
        until = time.monotonic() + READ_S
        while any([await consumer.position(place) < ends[place] for place in places]):
            if time.monotonic() > until:
                raise BenchmarkError("the events could not be read back in time")
            for place, records in (await consumer.getmany(timeout_ms=200)).items():
                topic = place.topic.removeprefix(prefix)
                for record in records:
                    counts[topic] += 1
                    sizes.append(len(record.value or b""))
                    event = (
                        {} if topic in ("credit-balance", "credit-dead-letter") else json.loads(record.value)
                    )
                    if (seq := event.get("seq")) is None:
                        continue
                    account = (event["tenant_id"], str(event["account"]))
                    if seq > last.get((topic, *account), 0):
                        last[topic, *account] = seq
                        seqs.setdefault(account, []).append(seq)
                    else:
                        counts["repeated"] += 1
            await asyncio.sleep(0)
    for account, found in seqs.items():
        if sorted(found) != list(range(1, len(found) + 1)):
            raise BenchmarkError(f"the events of {account} are numbered {sorted(found)}")
    return dict(counts) | {"numbered": sum(map(len, seqs.values()))}, sizes
