"""More messages that cannot be handled than are kept: counted over all processes, and the rest summarised."""

import asyncio
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from unittest.mock import Mock, patch

import asyncpg
import pytest

from avoir.core.decide import HANDLERS
from avoir.core.model.facts import PaymentRecorded
from avoir.postgres.connect import Connection
from avoir.postgres.headers import unpacked
from avoir.record import KEPT_BYTES, Cut, Record
from deploy.local.harness.databases import connection_to
from tests.integration.delivery import delivering
from tests.integration.records import value
from tests.integration.test_handle import cancellation, finalized
from tests.unit.core.world import invoice, line, message, payment

MOST = 10
TOPIC = "booking-cancelled"


@pytest.fixture(autouse=True)
def one_minute(monkeypatch: pytest.MonkeyPatch) -> datetime:
    """A small bound, and one minute for as long as the test says so."""
    now = datetime(2025, 6, 1, tzinfo=UTC)
    monkeypatch.setattr("avoir.batch.floods.MAX_DEAD_LETTERS", MOST)
    monkeypatch.setattr("avoir.batch.floods._minute", lambda _: now)
    return now


async def rows(connection: Connection, where: str = "true") -> list[asyncpg.Record]:
    return await connection.fetch(f"SELECT * FROM dead_letters WHERE {where} ORDER BY kafka_offset")


async def count(connection: Connection, table: str) -> int:
    found: int = await connection.fetchval(f"SELECT count(*) FROM {table}")
    return found


def hash_of(values: list[bytes]) -> bytes:
    return sha256(b"".join(sha256(each).digest() for each in values)).digest()


async def test_what_comes_beyond_the_bound_leaves_one_row_and_neither_bytes_nor_records(
    database: str,
) -> None:
    async with delivering(database) as (deliverer, _), connection_to(database) as connection:
        bad = [b"%d" % n for n in range(500)]
        report = await deliverer.deliver_values(
            [("invoice-finalized", value(finalized(1))), *((TOPIC, each) for each in bad)]
        )
        assert report.decisions == {("invoice-finalized", "recorded"): 1, (TOPIC, "rejected"): 500}
        assert len(await rows(connection, "outcome = 'rejected'")) == MOST
        (flood,) = await rows(connection, "outcome = 'summarised'")
        assert (flood["first_offset"], flood["kafka_offset"], flood["messages"]) == (MOST, 499, 490)
        assert flood["sha256"] == hash_of(bad[MOST:])
        assert await count(connection, "outbox") == MOST
        assert await count(connection, "decisions") == 1 + MOST
        assert len(report.notable) == MOST + 1
        again = await deliverer.deliver_values([(TOPIC, each) for each in bad])
        (more,) = await rows(connection, "outcome = 'summarised'")
        assert (more["first_offset"], more["kafka_offset"], more["messages"]) == (MOST, 999, 990)
        assert more["sha256"] == sha256(hash_of(bad[MOST:]) + hash_of(bad)).digest()
        assert again.statements <= 6
        assert await count(connection, "outbox") == MOST


async def test_a_new_minute_has_room_again(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    later = datetime(2025, 6, 1, 0, 1, tzinfo=UTC)
    async with delivering(database) as (deliverer, _), connection_to(database) as connection:
        for _ in range(2):
            await deliverer.deliver_values([(TOPIC, b"x")] * 15)
            monkeypatch.setattr("avoir.batch.floods._minute", lambda _: later)
        assert len(await rows(connection, "outcome = 'rejected'")) == 2 * MOST
        assert [row["messages"] for row in await rows(connection, "outcome = 'summarised'")] == [5, 5]
        monkeypatch.setattr("avoir.batch.floods._minute", lambda _: later - timedelta(minutes=1))
        await deliverer.deliver_values([(TOPIC, b"x")] * 15)
        assert len(await rows(connection, "outcome = 'rejected'")) == 2 * MOST


async def test_several_processes_keep_to_one_bound_and_each_topic_has_its_own(database: str) -> None:
    async with (
        delivering(database, partition=1) as (first, _),
        delivering(database, partition=2) as (second, _),
        connection_to(database) as connection,
    ):
        topics = (TOPIC, "payment-recorded")
        await asyncio.gather(
            *(
                each.deliver_values([(topic, b"x") for _ in range(8) for topic in topics])
                for each in (first, second)
            )
        )
        for topic in topics:
            assert len(await rows(connection, f"outcome = 'rejected' AND topic = '{topic}'")) == MOST
            floods = await rows(connection, f"outcome = 'summarised' AND topic = '{topic}'")
            assert sum(row["messages"] for row in floods) == 6


async def test_what_is_rolled_back_counts_for_nothing(database: str) -> None:
    async with delivering(database) as (deliverer, _), connection_to(database) as connection:
        lost = patch("avoir.batch.batch.write_rest", side_effect=asyncpg.DeadlockDetectedError("lost"))
        with lost, pytest.raises(asyncpg.DeadlockDetectedError):
            await deliverer.deliver_values([(TOPIC, b"x")] * 15)
        assert await count(connection, "dead_letters") == await count(connection, "dead_letter_rates") == 0
        await deliverer.deliver_values([(TOPIC, b"x")] * 15)
        assert len(await rows(connection, "outcome = 'rejected'")) == MOST


async def test_a_message_with_an_event_id_keeps_its_decision(database: str) -> None:
    async with delivering(database) as (deliverer, _), connection_to(database) as connection:
        named = [b'{"event_id": "e%d", "tenant_id": "t1"}' % n for n in range(30)]
        await deliverer.deliver_values([(TOPIC, each) for each in named])
        decided = await connection.fetch("SELECT event_id, outcome FROM decisions")
        assert {tuple(row) for row in decided} == {(f"e{n}", "rejected") for n in range(30)}
        assert len(await rows(connection, "outcome = 'rejected'")) == MOST


async def test_conflicts_are_bounded_and_what_avoir_parks_never(database: str) -> None:
    async with delivering(database) as (deliverer, _), connection_to(database) as connection:
        others = [message(f"e{n}", "06-01", invoice("i1", line("l1", "70", booking="b1"))) for n in range(30)]
        await deliverer.deliver([finalized(1), *others])
        assert len(await rows(connection, "outcome = 'conflict'")) == MOST
        assert await count(connection, "decisions") == 31
        with patch.dict(HANDLERS, {PaymentRecorded: Mock(side_effect=RuntimeError("a defect"))}):
            await deliverer.deliver([message(f"p{n}", "06-03", payment(f"p{n}", "100")) for n in range(9)])
            await deliverer.deliver([message(f"q{n}", "06-03", payment(f"q{n}", "100")) for n in range(9)])
        assert len(await rows(connection, "outcome = 'parked'")) == 18


async def test_the_bytes_of_a_minute_are_bounded_too(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("avoir.batch.floods.MAX_DEAD_LETTER_BYTES", 25_000)
    async with delivering(database) as (deliverer, _), connection_to(database) as connection:
        values = [bytes([65 + n]) * 10_000 for n in range(5)]
        await deliverer.deliver_values([(TOPIC, each) for each in values])
        dead_letters = await rows(connection)
        assert [row["value"] for row in dead_letters] == [
            *values[:2],
            *(each[:KEPT_BYTES] for each in values[2:]),
        ]
        hashes = [None, None, *(sha256(each).digest() for each in values[2:])]
        assert [row["sha256"] for row in dead_letters] == hashes
        assert [row["value_length"] for row in dead_letters] == [None, None, 10_000, 10_000, 10_000]
        assert {row["outcome"] for row in dead_letters} == {"rejected"}


async def test_a_part_of_a_batch_counts_with_all_its_messages(database: str) -> None:
    async with delivering(database) as (deliverer, _), connection_to(database) as connection:
        await deliverer.deliver_values([(TOPIC, b"x")] * MOST)
        cut = Cut("too large: a part", 33_000, sha256(b"part").digest(), 10, 50)
        record = Record(TOPIC, 0, 59, 0, None, b"first bytes", (), cut)
        await deliverer.deliver_records([record])
        (flood,) = await rows(connection, "outcome = 'summarised'")
        assert (flood["first_offset"], flood["kafka_offset"], flood["messages"]) == (10, 59, 50)


async def test_headers_of_others_that_look_like_avoirs_are_not_passed_on(database: str) -> None:
    async with delivering(database) as (deliverer, _), connection_to(database) as connection:
        forged = (
            ("avoir-topic", b"elsewhere"),
            ("AVOIR-Reason", b"none"),
            ("trace", b"1"),
            ("avoir-x", None),
        )
        record = Record(TOPIC, 0, 0, 0, b"k", b"{not json", forged)
        await deliverer.deliver_records([record])
        out = await connection.fetchval("SELECT headers FROM outbox WHERE topic = 'credit-dead-letter'")
        names = [name for name, _ in unpacked(out)]
        assert names == ["trace", "avoir-reason", "avoir-topic", "avoir-partition", "avoir-offset"]
        assert dict(unpacked(out))["avoir-topic"] == TOPIC.encode()
        (row,) = await rows(connection)
        assert row["header_names"] == [name.encode() for name, _ in forged]


async def test_a_neighbour_of_a_flood_is_decided_as_ever(database: str) -> None:
    async with delivering(database) as (deliverer, _), connection_to(database) as connection:
        flood = [(TOPIC, b"x")] * 40
        good = [("invoice-finalized", value(finalized(1))), (TOPIC, value(cancellation(1)))]
        report = await deliverer.deliver_values([*flood, *good, *flood])
        assert report.decisions["booking-cancelled", "issued"] == 1
        assert await connection.fetchval("SELECT count(*) FROM grants") == 1
