"""`verify` finds nothing in what the service wrote, and each thing that somebody changed behind its back."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

import asyncpg
import pytest

from avoir.cli.base.differences import Difference
from avoir.cli.verify.query import Sizes, verify
from avoir.postgres.connect import Connection
from tests.integration.direct_handler import DirectHandler, cancellation, invoice


@pytest.fixture
async def connection(database: str) -> AsyncIterator[Connection]:
    settings = {"search_path": "avoir", "session_replication_role": "replica"}
    connection = await asyncpg.connect(database, server_settings=settings)
    yield connection
    await connection.close()


async def differences(connection: Connection, tenant_id: str | None = None) -> list[Difference]:
    return [
        each async for each in verify(connection, tenant_id, lambda _name, _rows: None, lambda _t, _s: None)
    ]


async def granted(handler: DirectHandler, amount: str, owner: Mapping[str, str], **more: str) -> None:
    command: dict[str, Any] = {
        "actor": {"type": "admin", "id": "a1"},
        "reason": "goodwill",
        "currency": "EUR",
    }
    when = "2025-06-01T00:00:00Z"
    await handler.handle("grant-credit", occurred_at=when, owner=owner, amount=amount, **command, **more)


async def prepare(handler: DirectHandler, tenant_id: str = "t1") -> None:
    """A booking of 121.00 cancelled, 80.00 of its credit used on i2; an overpayment; a voided and a reversed one."""
    paid = {"paid": "121.00", "kind": "booking", "booking_id": "b1"}
    await handler.handle(
        "invoice-finalized", tenant_id=tenant_id, **invoice("i1", "121.00", "2025-06-01T00:00:00Z", **paid)
    )
    await handler.handle(
        "booking-cancelled", tenant_id=tenant_id, **cancellation("b1", "2025-06-02T00:00:00Z")
    )
    await handler.handle(
        "invoice-finalized", tenant_id=tenant_id, **invoice("i2", "80.00", "2025-06-05T00:00:00Z")
    )
    await handler.handle(
        "invoice-finalized", tenant_id=tenant_id, **invoice("i3", "50.00", "2025-06-06T00:00:00Z")
    )
    owner = {"type": "user", "id": "u1"}
    await handler.handle(
        "payment-recorded",
        tenant_id=tenant_id,
        occurred_at="2025-06-07T00:00:00Z",
        payment_id="p1",
        owner=owner,
        amount="20.00",
        currency="EUR",
        method="card",
    )
    await handler.handle(
        "payment-reversed",
        tenant_id=tenant_id,
        occurred_at="2025-06-08T00:00:00Z",
        reversal_id="r1",
        payment_id="p1",
        amount="5.00",
        currency="EUR",
        reason="refund",
    )
    await handler.handle(
        "invoice-voided",
        tenant_id=tenant_id,
        occurred_at="2025-06-09T00:00:00Z",
        invoice_id="i2",
        reason="twice",
    )


async def test_nothing_differs_in_what_the_service_wrote(
    handler: DirectHandler, connection: Connection
) -> None:
    await prepare(handler, "t1")
    await prepare(handler, "t2")
    sizes: dict[str, Sizes] = {}
    found = [each async for each in verify(connection, None, lambda _name, _rows: None, sizes.__setitem__)]
    assert found == []
    assert sizes.keys() == {"t1", "t2"}
    assert sizes["t1"].entries >= 3


TAMPERED = {
    "an entry's amount": ("UPDATE entries SET amount = amount + 1 WHERE seq = 1", "balance of available"),
    "an entry's reason": ("UPDATE entries SET reason = 'other' WHERE seq = 1", "hash"),
    "the last entry taken out": (
        "DELETE FROM entries WHERE (seq, n) = (SELECT seq, n FROM entries ORDER BY seq DESC, n DESC LIMIT 1)",
        "head",
    ),
    "an account's balance": ("UPDATE accounts SET available = available + 1", "available"),
    "when an account was written last": ("UPDATE accounts SET recorded_at = '2020-01-01Z'", "recorded_at"),
    "an account taken out": ("DELETE FROM accounts", "account"),
    "a grant's parts": (
        "UPDATE grants SET available = available + 1, spent = spent - 1 WHERE spent > 0",
        "spent",
    ),
    "a grant taken out": ("DELETE FROM grants WHERE source = 'overpayment'", "amount"),
    "whose a grant and what it is for are": (
        "UPDATE grants SET owner_id = 'u2' WHERE source = 'overpayment';"
        "UPDATE entitlements SET owner_id = 'u2' WHERE kind = 'payment'",
        "amount",
    ),
    "a grant's currency": ("UPDATE grants SET currency = 'USD' WHERE source = 'overpayment'", "amount"),
    "an invoice's settlement": (
        "UPDATE invoices SET settled = settled - 1 WHERE invoice_id = 'i1'",
        "settled",
    ),
    "an invoice's applied credit": (
        "UPDATE invoices SET applied = applied - 1 WHERE invoice_id = 'i3'",
        "applied",
    ),
    "a payment's reversal": ("UPDATE payments SET reversed = 0 WHERE payment_id = 'p1'", "reversed"),
    "an application": (
        "UPDATE applications SET amount = amount + 1 WHERE NOT reinstated",
        "amount",
    ),
    "what a line cost": ("UPDATE invoice_lines SET cost = cost - 10000 WHERE line_id = 'l1'", "cost"),
    "a line's target": ("UPDATE entitlements SET target = target - 10000 WHERE kind = 'line'", "target"),
    "what credit for a line cost": ("UPDATE entitlements SET cost = cost * 3 WHERE kind = 'line'", "cost"),
    "whose credit for a line is": ("UPDATE entitlements SET owner_id = 'u2' WHERE kind = 'line'", "cost"),
    "what credit for a line is for": (
        "UPDATE entitlements SET source = 'prepaid' WHERE kind = 'line'",
        "source",
    ),
    "what a line was given": ("UPDATE entitlements SET given = given - 10000 WHERE kind = 'line'", "given"),
    "a fact": ("UPDATE changes SET asked = false", "target"),
}


@pytest.mark.parametrize("name", TAMPERED)
async def test_what_somebody_changed_is_named(
    handler: DirectHandler, connection: Connection, name: str
) -> None:
    statement, what = TAMPERED[name]
    await prepare(handler, "t1")
    changed = await connection.execute(statement)
    assert not changed.endswith(" 0")
    found = await differences(connection)
    assert what in {each.what for each in found}, found
    assert all(each.tenant_id == "t1" for each in found)
    assert await differences(connection, "another") == []


@pytest.mark.parametrize("owner", ["a", "m", "z"])
async def test_entries_without_an_account_are_named_and_nothing_else(
    handler: DirectHandler, connection: Connection, owner: str
) -> None:
    for each in ("a", "m", "z"):
        await granted(handler, "20.00", {"type": "user", "id": each})
    await connection.execute("DELETE FROM accounts WHERE owner_id = $1", owner)
    assert [str(each) for each in await differences(connection)] == [
        f"tenant t1, account user/{owner} EUR: account is missing, expected 20.00 available, 0.00 reserved"
    ]


USED = {
    "the parts swapped": "UPDATE applications SET amounts = ARRAY[amounts[2], amounts[1]]",
    "other grants": "UPDATE applications SET grant_ids = ARRAY[gen_random_uuid(), gen_random_uuid()]",
    "another owner": "UPDATE applications SET owner_id = 'zz'",
    "another invoice": "UPDATE applications SET invoice_id = 'i0'",
    "another way": "UPDATE applications SET applied_by = 'reservation'",
    "another cause": "UPDATE applications SET event_id = 'forged'",
    "undone": "UPDATE applications SET reinstated = true",
    "taken out": "DELETE FROM applications",
}


@pytest.mark.parametrize("name", USED)
async def test_each_part_of_an_application_is_that_of_the_entries(
    handler: DirectHandler, connection: Connection, name: str
) -> None:
    for amount in ("20.00", "30.00"):
        await granted(handler, amount, {"type": "user", "id": "u1"})
    await handler.handle("invoice-finalized", **invoice("i1", "50.00", "2025-06-05T00:00:00Z"))
    assert await connection.fetchval("SELECT amounts FROM applications") == [20_000_000, 30_000_000]
    assert await differences(connection) == []
    await connection.execute(USED[name])
    found = {each.what for each in await differences(connection)}
    assert found & {"applied by entries", "undone by entries"}


WHEN = "2025-06-01T00:00:00Z"


async def bought(handler: DirectHandler) -> None:
    """Prepaid credit of 40.00 on i4, a credit note i5 of 30.00, an overpayment of 10.00, and i6 of 8.00 voided."""
    await handler.handle("invoice-finalized", **invoice("i4", "40.00", WHEN, paid="40.00", kind="prepaid"))
    await handler.handle("invoice-finalized", **invoice("i5", "-30.00", WHEN))
    paid: dict[str, Any] = {"owner": {"type": "user", "id": "u1"}, "currency": "EUR", "method": "card"}
    await handler.handle("payment-recorded", occurred_at=WHEN, payment_id="p9", amount="10.00", **paid)
    await handler.handle("invoice-finalized", **invoice("i6", "8.00", WHEN, paid="8.00", kind="prepaid"))
    await handler.handle("invoice-voided", occurred_at=WHEN, invoice_id="i6", reason="twice")


@pytest.mark.parametrize("source", ["prepaid", "negative_invoice", "overpayment"])
async def test_credit_that_is_due_and_missing_with_its_grant_is_named(
    handler: DirectHandler, connection: Connection, source: str
) -> None:
    await bought(handler)
    assert await differences(connection) == []
    await connection.execute("DELETE FROM entitlements WHERE source = $1", source)
    await connection.execute(
        "DELETE FROM entries WHERE grant_id IN (SELECT grant_id FROM grants WHERE source = $1)", source
    )
    await connection.execute("DELETE FROM grants WHERE source = $1", source)
    found = await differences(connection)
    assert any(each.where.startswith("credit due for") and each.what == "target" for each in found), found


DUE = {
    "a payment's amount": ("UPDATE payments SET amount = amount + 1000000 WHERE payment_id = 'p9'", "target"),
    "a payment that nobody handled": (
        'INSERT INTO payments SELECT (json_populate_record(p, \'{"payment_id": "new"}\')).* FROM payments p '
        "WHERE payment_id = 'p9'",
        "target",
    ),
    "a payment's owner": ("UPDATE payments SET owner_id = 'u2' WHERE payment_id = 'p9'", "target"),
    "what prepaid credit cost": (
        "UPDATE entitlements SET cost = cost * 3 WHERE source = 'prepaid' AND target > 0",
        "cost",
    ),
    "what a credit note cost": (
        "UPDATE entitlements SET cost = cost * 3 WHERE kind = 'negative_total'",
        "cost",
    ),
    "what a payment cost": ("UPDATE entitlements SET cost = cost * 3 WHERE kind = 'payment'", "cost"),
    "a shortfall": (
        "UPDATE entitlements SET shortfall = 5000000, shortfall_reason = 'changed' WHERE source = 'prepaid'",
        "shortfall",
    ),
    "what is covered": ("UPDATE entitlements SET covered = 1000000 WHERE kind = 'line'", "covered"),
    "what is covered of a payment": (
        "UPDATE entitlements SET covered = 1000000 WHERE kind = 'payment'",
        "covered",
    ),
    "how many grants there were": ("UPDATE entitlements SET grants = 7 WHERE kind = 'payment'", "grants"),
    "what credit is for": ("UPDATE entitlements SET source = 'prepaid' WHERE kind = 'payment'", "source"),
    "since when credit is due": (
        "UPDATE entitlements SET due_from = due_from + interval '1 day' WHERE kind <> 'amount_paid'",
        "due from",
    ),
}


@pytest.mark.parametrize("name", DUE)
async def test_what_is_due_is_that_of_payments_and_invoices(
    handler: DirectHandler, connection: Connection, name: str
) -> None:
    statement, what = DUE[name]
    await bought(handler)
    await connection.execute(statement)
    found = await differences(connection)
    assert what in {each.what for each in found}, found


FACTS = {
    "that an invoice is void": ("UPDATE invoices SET voided = false WHERE invoice_id = 'i2'", "voided"),
    "that an invoice is not void": ("UPDATE invoices SET voided = true WHERE invoice_id = 'i3'", "voided"),
    "a void": ("DELETE FROM voids WHERE invoice_id = 'i2'", "voided"),
    "a void of an invoice that nobody knows": ("DELETE FROM voids WHERE invoice_id = 'i0'", "voids"),
    "a void that nobody told": (
        'INSERT INTO voids SELECT (json_populate_record(v, \'{"invoice_id": "ix"}\')).* FROM voids v LIMIT 1',
        "voids",
    ),
    "a reversal taken out, and what it reversed": (
        "DELETE FROM reversals; UPDATE payments SET reversed = 0",
        "reversals",
    ),
    "a change taken out": ("DELETE FROM changes", "changes"),
    "an invoice taken out with its lines": (
        "DELETE FROM invoices WHERE invoice_id = 'i3'; DELETE FROM invoice_lines WHERE invoice_id = 'i3'",
        "applied",
    ),
    "a paid invoice taken out with its lines": (
        "DELETE FROM invoices WHERE invoice_id = 'i1'; DELETE FROM invoice_lines WHERE invoice_id = 'i1'",
        "settled",
    ),
    "a payment that settled": ("DELETE FROM payments WHERE payment_id = 'p1'", "settled"),
    "an invoice nobody refers to": ("DELETE FROM invoices WHERE invoice_id = 'i7'", "invoices"),
    "a payment nobody refers to": ("DELETE FROM payments WHERE payment_id = 'p7'", "payments"),
    "the owner of a paid invoice": ("UPDATE invoices SET owner_id = 'u2' WHERE invoice_id = 'i1'", "settled"),
    "the owner of an invoice that used credit": (
        "UPDATE invoices SET owner_id = 'u2' WHERE invoice_id = 'i3'",
        "applied",
    ),
    "the owner of a payment": (
        "UPDATE payments SET owner_id = 'u2' WHERE payment_id = 'p1'",
        "settled",
    ),
    "what was paid with an invoice": (
        "UPDATE invoices SET amount_paid = 0 WHERE invoice_id = 'i1'",
        "amount paid",
    ),
    "when a payment was made": (
        "UPDATE payments SET occurred_at = occurred_at - interval '1 day' WHERE payment_id = 'p7'",
        "occurred at",
    ),
    "when an invoice was finalized": (
        "UPDATE invoices SET finalized_at = finalized_at - interval '400 days' WHERE invoice_id = 'i7'",
        "occurred at",
    ),
    "when an invoice was settled": (
        "UPDATE invoices SET settled_at = settled_at + interval '400 days' WHERE invoice_id = 'i1'",
        "settled at",
    ),
    "when credit was applied": (
        "UPDATE applications SET applied_at = applied_at - interval '1 day';"
        "UPDATE invoices SET settled_at = finalized_at",
        "applied at",
    ),
}


@pytest.mark.parametrize("name", FACTS)
async def test_facts_that_do_not_go_together_are_named(
    handler: DirectHandler, connection: Connection, name: str
) -> None:
    statement, what = FACTS[name]
    await prepare(handler)
    await handler.handle("invoice-voided", occurred_at=WHEN, invoice_id="i0", reason="never came")
    await handler.handle("invoice-finalized", **invoice("i7", "0.00", WHEN))
    paid: dict[str, Any] = {"owner": {"type": "user", "id": "u1"}, "currency": "EUR", "method": "card"}
    gone = {"reversal_id": "r7", "payment_id": "p7", "amount": "5.00", "currency": "EUR", "reason": "refund"}
    await handler.handle("payment-reversed", occurred_at=WHEN, **gone)
    await handler.handle("payment-recorded", occurred_at=WHEN, payment_id="p7", amount="5.00", **paid)
    assert await differences(connection) == []
    await connection.execute(statement)
    found = await differences(connection)
    assert what in {each.what for each in found}, found
