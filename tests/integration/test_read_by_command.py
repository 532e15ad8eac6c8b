"""The commands against a real broker and a real database, as an operator calls them."""

import asyncio
import json
import re
from codecs import BOM_UTF8
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer

from avoir.cli.base.exits import Exit
from deploy.local.harness.databases import connection_to, execute
from deploy.local.harness.records import produce
from deploy.local.kafka import Kafka
from tests.integration.command import Command
from tests.integration.direct_handler import GROUP, DirectHandler, cancellation, invoice
from tests.integration.unreadable import produce_unreadable

BOOKING = {"kind": "booking", "booking_id": "b1", "paid": "121.00"}


@pytest.fixture(autouse=True)
def _settings(monkeypatch: pytest.MonkeyPatch, kafka: str, database: str, topic_prefix: str) -> None:
    monkeypatch.setenv("AVOIR_KAFKA_BOOTSTRAP_SERVERS", kafka)
    monkeypatch.setenv("AVOIR_POSTGRES_DSN", database)
    monkeypatch.setenv("AVOIR_KAFKA_TOPIC_PREFIX", topic_prefix)
    monkeypatch.setenv("AVOIR_KAFKA_PARTITIONS", "2")


async def prepare(database: str, *more: tuple[str, dict[str, Any]]) -> None:
    """Booking b1 of 121.00, paid on i1, cancelled; 80.00 of the credit used on i2."""
    handler = DirectHandler(database)
    try:
        for topic, value in (
            ("invoice-finalized", invoice("i1", "121.00", "2025-06-01T00:00:00Z", **BOOKING)),
            ("booking-cancelled", cancellation("b1", "2025-06-02T00:00:00Z")),
            ("invoice-finalized", invoice("i2", "80.00", "2025-06-05T00:00:00Z")),
            *more,
        ):
            await handler.handle(topic, **value)
    finally:
        await handler.close()


async def test_balance_and_statement(command: Command, database: str) -> None:
    await prepare(database)
    (account,) = (await command.json("balance", "user/u1", "--tenant", "t1"))["accounts"]
    assert (account["available"], account["reserved"], account["seq"]) == ("41.00", "0.00", 2)
    assert "user/u1 EUR 41.00 0.00" in await command.text("balance", "--tenant", "t1")
    (statement,) = (await command.json("statement", "user/u1", "--tenant", "t1"))["accounts"]
    assert [each["amount"] for each in statement["movements"]] == ["121.00", "-80.00"]
    assert statement["closing"] == {"available": "41.00", "reserved": "0.00"}
    assert statement["adds_up"] is True
    assert "The movements add up." in await command.text("statement", "user/u1", "--tenant", "t1")
    await command.text("balance", "user/nobody", "--tenant", "t1", code=Exit.FOUND)
    await command.text("statement", "user/u1", "--tenant", "t2", code=Exit.FOUND)


async def test_explain_in_words_and_as_json(command: Command, database: str) -> None:
    await prepare(database)
    words = await command.text("explain", "--booking", "b1", "--tenant", "t1")
    assert (
        "On 2 June 2025 booking b1 was cancelled by the customer. It had been billed on invoice i1 of 1 June 2025 "
        "(121.00 EUR, paid). Credit of 121.00 EUR was given."
    ) in words
    assert "On 5 June 2025 80.00 EUR of it was used on invoice i2." in words
    explanation = await command.json("explain", "e2", "--tenant", "t1")
    assert explanation["decisions"][0]["reason"] == "booking_cancelled"
    assert explanation["grants"][0]["available"] == "41.00"
    await command.text("explain", "--booking", "other", "--tenant", "t1", code=Exit.FOUND)


async def test_verify_in_words_and_as_json(command: Command, database: str) -> None:
    await prepare(database)
    assert "no differences" in await command.text("verify")
    await execute(database, "UPDATE avoir.accounts SET available = available + 10000")
    said = await command.text("verify", "--tenant", "t9", code=Exit.FOUND)
    assert said == "Nothing is known about tenant t9."
    said = await command.text("verify", "--tenant", "t1", code=Exit.FOUND)
    assert "tenant t1, account user/u1 EUR: available is 41.01, expected 41.00" in said
    (found,) = (await command.json("verify", code=Exit.FOUND))["found"]
    assert (found["expected"], found["found"]) == ("41.00", "41.01")


async def test_topics_send_and_status(
    command: Command, topic_prefix: str, kafka: str, tmp_path: Path
) -> None:
    await command.text("send", "booking-cancelled", _file(tmp_path, cancelled("e1")), code=Exit.FOUND)
    assert len((await command.json("topics", "create"))["created"]) == 29
    assert len((await command.json("topics", "create"))["existing"]) == 29
    assert await command.json(
        "send", "booking-cancelled", _file(tmp_path, cancelled("e1"), cancelled("e2"))
    ) == {
        "sent": 2,
        "by_topic": {"booking-cancelled": 2},
    }
    envelope = {"topic": "booking-cancelled", "value": cancelled("e3")}
    assert (await command.json("send", "-", _file(tmp_path, envelope)))["sent"] == 1
    raw = tmp_path / "raw.jsonl"
    raw.write_bytes(BOM_UTF8 + b"\xff not JSON\n")
    assert (await command.json("send", "booking-cancelled", str(raw), "--raw"))["sent"] == 1
    marked = tmp_path / "marked.jsonl"
    marked.write_bytes(BOM_UTF8 + json.dumps(cancelled("e4")).encode() + b"\r\n")
    assert (await command.json("send", "booking-cancelled", str(marked)))["sent"] == 1
    status = await command.json("status")
    assert {each["topic"]: each["lag"] for each in status["topics"]}["booking-cancelled"] == 5
    assert status["epoch"] == 1
    assert "Outbox 0 waiting" in await command.text("status")
    values = [
        value for _, value in await asyncio.to_thread(_read, kafka, f"{topic_prefix}booking-cancelled", 5)
    ]
    assert b"\xff not JSON" in values
    assert json.dumps(cancelled("e4")).encode() in values


def cancelled(event_id: str) -> dict[str, Any]:
    return {"event_id": event_id, "tenant_id": "t1", **cancellation("b1", "2025-06-02T00:00:00Z")}


def _file(folder: Path, *messages: dict[str, Any]) -> str:
    file = folder / "messages.jsonl"
    file.write_text("".join(f"{json.dumps(each)}\n" for each in messages))
    return str(file)


def _read(kafka: str, topic: str, count: int) -> list[tuple[Any, bytes | None]]:
    consumer = Consumer(
        {
            "bootstrap.servers": kafka,
            "group.id": f"read-{topic}",
            "auto.offset.reset": "earliest",
            "log_level": 0,
        }
    )
    consumer.subscribe([topic])
    try:
        return [(each.headers(), each.value()) for each in consumer.consume(count, timeout=20)]
    finally:
        consumer.close()


async def test_dead_letters_are_listed_shown_and_replayed(
    command: Command, database: str, topic_prefix: str, kafka: str
) -> None:
    handler = DirectHandler(database)
    await handler.handle_bytes("booking-cancelled", b"\xff\x00")
    await handler.close()
    await command.text("topics", "create")
    (dead_letter,) = (await command.json("dead-letters", "list"))["dead_letters"]
    assert (dead_letter["outcome"], dead_letter["topic"], dead_letter["offset"]) == (
        "rejected",
        "booking-cancelled",
        0,
    )
    id_ = dead_letter["dead_letter_id"]
    assert id_ in await command.text("dead-letters", "list", "--outcome", "rejected")
    assert (await command.json("dead-letters", "show", id_))["value"]["hex"] == "ff00"
    shown = await command.text("dead-letters", "show", id_)
    assert "\\xff" in shown
    assert re.search(r"partition\s+0\s", shown) and re.search(r"offset\s+0\s", shown)
    assert await command.json("dead-letters", "replay", id_) == {"replayed": [id_]}
    assert await command.json("dead-letters", "replay", id_, code=Exit.FOUND) == {"replayed": []}
    ((_, value),) = await asyncio.to_thread(_read, kafka, f"{topic_prefix}booking-cancelled", 1)
    assert value == b"\xff\x00"
    assert (await command.json("dead-letters", "list"))["dead_letters"] == []
    assert len((await command.json("dead-letters", "list", "--all"))["dead_letters"]) == 1


async def test_a_record_without_key_and_value_cannot_be_replayed(command: Command, database: str) -> None:
    id_ = "0b0e2a62-4f0f-5a35-9f47-0b8ae52a9d8a"
    async with connection_to(database) as connection:
        await connection.execute(
            "INSERT INTO dead_letters (tenant_id, dead_letter_id, outcome, reason, event_id, topic, partition,"
            " kafka_offset, header_names, header_values, recorded_at)"
            f" VALUES ('', '{id_}', 'rejected', 'no message', '', 'invoice-voided', 0, 7, '{{}}', '{{}}', now())"
        )
    said = await command.text("dead-letters", "replay", id_, code=Exit.FOUND)
    assert said == f"{id_} has neither key nor value: there is nothing to replay."
    (left,) = (await command.json("dead-letters", "list"))["dead_letters"]
    assert left["replayed_at"] is None


async def test_only_the_record_at_which_the_service_stands_is_passed_by_and_only_if_it_cannot_be_read(
    command: Command, database: str, own_kafka: Kafka, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kafka = own_kafka.bootstrap_servers
    monkeypatch.setenv("AVOIR_KAFKA_BOOTSTRAP_SERVERS", kafka)
    await command.text("topics", "create", "--partitions", "1", "--replication", "1")
    topic = topic_prefix + "booking-cancelled"
    async with connection_to(database) as connection:
        await connection.execute(
            f"INSERT INTO consumer_offsets VALUES ('{GROUP}', 'booking-cancelled', 0, 0)"
        )
    at = ("booking-cancelled", "0")
    said = await command.text("dead-letters", "skip", *at, "0", "--reason", "damaged", code=Exit.FOUND)
    assert said == "There is no record at booking-cancelled/0@0: nothing to skip."
    await produce(kafka, [(topic, b"k", b"{}")])
    said = await command.text("dead-letters", "skip", *at, "0", "--reason", "damaged", code=Exit.FOUND)
    assert said.startswith("The record at booking-cancelled/0@0 can be read")
    await produce_unreadable(own_kafka, topic, 0)
    async with connection_to(database) as connection:
        assert await connection.fetchval("SELECT next_offset FROM consumer_offsets") == 0
        await connection.execute("UPDATE consumer_offsets SET next_offset = 1")
    said = await command.text("dead-letters", "skip", *at, "5", "--reason", "damaged", code=Exit.FOUND)
    assert f"Group {GROUP} is at booking-cancelled/0@1" in said
    wrong = ("booking-cancel", "0", "1", "--reason", "damaged")
    said = await command.text("dead-letters", "skip", *wrong, code=Exit.FOUND)
    assert said.endswith("no position in booking-cancel/0. Did you mean booking-cancelled?")
    said = await command.text("dead-letters", "list", "--topic", "booking-cancel")
    assert said == "No dead letters. Did you mean booking-cancelled?"
    assert (await command.json("dead-letters", "skip", *at, "1", "--reason", "wrong checksum"))[
        "next_offset"
    ] == 2
    (dead_letter,) = (await command.json("dead-letters", "list", "--outcome", "skipped"))["dead_letters"]
    assert dead_letter["reason"] == "wrong checksum"
    await command.text("dead-letters", "replay", dead_letter["dead_letter_id"], code=Exit.FOUND)


async def test_a_position_outside_of_its_topic_is_seen_and_moved(command: Command, database: str) -> None:
    await command.text("topics", "create", "--partitions", "1", "--replication", "1")
    await execute(
        database, f"INSERT INTO avoir.consumer_offsets VALUES ('{GROUP}', 'booking-cancelled', 0, 999)"
    )
    assert "outside" in await command.text("offsets", "list", code=Exit.FOUND)
    assert "booking-cancelled/0 is stopped" in await command.text("status")
    topics = {each["topic"]: each["outside"] for each in (await command.json("status"))["topics"]}
    assert topics.pop("booking-cancelled") == [0] and not any(topics.values())
    place = ("offsets", "set", "booking-cancelled", "0")
    await command.text(*place, "7", "--reason", "recreated", code=Exit.USAGE)
    wrong = ("offsets", "set", "booking-cancel", "0", "begin", "--reason", "recreated")
    assert "Did you mean booking-cancelled?" in await command.text(*wrong, code=Exit.FOUND)
    moved = await command.json(*place, "begin", "--reason", "recreated")
    assert (moved["before"], moved["next_offset"]) == (999, 0)
    assert (await command.json("offsets", "list"))["offsets"]
    (dead_letter,) = (await command.json("dead-letters", "list", "--outcome", "skipped"))["dead_letters"]
    assert dead_letter["reason"] == "moved from 999 to 0: recreated"


async def test_an_epoch_is_raised(command: Command) -> None:
    assert (await command.json("epoch", "raise", "--reason", "restored"))["epoch"] == 2
    assert (await command.json("status", code=Exit.OK))["epoch"] == 2


async def test_a_database_without_the_schema_is_told_to_migrate(
    command: Command, postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await execute(postgres, "CREATE DATABASE avoir_bare")
    try:
        monkeypatch.setenv("AVOIR_POSTGRES_DSN", postgres.rsplit("/", 1)[0] + "/avoir_bare")
        said = await command.text("balance", "--tenant", "t1", code=Exit.UNREACHABLE)
        assert "run `avoir migrate`" in said
        assert (await command.json("migrate"))["applied"]
        assert (await command.json("migrate"))["applied"] == []
        await command.text("balance", "--tenant", "t1", code=Exit.FOUND)
    finally:
        await execute(postgres, "DROP DATABASE avoir_bare WITH (FORCE)")
