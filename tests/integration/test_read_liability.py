"""What is owed in credit at a moment: by source, age and expiry, and checked against the accounts."""

from datetime import UTC, datetime, timedelta

import pytest

from avoir.cli.base.snapshot import NotYetError
from avoir.cli.report.liability import NO_FIGURES, Figures, TenantLiability, read_liability, totals
from avoir.cli.statement.movements import NOTHING, Held
from avoir.cli.statement.query import MovementFilter, read_statement
from avoir.core.model.events import AccountKey
from avoir.postgres.connect import Connection
from tests.integration.ledger_rows import EUR, Book, cancelled_booking, day
from tests.integration.test_read_statement import tamper

KEY = AccountKey("t1", "user", "u1", "EUR")
JULY = datetime(2025, 7, 1, tzinfo=UTC)
DAY = timedelta(days=1)


async def reported(
    connection: Connection, as_of: datetime | None = JULY, tenant: str | None = "t1"
) -> list[TenantLiability]:
    return [each async for each in read_liability(connection, tenant, as_of)]


async def total(connection: Connection, as_of: datetime | None = JULY, currency: str = "EUR") -> Figures:
    (tenant,) = await reported(connection, as_of)
    assert tenant.differences == ()
    return next((each.total for each in tenant.currencies if each.currency == currency), NO_FIGURES)


async def test_available_and_reserved_by_source(connection: Connection) -> None:
    book, grant = await cancelled_booking(connection, KEY)
    await book.post(grant, -EUR, "reserved", day(6), event="reserved", reason="command", event_id="c1")
    other = await Book(connection, AccountKey("t1", "team", "t7", "EUR")).open()
    for name, reason in (("a", "referral"), ("b", "purchase"), ("c", "referral")):
        paid_for = reason == "purchase"
        await other.grant(name, 5 * EUR, day(3), source="granted", reason=reason, paid_for=paid_for)
    (tenant,) = await reported(connection)
    (euros,) = tenant.currencies
    assert [
        (each.source, each.reason, each.paid_for, each.figures.grants, each.figures.outstanding)
        for each in euros.sources
    ] == [
        ("booking_cancelled", "booking_cancelled", True, 1, 41 * EUR),
        ("granted", "purchase", True, 1, 5 * EUR),
        ("granted", "referral", False, 2, 10 * EUR),
    ]
    assert (euros.total.available, euros.total.reserved) == (55 * EUR, EUR)
    assert euros.paid_for.outstanding == 46 * EUR
    assert tenant.differences == ()


@pytest.mark.parametrize(
    ("old", "bucket"),
    [
        (timedelta(0), "age_0_30"),
        (31 * DAY - timedelta(microseconds=1), "age_0_30"),
        (31 * DAY, "age_31_60"),
        (61 * DAY - timedelta(microseconds=1), "age_31_60"),
        (61 * DAY, "age_61_90"),
        (91 * DAY - timedelta(microseconds=1), "age_61_90"),
        (91 * DAY, "age_over_90"),
        (-timedelta(hours=1), "age_0_30"),
    ],
    ids=str,
)
async def test_age_in_whole_days_since_it_took_effect(
    connection: Connection, old: timedelta, bucket: str
) -> None:
    book = await Book(connection, KEY).open()
    await book.grant("g", EUR, JULY - old, recorded_at=JULY - 91 * DAY)
    figures = await total(connection)
    ages = {name: getattr(figures, name) for name in Figures._fields if name.startswith("age_")}
    assert ages.pop(bucket) == EUR
    assert set(ages.values()) == {0}


@pytest.mark.parametrize(
    ("left", "counted"),
    [
        (timedelta(seconds=1), (1, 1, 1, 0)),
        (30 * DAY, (1, 1, 1, 0)),
        (30 * DAY + timedelta(seconds=1), (0, 1, 1, 0)),
        (60 * DAY + timedelta(seconds=1), (0, 0, 1, 0)),
        (90 * DAY, (0, 0, 1, 0)),
        (90 * DAY + timedelta(seconds=1), (0, 0, 0, 0)),
        (timedelta(0), (0, 0, 0, 1)),
    ],
    ids=str,
)
async def test_what_expires_soon_and_what_had_expired(
    connection: Connection, left: timedelta, counted: tuple[int, ...]
) -> None:
    book = await Book(connection, KEY).open()
    await book.grant("g", EUR, day(1), expires_at=JULY + left)
    figures = await total(connection)
    soon = (figures.expires_in_30, figures.expires_in_60, figures.expires_in_90, figures.expired_available)
    assert soon == tuple(count * EUR for count in counted)
    assert figures.outstanding == (0 if left == timedelta(0) else EUR)


async def test_an_earlier_month_end_gives_the_same_figures_for_ever(connection: Connection) -> None:
    book, grant = await cancelled_booking(connection, KEY)
    gone = await book.grant("gone", 7 * EUR, day(8), expires_at=day(20))
    before = await total(connection)
    assert (before.outstanding, before.expired_available) == (41 * EUR, 7 * EUR)
    later = JULY + timedelta(seconds=1)
    await book.post(gone, -7 * EUR, "expired", later, event="expired", reason="expired", event_id="")
    await book.post(grant, -EUR, "drawn", later, event="drawn", reason="usage", event_id="c1")
    await book.grant("new", 9 * EUR, day(9), recorded_at=later)
    assert await total(connection) == before
    assert (await total(connection, None)).outstanding == 49 * EUR
    assert (await total(connection, day(4))).outstanding == 121 * EUR
    assert await total(connection, day(1)) == NO_FIGURES


async def test_currencies_and_tenants_are_kept_apart(connection: Connection) -> None:
    keys = [("t1", "EUR"), ("t1", "JPY"), ("t2", "EUR")]
    for n, (tenant, currency) in enumerate(keys, 1):
        book = await Book(connection, AccountKey(tenant, "user", "u1", currency)).open()
        await book.grant("g", n * EUR, day(1))
    tenants = await reported(connection, tenant=None)
    assert [
        (tenant.tenant_id, each.currency, each.total.outstanding)
        for tenant in tenants
        for each in tenant.currencies
    ] == [("t1", "EUR", EUR), ("t1", "JPY", 2 * EUR), ("t2", "EUR", 3 * EUR)]
    assert {currency: each.outstanding for currency, each in totals(tenants).items()} == {
        "EUR": 4 * EUR,
        "JPY": 2 * EUR,
    }


async def test_no_accounts_and_an_unknown_tenant(connection: Connection) -> None:
    assert await reported(connection, tenant=None) == []
    await Book(connection, KEY).open()
    assert await reported(connection, tenant="t2") == []
    (tenant,) = await reported(connection)
    assert (tenant.currencies, tenant.differences) == ((), ())


AMOUNT = "UPDATE entries SET amount = amount + 1000000 WHERE seq = 1"
BALANCE = "UPDATE entries SET balance = balance + 1000000 WHERE seq = 2"
GONE = "DELETE FROM entries WHERE seq = 2"
ACCOUNT = "UPDATE accounts SET available = available + 1000000"


@pytest.mark.parametrize("statement", [AMOUNT, BALANCE, GONE, ACCOUNT])
async def test_a_tampered_row_is_named_with_its_account(connection: Connection, statement: str) -> None:
    await cancelled_booking(connection, KEY)
    await tamper(connection, statement)
    (tenant,) = await reported(connection)
    assert any(each.where == "account user/u1 EUR" for each in tenant.differences)


async def test_a_total_that_is_not_that_of_the_accounts_is_named(connection: Connection) -> None:
    await cancelled_booking(connection, KEY)
    await tamper(connection, BALANCE)
    (tenant,) = await reported(connection)
    first = tenant.differences[0]
    assert (first.where, first.what) == ("all accounts in EUR", "available")
    assert (first.expected, first.found) == ("41.00", "42.00")


async def test_a_moment_to_come_has_no_figures_yet(connection: Connection) -> None:
    await Book(connection, KEY).open()
    with pytest.raises(NotYetError):
        await reported(connection, datetime.now(UTC) + timedelta(hours=1))


async def test_many_accounts_add_up(connection: Connection) -> None:
    for n in range(40):
        book = await Book(connection, AccountKey("t1", "user", f"u{n}", "EUR")).open()
        grant = await book.grant("g", 10 * EUR, day(1 + n % 28))
        if n % 2:
            await book.post(
                grant, -n * EUR // 10, "drawn", JULY - DAY, event="drawn", reason="u", event_id="c"
            )
    assert (await total(connection)).outstanding == 400 * EUR - sum(range(1, 40, 2)) * EUR // 10


async def test_the_report_is_the_sum_of_the_statements_as_of_the_same_moment(connection: Connection) -> None:
    book, grant = await cancelled_booking(connection, KEY)
    await book.grant("gone", 7 * EUR, day(8), expires_at=JULY)
    await book.post(grant, -EUR, "reserved", day(6), event="reserved", reason="command", event_id="c1")
    other = await Book(connection, AccountKey("t1", "team", "t7", "EUR")).open()
    await other.grant("g", 5 * EUR, day(3), to="reserved")
    await other.grant("late", 5 * EUR, day(3), recorded_at=JULY + DAY)
    left = NOTHING
    for key in (KEY, other.key):
        statement = await read_statement(connection, "t1", key.owner, "EUR", MovementFilter(as_of=JULY))
        left = left.plus(statement.accounts[0].unexpired)
    figures = await total(connection)
    assert left == Held(figures.available, figures.reserved) == Held(40 * EUR, 6 * EUR)
