"""Statements and the liability report as finance people call them, on a real database."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from avoir.cli.base.exits import Exit
from avoir.core.model.events import AccountKey
from avoir.postgres.connect import Connection
from tests.integration.command import Command
from tests.integration.direct_handler import DirectHandler, cancellation, invoice
from tests.integration.ledger_rows import EUR, Book, cancelled_booking, day
from tests.integration.test_read_statement import tamper

KEY = AccountKey("t1", "user", "u1", "EUR")
WHOSE = ("user/u1", "--tenant", "t1")


@pytest.fixture(autouse=True)
def _settings(monkeypatch: pytest.MonkeyPatch, database: str) -> None:
    monkeypatch.setenv("AVOIR_POSTGRES_DSN", database)


async def test_what_the_service_did_adds_up_in_every_form(command: Command, database: str) -> None:
    handler = DirectHandler(database)
    booking = {"kind": "booking", "booking_id": "b1", "paid": "121.00"}
    await handler.handle("invoice-finalized", **invoice("i1", "121.00", "2025-06-01T00:00:00Z", **booking))
    await handler.handle("booking-cancelled", **cancellation("b1", "2025-06-02T00:00:00Z"))
    await handler.handle("invoice-finalized", **invoice("i2", "80.00", "2025-06-05T00:00:00Z"))
    await handler.close()
    rows = await command.csv("statement", *WHOSE)
    assert [each["document_number"] for each in rows if each["row"] == "movement"] == ["N-i1", "N-i2"]
    assert [each["cause_topic"] for each in rows if each["row"] == "movement"] == [
        "booking-cancelled",
        "invoice-finalized",
    ]
    said = await command.text("statement", *WHOSE)
    assert "booking b1, invoice N-i1" in said
    assert "Available: 41.00 EUR, reserved: 0.00." in said
    document = await command.json("report", "liability")
    (euros,) = document["tenants"][0]["currencies"]
    assert (euros["outstanding"], euros["sources"][0]["source"]) == ("41.00", "booking_cancelled")
    assert document["tenants"][0]["adds_up"] is True
    assert "The totals match what the accounts held then." in await command.text("report", "liability")


async def test_granted_reserved_drawn_and_refunded_credit(command: Command, database: str) -> None:
    handler = DirectHandler(database)
    common: dict[str, Any] = {
        "owner": {"type": "user", "id": "u1"},
        "currency": "EUR",
        "actor": {"type": "admin", "id": "a1"},
    }

    async def ask(topic: str, **more: Any) -> None:
        await handler.handle(topic, occurred_at=datetime.now(UTC).isoformat(), **common, **more)

    await ask("grant-credit", amount="50.00", reason="purchase", reference="order_7")
    await ask("grant-credit", amount="5.00", reason="goodwill")
    later = (datetime.now(UTC) + timedelta(days=3)).isoformat()
    await ask("grant-credit", amount="9.00", reason="goodwill", effective_at=later)
    await ask("apply-credit", amount="20.00", invoice_id="i1", grant_id=None)
    await ask("draw-credit", amount="0.000125", reference="usage_17", allow_partial=False)
    await ask("refund-credit", amount="10.00", reference="gateway 4711", grant_id=None)
    at = datetime.now(UTC).isoformat()
    await handler.handle("invoice-finalized", **invoice("i1", "12.00", at))
    await handler.close()
    (account,) = (await command.json("statement", *WHOSE))["accounts"]
    assert [(each["event"], each["amount"]) for each in account["movements"]] == [
        ("issued", "50.00"),
        ("issued", "5.00"),
        ("reserved", "0.00"),
        ("reserved", "0.00"),
        ("drawn", "-0.000125"),
        ("refunded", "-10.00"),
        ("applied", "-5.00"),
        ("applied", "-7.00"),
        ("reinstated", "0.00"),
    ]
    assert account["closing"] == {"available": "32.999875", "reserved": "0.00"}
    said = await command.text("statement", *WHOSE)
    for words in ("reference order_7", "reserved 5.00", "reference usage_17", "released 8.00"):
        assert words in said
    assert "granted: purchase 32.999875 0.00 32.999875" in await command.text("report", "liability")
    rows = await command.csv("report", "liability")
    assert [(each["reason"], each["paid_for"], each["outstanding"]) for each in rows] == [
        ("purchase", "yes", "32.999875")
    ]


async def test_text_of_messages_is_no_formula_in_csv(command: Command, database: str) -> None:
    handler = DirectHandler(database)
    common: dict[str, Any] = {
        "occurred_at": datetime.now(UTC).isoformat(),
        "owner": {"type": "user", "id": "=1+1"},
        "currency": "EUR",
        "actor": {"type": "admin", "id": "a1"},
    }
    await handler.handle("grant-credit", amount="80.00", reason="adjustment", reference="@SUM(1)", **common)
    await handler.handle("draw-credit", amount="1.00", reference="-1+1", allow_partial=False, **common)
    await handler.close()
    rows = await command.csv("statement", "user/=1+1", "--tenant", "t1")
    assert {each["owner_id"] for each in rows} == {"'=1+1"}
    moved = [(each["document_id"], each["amount"]) for each in rows if each["row"] == "movement"]
    assert moved == [("'@SUM(1)", "80.00"), ("'-1+1", "-1.00")]


async def test_the_rows_of_a_statement_sum_to_its_balance(command: Command, connection: Connection) -> None:
    book, grant = await cancelled_booking(connection, KEY)
    await book.post(grant, -EUR, "reserved", day(6), event="reserved", reason="command", event_id="c1")
    await book.post(grant, -125, "drawn", day(7), event="drawn", reason="usage", event_id="c2")
    rows = await command.csv("statement", *WHOSE, "--from", "2025-06-03", "--until", "2025-07-01")
    at = {each["row"]: Decimal(each["balance"]) for each in rows if each["row"] in ("opening", "closing")}
    moved = [Decimal(each["amount"]) for each in rows if each["row"] == "movement"]
    assert at["opening"] + sum(moved) == at["closing"] == Decimal("40.999875")
    assert moved == [Decimal("-80"), 0, Decimal("-0.000125")]


async def test_expired_credit_is_never_shown_as_available(command: Command, connection: Connection) -> None:
    book = await Book(connection, KEY).open()
    now = datetime.now(UTC)
    await book.grant("gone", 5 * EUR, day(1), expires_at=now)
    await book.grant("soon", 7 * EUR, day(1), expires_at=now + timedelta(days=3))
    said = await command.text("statement", *WHOSE)
    assert "Not expired 7.00 0.00" in said
    assert "Available: 7.00 EUR" in said
    document = await command.json("report", "liability", "--tenant", "t1")
    (euros,) = document["tenants"][0]["currencies"]
    assert (euros["available"], euros["expired_unswept"]["available"]) == ("7.00", "5.00")
    assert euros["expires_in_days"] == {"30": "7.00", "60": "7.00", "90": "7.00"}


async def test_a_tampered_ledger_ends_with_1_and_names_the_account(
    command: Command, connection: Connection
) -> None:
    await cancelled_booking(connection, KEY)
    await tamper(connection, "UPDATE entries SET amount = amount + 1000000 WHERE seq = 1")
    said = await command.text("statement", *WHOSE, code=Exit.FOUND)
    assert "THE MOVEMENTS DO NOT ADD UP." in said
    assert (
        "tenant t1, account user/u1 EUR, entry 1.1: balance of available is 121.00, expected 122.00" in said
    )
    assert (await command.json("statement", *WHOSE, code=Exit.FOUND))["accounts"][0]["adds_up"] is False
    said = await command.text("report", "liability", "--as-of", "2025-07-01", code=Exit.FOUND)
    assert "The totals DO NOT MATCH what the accounts held then." in said
    assert "tenant t1, account user/u1 EUR: available as of then is 41.00, expected 42.00" in said
    await command.csv("report", "liability", code=Exit.FOUND)


async def test_nobody_and_nothing(command: Command, connection: Connection) -> None:
    assert "There is no account yet." in await command.text("report", "liability")
    assert (await command.json("report", "liability"))["tenants"] == []
    await Book(connection, KEY).open()
    assert "No credit is outstanding." in await command.text("report", "liability")
    assert await command.csv("report", "liability", "--tenant", "t1") == []
    said = await command.text("report", "liability", "--tenant", "t2", code=Exit.FOUND)
    assert said == "No account in tenant t2."
    assert "user/u9 has no account" in await command.text(
        "statement", "user/u9", "--tenant", "t1", code=Exit.FOUND
    )


async def test_a_moment_to_come_is_refused_and_a_recent_one_said_to_be_open(
    command: Command, connection: Connection
) -> None:
    await Book(connection, KEY).open()
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    for call in (("statement", *WHOSE), ("report", "liability")):
        said = await command.text(*call, "--as-of", later, code=Exit.USAGE)
        assert "is in the future: the database clock says" in said
    recent = (datetime.now(UTC) - timedelta(seconds=5)).isoformat()
    assert "For final figures, run this again" in await command.text("report", "liability", "--as-of", recent)
    assert "final" not in await command.text("report", "liability", "--as-of", "2025-07-01")


async def test_tables_stay_within_100_columns(command: Command, connection: Connection) -> None:
    book, _ = await cancelled_booking(connection, KEY)
    await book.grant("g", 12_345_678_125_000, day(3), source="granted", reason="purchase", expires_at=day(30))
    for call in (
        ("statement", *WHOSE, "--as-of", "2025-06-29"),
        ("report", "liability", "--as-of", "2025-06-29"),
    ):
        lines = await command.lines(*call)
        assert max(map(len, lines)) <= 100
        assert any("12345678.125" in line for line in lines)
