"""Statements: documents, both balances, what expires when, and that a sum which does not hold is named."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from avoir.cli.base.snapshot import NotYetError
from avoir.cli.statement.movements import Document, Held
from avoir.cli.statement.query import AccountStatement, MovementFilter, read_statement
from avoir.core.model.events import AccountKey
from avoir.core.model.facts import Owner
from avoir.postgres.connect import Connection
from tests.integration.ledger_rows import EUR, Book, cancelled_booking, day

U1 = Owner("user", "u1")
KEY = AccountKey("t1", *U1, "EUR")


async def statement_of(connection: Connection, **span: Any) -> AccountStatement:
    statement = await read_statement(connection, "t1", U1, "EUR", MovementFilter(**span))
    (account,) = statement.accounts
    return account


async def tamper(connection: Connection, statement: str) -> None:
    """What nobody may do: as a superuser, with the triggers off."""
    await connection.execute("ALTER TABLE entries DISABLE TRIGGER ALL")
    for (child,) in await connection.fetch(
        "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'entries'::regclass"
    ):
        await connection.execute(f"ALTER TABLE {child} DISABLE TRIGGER ALL")
    await connection.execute(statement)


async def test_credit_set_aside_and_released_is_no_gain(connection: Connection) -> None:
    book = await Book(connection, KEY).open()
    grant = await book.grant("g", 100 * EUR, day(1))
    for counter, amount, event in (("reserved", -80 * EUR, "reserved"), ("reserved", 80 * EUR, "released")):
        await book.post(grant, amount, counter, day(2), event=event, reason="command", event_id="c1")
    account = await statement_of(connection)
    assert [(each.event, each.amount, each.change, each.after) for each in account.movements] == [
        ("issued", 100 * EUR, Held(100 * EUR, 0), Held(100 * EUR, 0)),
        ("reserved", 0, Held(-80 * EUR, 80 * EUR), Held(20 * EUR, 80 * EUR)),
        ("released", 0, Held(80 * EUR, -80 * EUR), Held(100 * EUR, 0)),
    ]
    assert account.adds_up


async def test_credit_reserved_at_once_and_used_from_there(connection: Connection) -> None:
    book = await Book(connection, KEY).open()
    grant = await book.grant("g", 60 * EUR, day(1), to="reserved")
    await book.invoice("i2", 60 * EUR, day(2))
    await book.post(
        grant,
        -60 * EUR,
        "applied",
        day(2),
        event="applied",
        reason="line_item",
        event_id="e4",
        invoice_id="i2",
        side="reserved",
    )
    account = await statement_of(connection, end=day(2))
    assert (account.closing, account.unexpired) == (Held(0, 60 * EUR), Held(0, 60 * EUR))
    account = await statement_of(connection)
    assert [each.amount for each in account.movements] == [60 * EUR, -60 * EUR]
    assert (account.closing, account.adds_up) == (Held(0, 0), True)


async def test_a_posting_is_not_parted_by_the_limit(connection: Connection) -> None:
    book = await Book(connection, KEY).open()
    grant = await book.grant("g", 100 * EUR, day(1))
    await book.post(grant, -80 * EUR, "reserved", day(2), event="reserved", reason="command", event_id="c1")
    account = await statement_of(connection, limit=1)
    assert [each.change for each in account.movements] == [Held(-80 * EUR, 80 * EUR)]
    assert (account.opening, account.earlier, account.adds_up) == (Held(100 * EUR, 0), True, True)
    assert not (await statement_of(connection, limit=3)).earlier


async def test_draws_of_millionths_and_events_that_no_table_knows(connection: Connection) -> None:
    book = await Book(connection, KEY).open()
    grant = await book.grant("g", EUR, day(1), source="granted", reason="purchase", reference="order 7")
    await book.post(grant, -125, "drawn", day(2), event="drawn", reason="usage", event_id="c1")
    await book.post(grant, -EUR // 2, "refunded", day(3), event="refunded", reason="gateway", event_id="c2")
    await book.post(grant, -1, "voided", day(4), event="whatever", reason="new", event_id="c3")
    account = await statement_of(connection)
    assert [each.amount for each in account.movements] == [EUR, -125, -EUR // 2, -1]
    assert account.movements[0].document == Document("reference", "order 7")
    assert (account.closing.available, account.adds_up) == (499_874, True)


async def test_what_expires_when_soonest_first(connection: Connection) -> None:
    book = await Book(connection, KEY).open()
    now = datetime.now(UTC)
    for name, days in (("late", 9), ("soon", 2), ("gone", -1)):
        await book.grant(name, 10 * EUR, day(1), expires_at=now + timedelta(days=days))
    await book.grant("stays", 11 * EUR, day(1))
    used = await book.grant("used", EUR, day(1), expires_at=now + timedelta(days=1))
    await book.post(used, -EUR, "drawn", day(2), event="drawn", reason="usage", event_id="c1")
    account = await statement_of(connection)
    assert [(each.expires_at - now).days for each in account.expiring] == [2, 9]
    assert [each.left for each in account.expiring] == [Held(10 * EUR, 0)] * 2
    assert (account.closing, account.expired_unswept) == (Held(41 * EUR, 0), Held(10 * EUR, 0))
    assert account.unexpired == Held(31 * EUR, 0)


async def test_expiry_counts_to_the_second_at_both_ends_of_a_span(connection: Connection) -> None:
    book = await Book(connection, KEY).open()
    await book.grant("g", 10 * EUR, day(1), expires_at=day(5))
    await book.grant("h", EUR, day(1))
    before = await statement_of(connection, as_of=day(5) - timedelta(seconds=1))
    assert (before.unexpired, len(before.expiring)) == (Held(11 * EUR, 0), 1)
    at = await statement_of(connection, as_of=day(5))
    assert (at.closing, at.unexpired, at.expiring) == (Held(11 * EUR, 0), Held(EUR, 0), ())
    after = await statement_of(connection, start=day(5))
    assert (after.opening, after.opening_expired) == (Held(11 * EUR, 0), Held(10 * EUR, 0))


async def test_a_span_takes_its_first_moment_and_not_its_last(connection: Connection) -> None:
    await cancelled_booking(connection, KEY)
    times = [row[0] for row in await connection.fetch("SELECT recorded_at FROM entries ORDER BY seq")]
    first, second = times
    assert len((await statement_of(connection, start=first, end=second)).movements) == 1
    assert len((await statement_of(connection, start=second)).movements) == 1
    assert (
        len((await statement_of(connection, start=first, end=second + timedelta(microseconds=1))).movements)
        == 2
    )
    assert len((await statement_of(connection, as_of=first)).movements) == 1
    assert (await statement_of(connection, as_of=first - timedelta(microseconds=1))).closing == Held(0, 0)


async def test_a_closed_month_stays_what_it_was(connection: Connection) -> None:
    book, grant = await cancelled_booking(connection, KEY)
    june = {"start": day(1), "end": datetime(2025, 7, 1, tzinfo=UTC)}
    as_of = {"as_of": datetime(2025, 6, 30, 23, 59, 59, tzinfo=UTC)}
    then = await statement_of(connection, **june), await statement_of(connection, **as_of)
    july = datetime(2025, 7, 3, tzinfo=UTC)
    await book.post(grant, -EUR, "taken_back", july, event="voided", reason="changed", event_id="e9")
    assert (await statement_of(connection, **june), await statement_of(connection, **as_of)) == then
    assert (await statement_of(connection, start=july)).opening == then[0].closing


async def test_each_currency_has_its_statement(connection: Connection) -> None:
    for currency in ("KWD", "EUR"):
        book = await Book(connection, AccountKey("t1", *U1, currency)).open()
        await book.grant("g", EUR, day(1))
    statement = await read_statement(connection, "t1", U1, None, MovementFilter())
    assert [each.account.currency for each in statement.accounts] == ["EUR", "KWD"]
    assert all(each.adds_up for each in statement.accounts)


async def test_a_credit_note_and_a_payment_are_documents(connection: Connection) -> None:
    book = await Book(connection, KEY).open()
    await book.invoice("i1", -30 * EUR, day(1))
    for kind, id_ in (("negative_total", "i1"), ("payment", "p1")):
        await connection.execute(
            "INSERT INTO entitlements (tenant_id, owner_type, owner_id, currency, kind, id, line_id, cost, target,"
            " given, source, due_from) VALUES ($1, $2, $3, $4, $5, $6, '', $7, $7, $7, 'x', now())",
            *KEY,
            kind,
            id_,
            30 * EUR,
        )
        grant = await book.grant(id_, 30 * EUR, day(1))
        await connection.execute(
            "UPDATE grants SET (entitlement_kind, entitlement_id, entitlement_line_id) = ($2, $3, '')"
            " WHERE grant_id = $1",
            grant,
            kind,
            id_,
        )
    assert [each.document for each in (await statement_of(connection)).movements] == [
        Document("credit_note", "i1", "N-i1-CN1"),
        Document("payment", "p1"),
    ]


@pytest.mark.parametrize(
    ("statement", "where", "what", "expected", "found"),
    [
        (
            "UPDATE entries SET amount = amount + 1000000 WHERE seq = 1",
            "account user/u1 EUR, entry 1.1",
            "balance of available",
            "122.00",
            "121.00",
        ),
        (
            "UPDATE entries SET balance = balance + 1 WHERE seq = 2",
            "account user/u1 EUR, entry 2.1",
            "balance of available",
            "41.00",
            "41.000001",
        ),
        ("DELETE FROM entries WHERE seq = 2", "account user/u1 EUR", "available", "121.00", "41.00"),
        ("UPDATE accounts SET reserved = 5000000", "account user/u1 EUR", "reserved", "0.00", "5.00"),
    ],
    ids=["an amount", "a balance", "an entry taken out", "an account"],
)
async def test_a_tampered_row_does_not_add_up_and_is_named(
    connection: Connection, statement: str, where: str, what: str, expected: str, found: str
) -> None:
    await cancelled_booking(connection, KEY)
    assert (await statement_of(connection)).adds_up
    await tamper(connection, statement)
    account = await statement_of(connection)
    assert not account.adds_up
    first = account.differences[0]
    assert (first.where, first.what, first.expected, first.found) == (where, what, expected, found)


async def test_what_was_tampered_with_before_the_span_is_found_too(connection: Connection) -> None:
    await cancelled_booking(connection, KEY)
    await tamper(connection, "UPDATE entries SET amount = amount + 1000000 WHERE seq = 1")
    account = await statement_of(connection, start=day(3), end=day(20))
    assert account.differences[0].where == "account user/u1 EUR, before the first movement"
    assert account.opening == Held(122 * EUR, 0)


async def test_a_moment_to_come_was_not_recorded_yet(connection: Connection) -> None:
    await cancelled_booking(connection, KEY)
    with pytest.raises(NotYetError, match="is in the future"):
        await statement_of(connection, as_of=datetime.now(UTC) + timedelta(hours=1))


async def test_an_unknown_owner_has_no_account(connection: Connection) -> None:
    nobody = await read_statement(connection, "t1", Owner("user", str(uuid4())), None, MovementFilter())
    assert nobody.accounts == ()
