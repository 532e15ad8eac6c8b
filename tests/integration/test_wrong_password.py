"""A service with a wrong password says what to look at, and never the password."""

import asyncpg
import pytest
from structlog.testing import capture_logs

from avoir.postgres.connect import Database
from deploy.local.harness.service import settings_for
from deploy.local.harness.waiting import until
from tests.integration.running import running


@pytest.mark.parametrize(
    ("error", "hint"),
    [
        (asyncpg.InvalidPasswordError("no password"), "check the user and password in AVOIR_POSTGRES_DSN"),
        (ConnectionRefusedError("nobody there"), "check host, port and TLS in AVOIR_POSTGRES_DSN"),
    ],
)
async def test_a_database_that_does_not_let_in_is_hinted_at_after_a_while(
    monkeypatch: pytest.MonkeyPatch, error: Exception, hint: str
) -> None:
    async def refused(_: Database) -> None:
        raise error

    monkeypatch.setattr(Database, "connect", refused)
    monkeypatch.setattr("avoir.process.service._CREDENTIALS_AFTER_S", 0.3)
    settings = settings_for("127.0.0.1:1", "postgresql://u:secret@127.0.0.1:1/d", "wrong-")
    with capture_logs() as lines:
        async with running(settings):
            await until(lambda: any("hint" in line for line in lines))
    warnings = [line for line in lines if line["event"] == "database not usable yet"]
    assert "hint" not in warnings[0]
    assert warnings[-1]["hint"] == hint
    assert "secret" not in str(lines)
