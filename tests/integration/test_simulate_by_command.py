"""`avoir simulate --tenant`: a history under another policy, as those who set policies call it."""

import asyncio
import json
from typing import Any

import asyncpg
import pytest

from avoir.batch.batch import Rules
from avoir.cli.base.exits import Exit
from avoir.cli.base.snapshot import snapshot
from avoir.core.model.policy import Policy
from deploy.local.harness.databases import connection_to
from tests.integration.command import Command
from tests.integration.delivery import delivering
from tests.integration.direct_handler import DirectHandler, cancellation, invoice

ADMIN = {"type": "admin", "id": "a1"}
TEAM = {"type": "team", "id": "blue"}
U1 = {"type": "user", "id": "u1"}


@pytest.fixture(autouse=True)
def _settings(monkeypatch: pytest.MonkeyPatch, database: str) -> None:
    monkeypatch.setenv("AVOIR_POSTGRES_DSN", database)
    monkeypatch.delenv("AVOIR_KAFKA_BOOTSTRAP_SERVERS", raising=False)


def payment(payment_id: str, amount: str, at: str, *invoice_ids: str, owner: Any = U1) -> dict[str, Any]:
    said = {"occurred_at": at, "payment_id": payment_id, "owner": owner, "amount": amount}
    return said | {"currency": "EUR", "method": "card", "invoice_ids": invoice_ids}


async def prepare(database: str) -> None:
    """u1's booking was paid after its change, and the credit used; the team's was paid before; u3 has only a bill."""
    handler = DirectHandler(database)
    owners = {"owner": TEAM}
    booked = {"kind": "booking", "booking_id": "b1"}
    bought = {"kind": "booking", "booking_id": "b2", "paid": "200.00"}
    try:
        await handler.handle("invoice-finalized", **invoice("i1", "60.50", "2025-06-01T00:00:00Z", **booked))
        await handler.handle("booking-cancelled", **cancellation("b1", "2025-06-02T00:00:00Z"))
        await handler.handle("payment-recorded", **payment("p1", "60.50", "2025-06-03T00:00:00Z", "i1"))
        await handler.handle("invoice-finalized", **invoice("i2", "40.00", "2025-06-05T00:00:00Z"))
        await handler.handle(
            "refund-credit",
            event_id="refund",
            occurred_at="2025-06-06T00:00:00Z",
            actor=ADMIN,
            owner=U1,
            amount="20.50",
            currency="EUR",
            grant_id=None,
            reference="gateway 1",
        )
        await handler.handle(
            "invoice-finalized", **invoice("i3", "200.00", "2025-06-01T00:00:00Z", **bought) | owners
        )
        await handler.handle("booking-cancelled", **cancellation("b2", "2025-06-02T00:00:00Z"))
        await handler.handle("booking-cancelled", **cancellation("b9", "2025-06-02T00:00:00Z"))
        bill = invoice("i4", "5.00", "2025-06-01T00:00:00Z") | {"owner": {"type": "user", "id": "u3"}}
        await handler.handle("invoice-finalized", **bill)
    finally:
        await handler.close()


async def test_accounts_that_differ_beside_what_happened(command: Command, database: str) -> None:
    await prepare(database)
    document = await command.json("simulate", "--tenant", "t1", "--policy", "unpaid_change=never")
    assert document["policy"] == {"unpaid_change": "never"}
    assert (document["messages"], document["messages_apart"], document["commands_not_kept"]) == (8, 1, 0)
    [account] = document["accounts"]
    assert account["owner"] == U1
    happened, simulated, difference = (account[name] for name in ("happened", "simulated", "difference"))
    assert happened["given"] == {"booking_cancelled": "60.50"}
    assert (happened["used"], happened["due"]) == ("60.50", "0.00")
    assert simulated["given"] == {}
    assert (simulated["used"], simulated["due"]) == ("0.00", "40.00")
    assert difference["given"] == {"booking_cancelled": "-60.50"}
    assert (difference["used"], difference["due"]) == ("-60.50", "40.00")
    [total] = document["totals"]
    assert (total["currency"], total["accounts"], total["differing"]) == ("EUR", 3, 1)
    assert total["happened"]["given"] == {"booking_cancelled": "260.50"}
    assert total["simulated"]["given"] == {"booking_cancelled": "200.00"}
    assert document["refused"] == [
        {
            "topic": "refund-credit",
            "event_id": "refund",
            "about": "owner user/u1",
            "reason": "insufficient_credit",
        }
    ]
    assert {(each["topic"], each["would_be"]["outcome"]) for each in document["otherwise"]} == {
        ("booking-cancelled", "declined"),
        ("payment-recorded", "recorded"),
        ("invoice-finalized", "recorded"),
        ("refund-credit", "declined"),
    }
    words = await command.text("simulate", "--tenant", "t1", "--policy", "unpaid_change=never")
    assert "given: booking cancelled 60.50 0.00 -60.50" in words
    assert "all accounts EUR available 200.00 200.00 given: booking cancelled 260.50 200.00 -60.50" in words
    assert "Would be refused: refund-credit refund on owner user/u1 (insufficient credit)." in words
    assert "8 messages were decided again: 1 of 3 account(s) differ." in words
    assert "1 message(s) concern no account" in words
    assert "team/blue" not in words


async def test_all_accounts_and_one_owner(command: Command, database: str) -> None:
    await prepare(database)
    every = await command.json("simulate", "--tenant", "t1", "--all", "--policy", "unpaid_change=never")
    assert [each["owner"]["id"] for each in every["accounts"]] == ["blue", "u1", "u3"]
    one = ("simulate", "--tenant", "t1", "--policy", "unpaid_change=never", "--owner")
    assert (await command.json(*one, "team/blue"))["accounts"] == []
    assert [each["owner"] for each in (await command.json(*one, "user/u1"))["accounts"]] == [U1]
    assert "user/nobody has no account in tenant t1" in await command.text(
        *one, "user/nobody", code=Exit.FOUND
    )
    await command.text("simulate", "--tenant", "nobody", code=Exit.FOUND)


async def test_under_the_same_policy_nothing_differs(command: Command, database: str) -> None:
    await prepare(database)
    words = await command.text("simulate", "--tenant", "t1")
    assert "Tenant t1 under the same policy, compared with what happened" in words
    assert "0 of 3 account(s) differ." in words
    document = await command.json("simulate", "--tenant", "t1")
    assert (document["accounts"], document["otherwise"], document["refused"]) == ([], [], [])


async def test_the_policy_of_an_owner_without_an_account_is_passed_by(
    command: Command, database: str
) -> None:
    handler = DirectHandler(database)
    try:
        for owner_id in ("a", "u1"):
            await handler.handle(
                "set-credit-policy",
                occurred_at="2025-06-01T00:00:00Z",
                actor=ADMIN,
                scope={"owner": {"type": "user", "id": owner_id}},
                policy={"auto_apply": False},
            )
    finally:
        await handler.close()
    await prepare(database)
    document = await command.json("simulate", "--tenant", "t1")
    assert (document["accounts"], document["messages"], document["messages_apart"]) == ([], 9, 2)


async def test_the_policy_of_the_service_is_known_from_its_decisions(command: Command, database: str) -> None:
    never = Rules("avoir", Policy(unpaid_change="never", auto_apply=False))
    handler = DirectHandler(database, never)
    try:
        booked = {"kind": "booking", "booking_id": "b1"}
        await handler.handle("invoice-finalized", **invoice("i1", "60.50", "2025-06-01T00:00:00Z", **booked))
        await handler.handle("booking-cancelled", **cancellation("b1", "2025-06-02T00:00:00Z"))
        await handler.handle("payment-recorded", **payment("p1", "90.50", "2025-06-03T00:00:00Z", "i1"))
        await handler.handle("invoice-finalized", **invoice("i2", "20.00", "2025-06-05T00:00:00Z"))
    finally:
        await handler.close()
    assert (await command.json("simulate", "--tenant", "t1"))["accounts"] == []
    under = ("--policy", "auto_apply=true")
    [account] = (await command.json("simulate", "--tenant", "t1", *under))["accounts"]
    assert account["simulated"]["given"] == account["happened"]["given"] == {"overpayment": "30.00"}
    assert (account["happened"]["due"], account["simulated"]["due"]) == ("20.00", "0.00")


async def test_owners_who_share_a_booking_are_decided_together(command: Command, database: str) -> None:
    handler = DirectHandler(database)
    booked = {"kind": "booking", "booking_id": "b1", "paid": "50.00"}
    try:
        for invoice_id, owner in (("i1", U1), ("i2", TEAM)):
            bill = invoice(invoice_id, "50.00", "2025-06-01T00:00:00Z", **booked) | {"owner": owner}
            await handler.handle("invoice-finalized", **bill)
        fee = {"fee": "60.00", "currency": "EUR"}
        await handler.handle("booking-cancelled", **cancellation("b1", "2025-06-02T00:00:00Z", **fee))
    finally:
        await handler.close()
    words = await command.text("simulate", "--tenant", "t1", "--owner", "team/blue", "--all")
    assert "team/blue EUR available 40.00 40.00" in words
    assert "Decided together with 1 account(s) of owners who share bookings or invoices." in words
    assert "user/u1" not in words


async def test_a_line_of_credit_that_would_not_be_there_is_named(command: Command, database: str) -> None:
    handler = DirectHandler(database, Rules("avoir", Policy(credit_as="line_item")))
    booked = {"kind": "booking", "booking_id": "b1"}
    try:
        await handler.handle("invoice-finalized", **invoice("i1", "60.50", "2025-06-01T00:00:00Z", **booked))
        await handler.handle("booking-cancelled", **cancellation("b1", "2025-06-02T00:00:00Z"))
        await handler.handle("payment-recorded", **payment("p1", "60.50", "2025-06-03T00:00:00Z", "i1"))
        async with connection_to(database) as connection:
            grant_id = str(await connection.fetchval("SELECT grant_id FROM grants"))
        bill = invoice("i2", "100.00", "2025-06-05T00:00:00Z")
        credit = {"line_id": "l2", "kind": "credit", "amount": "-60.50", "credit_line_id": grant_id}
        bill |= {"event_id": "used", "lines": [*bill["lines"], credit], "total": "39.50"}
        await handler.handle("invoice-finalized", **bill)
    finally:
        await handler.close()
    assert (await command.json("simulate", "--tenant", "t1"))["accounts"] == []
    document = await command.json("simulate", "--tenant", "t1", "--policy", "unpaid_change=never")
    assert [(each["event_id"], each["reason"]) for each in document["refused"]] == [("used", "unknown_grant")]
    words = await command.text("simulate", "--tenant", "t1", "--policy", "unpaid_change=never")
    assert "Would use credit lines without credit: invoice-finalized used on invoice i2" in words


async def test_commands_that_were_not_kept_are_named(command: Command, database: str) -> None:
    await prepare(database)
    async with connection_to(database) as connection, connection.transaction():
        await connection.execute("SET LOCAL session_replication_role = replica")
        await connection.execute("DELETE FROM commands")
    document = await command.json("simulate", "--tenant", "t1", code=Exit.FOUND)
    assert document["commands_not_kept"] == 1
    assert document["accounts"][0]["difference"]["used"] == "-20.50"
    words = await command.text("simulate", "--tenant", "t1", code=Exit.FOUND)
    assert "1 command(s) were decided by a version that did not keep them: they are not simulated." in words
    assert "Without --policy nothing should differ" in words


async def counts(database: str) -> dict[str, int]:
    async with connection_to(database) as connection:
        tables = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'avoir'")
        return {row[0]: await connection.fetchval(f"SELECT count(*) FROM {row[0]}") for row in tables}


async def test_nothing_is_written(command: Command, database: str) -> None:
    await prepare(database)
    before = await counts(database)
    async with connection_to(database) as connection:
        written = "SELECT sum(n_tup_ins + n_tup_upd + n_tup_del) FROM pg_stat_user_tables"
        tuples = await connection.fetchval(written)
        await command.json("simulate", "--tenant", "t1", "--policy", "unpaid_change=never")
        await command.json("simulate", "--tenant", "t1", "--all", "--policy", "credit_as=line_item")
        await asyncio.sleep(1.1)  # what a connection wrote is told up to a second later
        assert await connection.fetchval(written) == tuples
    assert await counts(database) == before


async def test_a_history_is_read_in_a_transaction_that_cannot_write(database: str) -> None:
    async with connection_to(database) as connection, snapshot(connection):
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
            await connection.execute("INSERT INTO commands VALUES ('t1', 'draw-credit', 'e1', now(), '{}')")


async def test_a_database_that_is_not_up_to_date_is_named(command: Command, database: str) -> None:
    async with connection_to(database) as connection:
        await connection.execute("DROP TABLE commands")
    assert "run `avoir migrate`" in await command.text("simulate", "--tenant", "t1", code=Exit.UNREACHABLE)


async def test_a_long_history_of_many_owners(command: Command, database: str) -> None:
    async with delivering(database) as (deliverer, _):
        await deliverer.deliver_values(
            [
                ("invoice-finalized", bill(f"i{n}", f"u{n % 40}", paid="0" if n % 3 else "10.00"))
                for n in range(400)
            ]
        )
    document = await command.json("simulate", "--tenant", "t1")
    assert document["messages"] == 400
    assert document["totals"][0]["accounts"] == 40
    assert document["accounts"] == []


def bill(invoice_id: str, owner_id: str, paid: str) -> bytes:
    value = invoice(invoice_id, "10.00", "2025-06-01T00:00:00Z", paid=paid)
    value |= {"event_id": invoice_id, "tenant_id": "t1", "owner": {"type": "user", "id": owner_id}}
    return json.dumps(value).encode()
