"""Balances and statements from rows of the data model."""

from datetime import UTC, datetime, timedelta

from avoir.cli.balance.query import Expiry, read_balances
from avoir.cli.statement.movements import Document, Held
from avoir.cli.statement.query import MovementFilter, read_statement
from avoir.core.model.events import AccountKey
from avoir.core.model.facts import Owner
from avoir.postgres.connect import Connection
from tests.integration.ledger_rows import EUR, Book, cancelled_booking, day

U1 = Owner("user", "u1")
KEY = AccountKey("t1", *U1, "EUR")


async def test_a_balance_is_what_the_account_holds(connection: Connection) -> None:
    await cancelled_booking(connection, KEY)
    await Book(connection, AccountKey("t2", *U1, "EUR")).open()
    balances = await read_balances(connection, "t1", U1, 10)
    (account,) = balances.accounts
    assert (account.account, account.available, account.reserved, account.seq) == (KEY, 41 * EUR, 0, 2)
    assert account.next_expiry is None
    assert not balances.more


async def test_an_expired_grant_is_not_available_though_nothing_swept_it(connection: Connection) -> None:
    book = await Book(connection, KEY).open()
    now = datetime.now(UTC)
    await book.grant("gone", 5 * EUR, day(1), expires_at=now - timedelta(seconds=1))
    await book.grant("soon", 7 * EUR, day(1), expires_at=now + timedelta(days=1))
    await book.grant("stays", 11 * EUR, day(1))
    (account,) = (await read_balances(connection, "t1", U1, 10)).accounts
    assert (account.available, account.expired_unswept) == (18 * EUR, 5 * EUR)
    assert account.next_expiry == Expiry(now + timedelta(days=1), 7 * EUR)


async def test_all_accounts_of_a_tenant_up_to_a_limit(connection: Connection) -> None:
    for n in range(3):
        await Book(connection, AccountKey("t1", "user", f"u{n}", "EUR")).open()
    balances = await read_balances(connection, "t1", None, 2)
    assert [each.account.owner_id for each in balances.accounts] == ["u0", "u1"]
    assert balances.more


async def test_a_statement_tells_every_movement_and_adds_up(connection: Connection) -> None:
    await cancelled_booking(connection, KEY)
    (account,) = (await read_statement(connection, "t1", U1, None, MovementFilter())).accounts
    assert account.opening == Held(0, 0)
    assert account.closing == Held(41 * EUR, 0)
    assert account.adds_up
    assert [(each.event, each.amount, each.after.available, each.document) for each in account.movements] == [
        ("issued", 121 * EUR, 121 * EUR, Document("booking", "b1", "N-i1")),
        ("applied", -80 * EUR, 41 * EUR, Document("invoice", "i2", "N-i2")),
    ]


async def test_a_statement_of_a_span_opens_with_what_was_before(connection: Connection) -> None:
    await cancelled_booking(connection, KEY)
    (account,) = (await read_statement(connection, "t1", U1, "EUR", MovementFilter(start=day(3)))).accounts
    assert (account.opening, len(account.movements)) == (Held(121 * EUR, 0), 1)
    (account,) = (await read_statement(connection, "t1", U1, "EUR", MovementFilter(end=day(3)))).accounts
    assert (account.closing, account.adds_up) == (Held(121 * EUR, 0), True)
    (account,) = (await read_statement(connection, "t1", U1, "EUR", MovementFilter(start=day(20)))).accounts
    assert (account.opening, account.movements, account.closing) == (Held(41 * EUR, 0), (), Held(41 * EUR, 0))


async def test_a_statement_as_of_an_earlier_moment_shows_what_was_known_then(connection: Connection) -> None:
    await cancelled_booking(connection, KEY)
    statement = await read_statement(connection, "t1", U1, None, MovementFilter(as_of=day(4)))
    assert statement.as_of == day(4)
    assert statement.accounts[0].closing == Held(121 * EUR, 0)


async def test_a_limit_leaves_out_the_older_movements_and_says_so(connection: Connection) -> None:
    await cancelled_booking(connection, KEY)
    (account,) = (await read_statement(connection, "t1", U1, None, MovementFilter(limit=1))).accounts
    assert (account.earlier, account.opening, account.adds_up) == (True, Held(121 * EUR, 0), True)


async def test_a_balance_that_somebody_changed_does_not_add_up(connection: Connection) -> None:
    await cancelled_booking(connection, KEY)
    await connection.execute("UPDATE accounts SET available = available + 1")
    (account,) = (await read_statement(connection, "t1", U1, None, MovementFilter())).accounts
    assert not account.adds_up
