"""What was set aside is taken up again in batches of bounded size, and all of each message counts."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from pydantic import SecretStr

from avoir.batch.deferral import Deferral, DeferredRow
from avoir.postgres.connect import Database, KeptConnection
from avoir.postgres.headers import packed
from avoir.postgres.session import Session
from avoir.record import Record, TopicPartition
from avoir.wire.incoming import UnreadableRecord
from tests.integration.delivery import GROUP

PLACE = TopicPartition("draw-credit", 0)
LOCKED = ("account", "t1", "user", "u1", "EUR")
SMALL = Record(*PLACE, 0, 0, None, b"x")
LARGE = b"x" * 300_000
LARGE_IN = {
    "value": replace(SMALL, value=LARGE),
    "key": replace(SMALL, key=LARGE),
    "headers": replace(SMALL, headers=(("h", LARGE),)),
}
every_part = pytest.mark.parametrize("record", LARGE_IN.values(), ids=LARGE_IN)


@pytest.fixture
async def kept(database: str) -> AsyncIterator[KeptConnection]:
    kept = KeptConnection(Database(SecretStr(database)))
    yield kept
    await kept.close()


async def set_aside(kept: KeptConnection, records: list[Record]) -> None:
    """Records that wait for one account."""
    waits_for = json.dumps(LOCKED, separators=(",", ":"))
    rows = [
        DeferredRow(
            tenant_id="t1",
            group_id=GROUP,
            topic=each.topic,
            partition=each.partition,
            kafka_offset=each.offset,
            waits_for=waits_for,
            concerns="[]",
            timestamp_ms=each.timestamp_ms,
            key=each.key,
            value=each.value,
            headers=packed(each.headers),
        )
        for each in records
    ]
    async with kept.use() as connection:
        await Session(connection).copy("deferred", DeferredRow._fields, rows)


@every_part
async def test_they_come_in_their_order_and_no_further_than_a_mebibyte(
    record: Record, kept: KeptConnection
) -> None:
    records = [replace(record, offset=n) for n in range(10)]
    await set_aside(kept, records)
    assert await Deferral(GROUP).oldest(kept, [PLACE], [LOCKED]) == records[:4]


async def test_many_small_ones_come_together_and_one_large_one_alone(kept: KeptConnection) -> None:
    small = [replace(SMALL, offset=n) for n in range(600)]
    await set_aside(kept, small)
    assert await Deferral(GROUP).oldest(kept, [PLACE], [LOCKED]) == small[:500]
    other = TopicPartition("draw-credit", 1)
    large = [replace(SMALL, partition=1, offset=n, value=5 * LARGE) for n in range(2)]
    await set_aside(kept, large)
    assert await Deferral(GROUP).oldest(kept, [other], [LOCKED]) == large[:1]


@every_part
async def test_what_waits_is_full_by_keys_values_and_headers(
    record: Record, kept: KeptConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = [replace(record, offset=n) for n in range(3)]
    messages = [UnreadableRecord(each, "", "t1", "") for each in records]
    fresh = Deferral(GROUP)
    fresh.stored(messages, dict.fromkeys(range(3), (LOCKED, set())))
    await set_aside(kept, records)
    stored = Deferral(GROUP)
    await stored.freed(kept, [PLACE])
    monkeypatch.setattr("avoir.batch.deferral.MAX_BYTES", 3 * len(LARGE))
    assert fresh.is_full and stored.is_full
    monkeypatch.setattr("avoir.batch.deferral.MAX_BYTES", 3 * len(LARGE) + 100)
    assert not fresh.is_full and not stored.is_full
