"""`verify` finds what somebody changed in what commands wrote: credit set aside, to come, by lines, and policies."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from avoir.cli.base.differences import Difference
from avoir.cli.verify.query import verify
from avoir.core.model.decision import CUT
from avoir.postgres.connect import Connection
from avoir.postgres.migrate import migrations
from tests.integration.direct_handler import DirectHandler, cancellation, invoice

OWNER = {"type": "user", "id": "u1"}
ASKED: dict[str, Any] = {"actor": {"type": "admin", "id": "a1"}, "owner": OWNER, "currency": "EUR"}
LATER = "2125-01-01T00:00:00Z"


@pytest.fixture
async def connection(database: str) -> AsyncIterator[Connection]:
    settings = {"search_path": "avoir", "session_replication_role": "replica"}
    connection = await asyncpg.connect(database, server_settings=settings)
    yield connection
    await connection.close()


async def differences(connection: Connection) -> list[Difference]:
    found = verify(connection, None, lambda _name, _rows: None, lambda _tenant, _sizes: None)
    return [each async for each in found]


def line_of(amount: str) -> dict[str, str]:
    return {"line_id": "l", "kind": "other", "amount": amount}


async def line_item(handler: DirectHandler, connection: Connection, **more: str) -> str:
    """The grant of a booking of 50.00 that was paid on i1 and cancelled, under a policy that makes it a line item."""
    scope: dict[str, Any] = {"actor": ASKED["actor"], "scope": {"owner": OWNER}}
    policy = {"credit_as": "line_item"} | more
    await handler.handle("set-credit-policy", occurred_at="2025-05-01T00:00:00Z", **scope, policy=policy)
    bill = invoice("i1", "50.00", "2025-06-01T00:00:00Z", kind="booking", booking_id="b1", paid="50.00")
    await handler.handle("invoice-finalized", **bill)
    await handler.handle("booking-cancelled", **cancellation("b1", "2025-06-02T00:00:00Z"))
    made: str = await connection.fetchval("SELECT grant_id::text FROM grants")
    return made


async def prepare(handler: DirectHandler, connection: Connection) -> None:
    """A line item of 50.00 of which invoice i2 uses 70.00; 20.00 by hand, 12.00 of it set aside; 15.00 to come."""
    refill = {"refill_threshold": "5.00", "refill_amount": "50.00", "currency": "EUR"}
    grant_id = await line_item(handler, connection, **refill)
    lines = [
        {"line_id": "l1", "kind": "other", "amount": "100.00"},
        {"line_id": "l2", "kind": "credit", "amount": "-70.00", "credit_line_id": grant_id},
    ]
    used = invoice("i2", "30.00", "2025-06-03T00:00:00Z", paid="30.00") | {"lines": lines}
    await handler.handle("invoice-finalized", **used)
    grant: dict[str, Any] = {"occurred_at": "2025-06-04T00:00:00Z", **ASKED, "reason": "goodwill"}
    await handler.handle("grant-credit", **grant, amount="20.00", reference="R1", note="sorry")
    await handler.handle("grant-credit", **grant, amount="15.00", effective_at=LATER)
    await handler.handle(
        "apply-credit",
        occurred_at="2025-06-05T00:00:00Z",
        **ASKED,
        invoice_id="i9",
        amount="12.00",
        grant_id=None,
    )


async def test_nothing_differs_in_what_commands_wrote(handler: DirectHandler, connection: Connection) -> None:
    await prepare(handler, connection)
    assert await differences(connection) == []
    assert await connection.fetchval("SELECT sum(shortfall) FROM entitlements WHERE kind = 'credit_line'") > 0


async def test_what_had_been_moved_of_a_line_item_is_known_after_the_migration_that_keeps_it(
    handler: DirectHandler, connection: Connection
) -> None:
    grant_id = await line_item(handler, connection)
    use: dict[str, Any] = {"occurred_at": "2025-06-03T00:00:00Z", **ASKED, "amount": "30.00"}
    await handler.handle("apply-credit", **use, invoice_id="i9", grant_id=grant_id)
    lines = [{"line_id": "l1", "kind": "credit", "amount": "-25.00", "credit_line_id": grant_id}]
    used = invoice("i2", "-25.00", "2025-06-04T00:00:00Z") | {"lines": lines}
    await handler.handle("invoice-finalized", **used)
    kept = "SELECT amount, moved FROM reservations WHERE invoice_id = 'i9'"
    assert tuple(await connection.fetchrow(kept) or ()) == (25_000_000, 25_000_000)
    assert await differences(connection) == []
    await connection.execute("UPDATE reservations SET moved = 0")
    assert {each.what for each in await differences(connection)} == {"micros of a line item"}
    (migration,) = [each for each in migrations() if each.version == 6]
    await connection.execute(migration.sql[migration.sql.index("UPDATE reservations") :])
    assert tuple(await connection.fetchrow(kept) or ()) == (25_000_000, 25_000_000)


async def test_nothing_differs_where_a_void_kept_what_was_spent_and_the_rest_had_been_voided_before(
    handler: DirectHandler, connection: Connection
) -> None:
    grant: dict[str, Any] = {"occurred_at": "2025-05-01T00:00:00Z", **ASKED, "reason": "goodwill"}
    await handler.handle("grant-credit", **grant, amount="60.00")
    bill = invoice("i1", "100.00", "2025-06-01T00:00:00Z", kind="booking", booking_id="b1", paid="40.00")
    await handler.handle("invoice-finalized", **bill)
    await handler.handle("booking-cancelled", **cancellation("b1", "2025-06-02T00:00:00Z"))
    await handler.handle("invoice-finalized", **invoice("i2", "60.00", "2025-06-03T00:00:00Z"))
    left = await connection.fetchval("SELECT grant_id::text FROM grants WHERE available > 0")
    no: dict[str, Any] = {"actor": ASKED["actor"], "grant_id": left, "reason": "by mistake"}
    await handler.handle("void-credit", occurred_at="2025-06-04T00:00:00Z", **no)
    for n, invoice_id in enumerate(("i1", "i2")):
        void = {"invoice_id": invoice_id, "reason": "issued twice"}
        await handler.handle("invoice-voided", occurred_at=f"2025-06-0{5 + n}T00:00:00Z", **void)
    assert await connection.fetchval("SELECT available FROM grants WHERE grant_id::text = $1", left) > 0
    assert await differences(connection) == []


async def test_nothing_differs_where_two_credit_lines_spell_a_grant_in_two_ways(
    handler: DirectHandler, connection: Connection
) -> None:
    grant: dict[str, Any] = {"occurred_at": "2025-06-01T00:00:00Z", **ASKED, "reason": "goodwill"}
    await handler.handle("grant-credit", **grant, amount="50.00")
    known = await connection.fetchval("SELECT grant_id::text FROM grants")
    spelled = [known, known.upper(), known.replace("-", ""), f"{{{known}}}"]
    lines = [
        {"line_id": f"l{n}", "kind": "credit", "amount": "-20.00", "credit_line_id": each}
        for n, each in enumerate(spelled)
    ]
    bill = invoice("i1", "20.00", "2025-06-03T00:00:00Z")
    await handler.handle("invoice-finalized", **bill | {"lines": [line_of("100.00"), *lines]})
    assert await differences(connection) == []


async def test_a_line_item_used_in_two_parts_is_two_uses_and_each_comes_back(
    handler: DirectHandler, connection: Connection
) -> None:
    grant_id = await line_item(handler, connection)
    for number in (2, 3):
        lines = [
            {"line_id": "l1", "kind": "other", "amount": "100.00"},
            {"line_id": "l2", "kind": "credit", "amount": "-20.00", "credit_line_id": grant_id},
        ]
        used = invoice(f"i{number}", "80.00", f"2025-06-0{number + 1}T00:00:00Z", paid="80.00")
        await handler.handle("invoice-finalized", **used | {"lines": lines})
    assert await connection.fetchval("SELECT count(*) FROM applications") == 2
    voided = {"occurred_at": "2025-06-05T00:00:00Z", "reason": "twice"}
    await handler.handle("invoice-voided", **voided, invoice_id="i3")
    assert (
        await connection.fetchval("SELECT sum(reserved) FROM grants WHERE source <> 'overpayment'")
        == 30_000_000
    )
    assert await differences(connection) == []


async def test_nothing_differs_while_credit_begins_and_expires_by_time_alone(
    handler: DirectHandler, connection: Connection
) -> None:
    now = datetime.now(UTC)
    soon, later = ((now + timedelta(seconds=each)).isoformat() for each in (1, 1.5))
    grant: dict[str, Any] = {"occurred_at": now.isoformat(), **ASKED, "reason": "goodwill"}
    await handler.handle("grant-credit", **grant, amount="20.00", expires_at=soon)
    await handler.handle(
        "apply-credit", occurred_at=now.isoformat(), **ASKED, invoice_id="i9", amount="12.00"
    )
    await handler.handle("grant-credit", **grant, amount="15.00", effective_at=soon)
    await handler.handle("invoice-finalized", **invoice("i1", "10.00", later))
    assert await differences(connection) == []
    await asyncio.sleep(1.6)
    assert await differences(connection) == []
    await handler._handler.expire(100)
    assert await connection.fetchval("SELECT applied FROM invoices") == 10_000_000
    assert await connection.fetchval("SELECT available + reserved FROM accounts") == 5_000_000
    assert await differences(connection) == []


TAMPERED = {
    "what is set aside": (
        "UPDATE reservations SET amount = amount + 10000 WHERE invoice_id = 'i9'",
        "held by reservations",
    ),
    "whose credit is set aside": (
        "UPDATE reservations SET owner_id = 'u2' WHERE invoice_id = 'i9'",
        "held by reservations",
    ),
    "set aside for an invoice that is there": (
        "UPDATE reservations SET invoice_id = 'i1' WHERE invoice_id = 'i9'",
        "set aside for invoice i1",
    ),
    "what of it was a line item": (
        "UPDATE reservations SET moved = 10000 WHERE invoice_id = 'i9'",
        "micros of a line item",
    ),
    "a reservation taken out": ("DELETE FROM reservations WHERE amount > 0", "held by reservations"),
    "credit to come taken out": ("DELETE FROM grants WHERE pending > 0", "grants"),
    "a grant of another message": (
        "UPDATE grants SET event_id = (SELECT event_id FROM grants WHERE amount = 20000000) WHERE pending > 0",
        "grants",
    ),
    "credit to come made available": (
        "UPDATE grants SET available = pending, pending = 0 WHERE pending > 0",
        "available",
    ),
    "available credit made to come": (
        "UPDATE grants SET pending = available, available = 0 WHERE available > 0",
        "available",
    ),
    "what a credit line is short": (
        "UPDATE entitlements SET given = given - 10000, shortfall = shortfall - 10000 WHERE kind = 'credit_line'",
        "used and short",
    ),
    "that a credit line is short": ("DELETE FROM entitlements WHERE kind = 'credit_line'", "used and short"),
    "what a credit line used": (
        "UPDATE applications SET amounts = '{40000000}', amount = 40000000 WHERE applied_by = 'line_item'",
        "applied by entries",
    ),
    "the parts of a use": (
        "UPDATE applications SET amounts = '{40000000}' WHERE applied_by = 'line_item'",
        "amount",
    ),
    "what undone credit lines took off": (
        "UPDATE invoices SET restored = 1 WHERE invoice_id = 'i2'",
        "restored",
    ),
    "a policy's value": ('UPDATE policies SET keys = keys || \'{"credit_as": "balance"}\'', "keys"),
    "a policy's amount": ("UPDATE policies SET keys = keys || '{\"refill_amount\": 1}'", "keys"),
    "whose policy": ("UPDATE policies SET scope_id = 'user/u2'", "keys"),
    "a policy taken out": ("DELETE FROM policies", "keys"),
    "a policy that nobody set": (
        "INSERT INTO policies VALUES ('t1', 'forged', 'tenant', '', '2025-06-01Z', '{\"auto_apply\": false}')",
        "keys",
    ),
    "that credit is a line item": (
        "UPDATE entitlements SET as_line_item = false WHERE kind = 'line'",
        "as line item",
    ),
    "in what order a grant is used": ("UPDATE grants SET priority = 1 WHERE source = 'granted'", "priority"),
    "in what order credit of a booking is used": (
        "UPDATE grants SET priority = 1 WHERE source <> 'granted'",
        "priority",
    ),
    "that a grant was given": ("UPDATE grants SET paid_for = true WHERE source = 'granted'", "paid for"),
    "when a grant begins": (
        "UPDATE grants SET effective_at = '2026-01-01Z' WHERE pending > 0",
        "effective at",
    ),
    "when a grant ends": ("UPDATE grants SET expires_at = '2125-06-01Z' WHERE pending > 0", "expires at"),
    "whose a grant to come is": ("UPDATE grants SET owner_id = 'u2' WHERE pending > 0", "owner"),
    "how much a command gives": (
        """UPDATE commands SET body = jsonb_set(body, '{amount}', '"999.00"') WHERE topic = 'grant-credit'""",
        "amount asked for",
    ),
    "a command taken out": ("DELETE FROM commands WHERE topic = 'grant-credit'", "reason"),
    "in what currency credit to come is": (
        "UPDATE grants SET currency = 'USD' WHERE pending > 0",
        "currency",
    ),
    "the producer's own key of a grant": ("UPDATE grants SET reference = NULL", "reference"),
    "what was noted": ("UPDATE grants SET note = 'other' WHERE source = 'granted'", "note"),
    "for which invoice is set aside": (
        "UPDATE reservations SET invoice_id = 'ix' WHERE invoice_id = 'i9'",
        "for invoice",
    ),
    "for what is set aside": (
        "UPDATE reservations SET reserved_for = 'line_item' WHERE invoice_id = 'i9'",
        "reserved for",
    ),
    "in what order is set aside": ("UPDATE reservations SET seq = seq + 1 WHERE invoice_id = 'i9'", "seq"),
    "by what is set aside": ("UPDATE reservations SET event_id = 'forged'", "message"),
    "a reservation that is used up": ("DELETE FROM reservations WHERE amount = 0", "reservation"),
    "a grant that nobody gave": ("UPDATE grants SET event_id = 'forged' WHERE source = 'granted'", "reason"),
    "when credit expires": (
        "UPDATE entitlements SET expires_after_days = 1 WHERE kind = 'line'",
        "expires after days",
    ),
}


@pytest.mark.parametrize("name", TAMPERED)
async def test_what_somebody_changed_is_named(
    handler: DirectHandler, connection: Connection, name: str
) -> None:
    statement, what = TAMPERED[name]
    await prepare(handler, connection)
    changed = await connection.execute(statement)
    assert not changed.endswith(" 0")
    found = await differences(connection)
    assert what in {each.what for each in found}, found


async def test_a_policy_of_an_owner_whose_id_is_too_long_for_the_facts_is_verified_too(
    handler: DirectHandler, connection: Connection
) -> None:
    longest = "\x01" * 200
    scope: dict[str, Any] = {
        "actor": {"type": "admin", "id": longest},
        "scope": {"owner": {"type": "user", "id": longest}},
    }
    await handler.handle(
        "set-credit-policy", occurred_at="2025-05-01T00:00:00Z", **scope, policy={"auto_apply": False}
    )
    assert CUT in await connection.fetchval("SELECT facts->>'of' FROM decisions")
    assert not await differences(connection)
    await connection.execute("UPDATE policies SET scope_id = 'user/u2'")
    assert [each.what for each in await differences(connection)] == ["keys"]


async def test_a_policy_without_any_account_is_verified_too(
    handler: DirectHandler, connection: Connection
) -> None:
    scope: dict[str, Any] = {"actor": ASKED["actor"], "scope": {"tenant": True}}
    await handler.handle(
        "set-credit-policy", occurred_at="2025-05-01T00:00:00Z", **scope, policy={"auto_apply": False}
    )
    assert await differences(connection) == []
    await connection.execute("UPDATE policies SET keys = '{\"auto_apply\": true}'")
    (found,) = await differences(connection)
    assert str(found) == (
        f"tenant t1, policy of message {await connection.fetchval('SELECT event_id FROM policies')}: keys is "
        '{"auto_apply": true} for tenant, expected {"auto_apply": false} for tenant'
    )


@pytest.mark.parametrize(
    ("currency", "left", "is_whole"),
    [
        ("EUR", 9_999, False),
        ("EUR", 10_000, True),
        ("JPY", 999_999, False),
        ("JPY", 1_000_000, True),
        ("KWD", 999, False),
        ("KWD", 1_000, True),
    ],
)
async def test_only_whole_minor_units_are_missing_on_an_open_invoice(
    handler: DirectHandler, connection: Connection, currency: str, left: int, is_whole: bool
) -> None:
    asked: dict[str, Any] = {
        **ASKED,
        "currency": currency,
        "occurred_at": "2025-06-01T00:00:00Z",
        "reason": "goodwill",
    }
    for _ in range(2):
        await handler.handle("grant-credit", **asked, amount="1")
    await handler.handle(
        "invoice-finalized", **invoice("i1", "50", "2025-06-02T00:00:00Z") | {"currency": currency}
    )
    assert await differences(connection) == []
    await connection.execute("UPDATE grants SET available = $1, spent = amount - $1", left)
    found = {each.what for each in await differences(connection)}
    assert ("due beside usable credit" in found) is is_whole


async def test_the_rest_of_a_payment_counts_in_whole_minor_units(
    handler: DirectHandler, connection: Connection
) -> None:
    paid: dict[str, Any] = {"owner": OWNER, "currency": "JPY", "method": "card", "invoice_ids": ["i1"]}
    await handler.handle(
        "payment-recorded", occurred_at="2025-06-03T00:00:00Z", payment_id="p1", amount="80", **paid
    )
    await handler.handle(
        "invoice-finalized", **invoice("i2", "50", "2025-06-02T00:00:00Z") | {"currency": "JPY"}
    )
    await connection.execute("UPDATE payments SET invoice_ids = '{i2}'")
    await connection.execute("UPDATE grants SET available = 999999, spent = amount - 999999")
    assert not any("rest of payment" in each.what for each in await differences(connection))
    await connection.execute("UPDATE grants SET available = 1000000, spent = amount - 1000000")
    assert "due beside the rest of payment p1" in {each.what for each in await differences(connection)}
