"""What the database itself refuses, whatever the code above it does."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from avoir.postgres.connect import Connection
from tests.integration.delivery import delivering
from tests.unit.core.commands import granted, policy, use_on
from tests.unit.core.world import cancelled, invoice, line, message


@pytest.fixture
async def connection(database: str) -> AsyncIterator[Connection]:
    """A connection of the service's role to a ledger with a booking's credit, a grant, a reservation and a policy."""
    async with delivering(database) as (deliverer, kept):
        bill = invoice("i1", line("l1", "100", booking="b1"), line("l2", "40"), paid="140")
        commands = [
            message("s1", "06-01", policy(auto_apply=False)),
            message("g1", "06-01", granted("50", reference="order 1")),
            message("r1", "06-02", use_on("i2", "20")),
        ]
        facts = [message("f1", "06-01", bill), message("c1", "06-02", cancelled("b1"))]
        await deliverer.deliver([*facts, *commands])
        async with kept.use() as conn:
            yield conn


TAKEN_BACK = "UPDATE grants SET taken = amount, available = 0 WHERE entitlement_kind = 'line'"
ANOTHER_GRANT = """INSERT INTO grants SELECT (json_populate_record(g, json_build_object(
    'grant_id', gen_random_uuid(), 'ordinal', g.ordinal + 1, 'taken', 0, 'available', g.amount))).*
    FROM grants g WHERE entitlement_kind = 'line'"""
APPLICATION_IN_T2 = """INSERT INTO applications (tenant_id, application_id, owner_type, owner_id, currency, invoice_id,
    amount, applied_by, applied_at, grant_ids, amounts, topic, event_id)
    SELECT 't2', gen_random_uuid(), 'user', 'u1', 'EUR', 'i1', 1, 'auto', now(), ARRAY[grant_id], '{1}', 'x', 'e1'
    FROM grants LIMIT 1"""

REFUSED = {
    "a negative balance": ("UPDATE accounts SET available = -1", asyncpg.CheckViolationError),
    "a negative reserve": ("UPDATE accounts SET reserved = -1", asyncpg.CheckViolationError),
    "credit on a line above its cost": (
        "UPDATE entitlements SET given = cost + 1",
        asyncpg.CheckViolationError,
    ),
    "a line's cost raised": ("UPDATE entitlements SET cost = 2 * cost", asyncpg.InsufficientPrivilegeError),
    "credit due for a line above what it cost": (
        """INSERT INTO entitlements SELECT (json_populate_record(e, '{"line_id": "l2"}')).* FROM entitlements e
           WHERE kind = 'line'""",
        asyncpg.CheckViolationError,
    ),
    "credit due for a line that is not there": (
        """INSERT INTO entitlements SELECT (json_populate_record(e, '{"line_id": "l9"}')).* FROM entitlements e
           WHERE kind = 'line'""",
        asyncpg.CheckViolationError,
    ),
    "grants for a line above its cost": (ANOTHER_GRANT, asyncpg.CheckViolationError),
    "a grant given back above the line's cost": (
        f"{TAKEN_BACK}; {ANOTHER_GRANT};"
        "UPDATE grants SET taken = 0, available = amount WHERE entitlement_kind = 'line' AND taken > 0",
        asyncpg.CheckViolationError,
    ),
    "a grant of another amount": ("UPDATE grants SET amount = 1", asyncpg.InsufficientPrivilegeError),
    "a grant of another owner": ("UPDATE grants SET owner_id = 'u2'", asyncpg.InsufficientPrivilegeError),
    "a reference free for another grant": (
        "UPDATE grants SET reference = NULL",
        asyncpg.InsufficientPrivilegeError,
    ),
    "an application of another tenant's grant": (
        f"""INSERT INTO accounts (tenant_id, owner_type, owner_id, currency) VALUES ('t2', 'user', 'u1', 'EUR');
        INSERT INTO invoices SELECT (json_populate_record(i, '{{"tenant_id": "t2"}}')).* FROM invoices i;
        {APPLICATION_IN_T2}""",
        asyncpg.ForeignKeyViolationError,
    ),
    "a target above the cost": ("UPDATE entitlements SET target = cost + 1", asyncpg.CheckViolationError),
    "a grant below zero": (
        "UPDATE grants SET available = -1, spent = amount + 1",
        asyncpg.CheckViolationError,
    ),
    "a grant above its amount": ("UPDATE grants SET available = amount + 1", asyncpg.CheckViolationError),
    "an invoice paid above its total": (
        "UPDATE invoices SET settled = total + 1",
        asyncpg.CheckViolationError,
    ),
    "an entry changed": ("UPDATE entries SET amount = 1", asyncpg.InsufficientPrivilegeError),
    "an entry deleted": ("DELETE FROM entries", asyncpg.InsufficientPrivilegeError),
    "the entries emptied": ("TRUNCATE entries", asyncpg.InsufficientPrivilegeError),
    "a decision changed": ("UPDATE decisions SET reason = 'x'", asyncpg.InsufficientPrivilegeError),
    "an invoice deleted": ("DELETE FROM invoices", asyncpg.InsufficientPrivilegeError),
    "a fact changed": ("UPDATE changes SET fee = 0", asyncpg.InsufficientPrivilegeError),
    "a table made": ("CREATE TABLE avoir.more ()", asyncpg.InsufficientPrivilegeError),
    "an invoice finalized twice": (
        """INSERT INTO invoices SELECT (json_populate_record(i, '{"event_id": "again"}')).* FROM invoices i""",
        asyncpg.UniqueViolationError,
    ),
    "a second grant for the same thing": (
        """INSERT INTO grants SELECT (json_populate_record(g,
               json_build_object('grant_id', gen_random_uuid()))).* FROM grants g""",
        asyncpg.UniqueViolationError,
    ),
    "a grant on another tenant's account": (
        """INSERT INTO grants SELECT (json_populate_record(g,
               json_build_object('tenant_id', 't2', 'grant_id', gen_random_uuid()))).* FROM grants g""",
        asyncpg.ForeignKeyViolationError,
    ),
    "an entry on another tenant's grant": (
        """INSERT INTO entries SELECT (json_populate_record(e, '{"tenant_id": "t2"}')).* FROM entries e""",
        asyncpg.ForeignKeyViolationError,
    ),
    "a grant reserved below zero": (
        "UPDATE grants SET reserved = -1, available = amount + 1",
        asyncpg.CheckViolationError,
    ),
    "a grant pending below zero": (
        "UPDATE grants SET pending = -1, available = amount + 1",
        asyncpg.CheckViolationError,
    ),
    "a pending grant above its amount": ("UPDATE grants SET pending = 1", asyncpg.CheckViolationError),
    "a reservation below zero": ("UPDATE reservations SET amount = -1", asyncpg.CheckViolationError),
    "a reservation for nothing known": (
        """INSERT INTO reservations SELECT (json_populate_record(r, json_build_object(
               'application_id', gen_random_uuid(), 'reserved_for', 'later'))).* FROM reservations r""",
        asyncpg.CheckViolationError,
    ),
    "a reservation deleted": ("DELETE FROM reservations", asyncpg.InsufficientPrivilegeError),
    "a reservation made twice": (
        "INSERT INTO reservations SELECT * FROM reservations",
        asyncpg.UniqueViolationError,
    ),
    "a reservation of another tenant's grant": (
        """INSERT INTO reservations SELECT (json_populate_record(r, '{"tenant_id": "t2"}')).* FROM reservations r""",
        asyncpg.ForeignKeyViolationError,
    ),
    "a second grant of one reference": (
        """INSERT INTO grants SELECT (json_populate_record(g,
               json_build_object('grant_id', gen_random_uuid()))).* FROM grants g WHERE g.reference IS NOT NULL""",
        asyncpg.UniqueViolationError,
    ),
    "a policy changed": ("UPDATE policies SET keys = '{}'", asyncpg.InsufficientPrivilegeError),
    "a policy deleted": ("DELETE FROM policies", asyncpg.InsufficientPrivilegeError),
    "a policy set twice": (
        "INSERT INTO policies SELECT * FROM policies",
        asyncpg.UniqueViolationError,
    ),
    "a policy for nobody known": (
        """INSERT INTO policies SELECT (json_populate_record(p,
               '{"event_id": "again", "scope": "world"}')).* FROM policies p""",
        asyncpg.CheckViolationError,
    ),
    "a total restored below zero": (
        "UPDATE invoices SET restored = -1",
        asyncpg.CheckViolationError,
    ),
    "a line on another tenant's invoice": (
        """INSERT INTO invoice_lines SELECT (json_populate_record(l, '{"tenant_id": "t2"}')).* FROM invoice_lines l""",
        asyncpg.ForeignKeyViolationError,
    ),
}


@pytest.mark.parametrize("what", REFUSED)
async def test_the_database_refuses(what: str, connection: Connection) -> None:
    statement, error = REFUSED[what]
    with pytest.raises(error):
        async with connection.transaction():
            await connection.execute(statement)


async def test_a_line_may_have_another_grant_once_the_first_was_taken_back(connection: Connection) -> None:
    async with connection.transaction():
        await connection.execute(TAKEN_BACK)
        assert await connection.execute(ANOTHER_GRANT) == "INSERT 0 1"
