"""A handler that only counts: each message once, numbered by key, so that tests of the shell see every slip."""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from avoir.postgres import queries
from avoir.postgres.connect import KeptConnection
from avoir.record import BatchReport, Fenced, Notable, Record, TopicPartition
from avoir.settings import Settings
from deploy.local.harness.service import ServiceProcess, environment_of, service_process

OUT = "credit-issued"
PROGRAM = (sys.executable, "-m", "tests.integration.counting_handler")


class CountingHandler:
    """Claims each message's value as its id, and writes an outbox row with the next number of its key.

    In one transaction with the offsets, like the real handler. A value of `park...` counts as parked,
    `expire` of a number that a test has set.
    """

    def __init__(self, settings: Settings, connection: KeptConnection) -> None:
        self._kept = connection
        self._group_id = settings.kafka_group_id
        self.batches: list[list[Record]] = []
        self.to_expire = 0
        self.fault: Exception | None = None

    async def handle(self, records: Sequence[Record], positions: Mapping[TopicPartition, int]) -> BatchReport:
        self.batches.append(list(records))
        if self.fault is not None:
            raise self.fault
        following = {TopicPartition(record.topic, record.partition): record.offset + 1 for record in records}
        places = sorted(following)
        async with self._kept.use() as connection, connection.transaction():
            await connection.execute(*queries.lock_offsets(group_id=self._group_id, partitions=places))
            moved = await connection.fetch(
                *queries.advance_offsets(
                    group_id=self._group_id,
                    partitions=places,
                    next_offsets=[following[place] for place in places],
                    expected=[positions[place] for place in places],
                ),
            )
            if len(moved) != len(places):
                raise Fenced(f"{len(places) - len(moved)} of {len(places)} partitions moved on")
            new = await self._claim(connection, records)
            await self._write(connection, new)
        return self._report(records, len(new))

    def forget(self) -> None:
        pass

    def has_deferred(self, positions: Mapping[TopicPartition, int]) -> bool:
        return False

    async def expire(self, limit: int) -> BatchReport:
        done = min(limit, self.to_expire)
        self.to_expire -= done
        return BatchReport(done, {("expiry", "applied"): done} if done else {})

    async def _claim(self, connection: Any, records: Sequence[Record]) -> list[Record]:
        rows = await connection.fetch(
            "INSERT INTO inbox (tenant_id, topic, event_id, contents)"
            " SELECT 't1', 'tally', v.id, '' FROM unnest($1::text[]) AS v (id) ORDER BY v.id"
            " ON CONFLICT DO NOTHING RETURNING event_id",
            sorted({(record.value or b"").decode() for record in records}),
        )
        claimed = {row["event_id"] for row in rows}
        new = []
        for record in records:
            value = (record.value or b"").decode()
            if value in claimed:
                claimed.remove(value)
                new.append(record)
        return new

    async def _write(self, connection: Any, records: Sequence[Record]) -> None:
        keys = sorted({(record.key or b"").decode() for record in records})
        await connection.execute(
            "INSERT INTO accounts (tenant_id, owner_type, owner_id, currency)"
            " SELECT 't1', 'user', k, 'EUR' FROM unnest($1::text[]) AS k ON CONFLICT DO NOTHING",
            keys,
        )
        rows = await connection.fetch(
            "SELECT owner_id, seq FROM accounts WHERE owner_id = ANY ($1) ORDER BY owner_id FOR UPDATE", keys
        )
        seqs = {row["owner_id"]: row["seq"] for row in rows}
        values = []
        for record in records:
            key = (record.key or b"").decode()
            seqs[key] += 1
            values.append(json.dumps({"seq": seqs[key], "id": (record.value or b"").decode()}).encode())
        await connection.execute(
            "UPDATE accounts a SET seq = v.seq FROM unnest($1::text[], $2::bigint[]) AS v (k, seq)"
            " WHERE a.owner_id = v.k",
            list(seqs),
            list(seqs.values()),
        )
        await connection.execute(
            "INSERT INTO outbox (tenant_id, topic, key, value, headers, recorded_at)"
            " SELECT 't1', $1, v.k, v.value, '\\x90', clock_timestamp()"
            " FROM unnest($2::bytea[], $3::bytea[]) WITH ORDINALITY AS v (k, value, n) ORDER BY v.n",
            OUT,
            [record.key for record in records],
            values,
        )

    def _report(self, records: Sequence[Record], new: int) -> BatchReport:
        parked = [record for record in records if (record.value or b"").startswith(b"park")]
        return BatchReport(
            len(records),
            {("tally", "issued"): new - len(parked), ("tally", "parked"): len(parked)},
            {("credit-issued", "EUR"): new * 1_000_000},
            [Notable(r.topic, (r.value or b"").decode(), "t1", "parked", "test") for r in parked],
            statements=6,
        )


def counting_process(settings: Settings, log: Path) -> AbstractContextManager[ServiceProcess]:
    """A process of the service with this handler."""
    return service_process(environment_of(settings), log, PROGRAM)


if __name__ == "__main__":
    from avoir.process.serve import serve

    assert os.environ["AVOIR_KAFKA_BOOTSTRAP_SERVERS"]
    sys.exit(serve(Settings(), CountingHandler))
