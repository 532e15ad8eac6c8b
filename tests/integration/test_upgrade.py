"""A database of the version before, with its history: migrated, proven, gone on with, and decided again."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from avoir.postgres import migrate as migrating
from deploy.local.harness.databases import connection_to, own_database
from tests.integration.direct_handler import DirectHandler
from tests.integration.test_read_verify import differences
from tests.integration.test_rebuild import again

HISTORY = Path(__file__).with_name("history_of_version_12.sql")
VERSION = 12
HOURS = {"start": "2025-06-10T09:00:00Z", "end": "2025-06-10T13:00:00Z"}
U1 = {"type": "user", "id": "u1"}


@pytest.fixture
async def upgraded(postgres: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    """DSN of a database that holds a history of the version before, migrated to today's."""
    async with own_database(postgres, "avoir_upgraded") as dsn:
        with monkeypatch.context() as before:
            known = [each for each in migrating.migrations() if each.version <= VERSION]
            before.setattr(migrating, "migrations", lambda: known)
            await migrating.migrate(dsn)
        async with connection_to(dsn) as connection:
            # The rows were checked when they were written; here they come table by table.
            await connection.execute("SET session_replication_role = replica; TRUNCATE epochs")
            await connection.execute(HISTORY.read_text())
        assert await migrating.migrate(dsn)
        yield dsn


async def test_a_history_of_the_version_before_is_proven_and_keeps_its_worth(upgraded: str) -> None:
    async with connection_to(upgraded) as connection:
        assert await differences(connection) == []
        handler = DirectHandler(upgraded)
        # What waited is worth what it was when it was decided: half, though an hour of it was moved.
        await handler.handle(
            "payment-recorded",
            occurred_at="2026-01-01T00:00:00Z",
            payment_id="pay2",
            owner=U1,
            amount="35.00",
            currency="EUR",
            method="card",
            invoice_ids=["i4"],
        )
        worth = "SELECT target FROM entitlements WHERE kind = 'line' AND id = $1"
        assert await connection.fetchval(worth, "i4") == 25_000_000
        assert await connection.fetchval(worth, "i1") == 25_000_000
        # A later change has the rules of today.
        await handler.handle(
            "booking-shortened",
            occurred_at="2026-01-02T00:00:00Z",
            booking_id="moved",
            owner=U1,
            changed_by="customer",
            billed_period=HOURS,
            remaining_period={"start": "2025-06-10T10:00:00Z", "end": "2025-06-10T14:00:00Z"},
        )
        assert await connection.fetchval(worth, "i1") == 0
        await handler.handle(
            "booking-cancelled",
            occurred_at="2026-01-02T00:00:00Z",
            booking_id="b3",
            owner=U1,
            changed_by="customer",
        )
        await handler.close()
        assert await differences(connection) == []
        rebuilt = await again(connection)
        assert (rebuilt.epoch, rebuilt.events > 10) == (2, True)
