"""What a message costs follows what it changes, not what is open in its account or what became of its booking."""

import tracemalloc
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from avoir.batch import portion
from avoir.batch.batch import Rules
from avoir.core.model.commands import Command
from avoir.core.model.events import AccountKey
from avoir.core.model.facts import Fact
from avoir.core.model.message import Message
from avoir.core.state.references import References
from avoir.core.state.state import State
from avoir.postgres.connect import Connection
from avoir.postgres.load import FIRST_PAGE, Loader
from avoir.postgres.session import Session
from deploy.local.harness.databases import connection_to
from tests.integration.delivery import GROUP, delivering
from tests.integration.records import Deliverer
from tests.unit.core.commands import drawn, granted
from tests.unit.core.world import cancelled, invoice, line, message, payment, reversal, shortened

OPEN = 10_000
AT_ONCE = 1_000
MEGABYTE = 2**20
# As much time to decide as a slow machine needs: no batch is cut.
ANY_TIME = Rules(GROUP, max_future=timedelta(days=9_999), decide_s=600)
ACCOUNT = AccountKey("t1", "user", "u1", "EUR")


async def deliver_many(
    deliverer: Deliverer, bodies: list[Fact | Command], prefix: str, when: str = "06-01"
) -> None:
    """Deliver messages of one moment, a thousand at a time."""
    delivered = [message(f"{prefix}{n}", when, body) for n, body in enumerate(bodies)]
    for start in range(0, len(delivered), AT_ONCE):
        await deliverer.deliver(delivered[start : start + AT_ONCE])


async def test_one_owner_with_ten_thousand_open_invoices(database: str) -> None:
    async with delivering(database, ANY_TIME) as (deliverer, kept):
        await deliver_many(
            deliverer, [invoice(f"i{n}", line("l1", "10", booking=f"b{n}")) for n in range(OPEN)], "f"
        )
        tracemalloc.start()
        report = await deliverer.deliver(
            [
                message("c1", "06-02", cancelled("b1")),
                message("p1", "06-03", payment("p1", "10", "i1")),
                message("p2", "06-04", payment("p2", "95")),
            ]
        )
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert report.decisions["payment-recorded", "issued"] == 1
        assert report.decisions["payment-recorded", "recorded"] == 1
        async with kept.use() as connection:
            assert await open_invoices(connection) == OPEN - 1 - 9
    assert peak < 8 * MEGABYTE


async def open_invoices(connection: Connection) -> int:
    count: int = await connection.fetchval("SELECT count(*) FROM invoices WHERE settled + applied < total")
    return count


async def loaded(connection: Connection) -> State:
    """What a batch that concerns the account begins with."""
    async with connection.transaction():
        return await Loader(Session(connection), References(), [ACCOUNT]).load(datetime.now(UTC))


async def test_of_many_open_rows_only_the_first_are_loaded_and_a_draw_takes_no_more_statements(
    database: str,
) -> None:
    async with delivering(database, ANY_TIME) as (deliverer, kept):
        statements = []
        for grants in (10, 3_000):
            await deliver_many(deliverer, [granted("0.01")] * grants, f"g{grants}-")
            report = await deliverer.deliver([message(f"d{grants}", "06-02", drawn("0.05"))])
            assert report.decisions["draw-credit", "recorded"] == 1
            statements.append(report.statements)
        await deliver_many(
            deliverer, [invoice(f"i{n}", line("l1", "1"), automatic=False) for n in range(500)], "f"
        )
        async with kept.use() as connection:
            state = await loaded(connection)
        assert statements[0] == statements[1]
        assert len(state.grants.rows) == len(state.invoices.rows) == FIRST_PAGE


async def test_a_use_of_many_grants_loads_on_until_it_has_enough(database: str) -> None:
    async with delivering(database, ANY_TIME) as (deliverer, kept):
        await deliver_many(deliverer, [granted("0.01")] * 2_000, "g")
        report = await deliverer.deliver(
            [message("d", "06-02", drawn("15")), message("e", "06-02", drawn("5.01"))]
        )
        assert report.decisions == {("draw-credit", "recorded"): 1, ("draw-credit", "declined"): 1}
        async with kept.use() as connection:
            assert await connection.fetchval("SELECT sum(available) FROM grants") == 5_000_000
            assert len((await loaded(connection)).grants.rows) == FIRST_PAGE


async def test_of_many_changes_of_a_booking_only_those_that_decide_are_loaded(database: str) -> None:
    async with delivering(database, ANY_TIME) as (deliverer, kept):
        await deliverer.deliver(
            [message("f", "06-01", invoice("i1", line("l1", "1000", booking="b1"), paid="1000"))]
        )
        asked: list[Any] = [shortened("b1", prices=("1000.00", f"{999 - n}.00")) for n in range(300)]
        unasked: list[Any] = [shortened("b1", prices=("1000.00", "900.00"), by="admin")] * 300
        await deliver_many(deliverer, asked, "c")
        await deliver_many(deliverer, unasked, "d", "06-02")
        references = References()
        references.add(message("x", "06-02", cancelled("b1")))
        async with kept.use() as connection, connection.transaction():
            state = await Loader(Session(connection), references, [ACCOUNT]).load(datetime.now(UTC))
        assert sorted((each.asked for each in state.changes.rows.values()), reverse=True) == [True, False]


@pytest.mark.parametrize("is_changed", [False, True])
async def test_no_more_than_ten_thousand_lines_bill_one_booking(database: str, is_changed: bool) -> None:
    async with delivering(database, ANY_TIME) as (deliverer, kept):
        if is_changed:
            await deliverer.deliver([message("c", "06-02", cancelled("b1"))])
        lines = [line(f"l{n}", "1", booking="b1") for n in range(5_000)]
        delivered = [message(f"f{n}", "06-01", invoice(f"i{n}", *lines)) for n in range(2)]
        neighbour = message("f", "06-01", invoice("i", line("l1", "1", booking="b1")), tenant="t2")
        report = await deliverer.deliver([*delivered, neighbour])
        assert report.decisions == {("invoice-finalized", "recorded"): 3}
        one_more = message(
            "f2", "06-01", invoice("i2", line("l1", "1", booking="b1"), line("l2", "1", booking="b2"))
        )
        report = await deliverer.deliver([one_more])
        assert report.decisions == {("invoice-finalized", "rejected"): 1}
        async with kept.use() as connection:
            assert (
                await connection.fetchval("SELECT count(*) FROM invoice_lines WHERE tenant_id = 't1'")
                == 10_000
            )
            facts = await connection.fetchval("SELECT facts FROM decisions WHERE outcome = 'rejected'")
        assert "lines: booking b1 would be billed on more than 10000 lines" in facts


async def test_a_batch_that_takes_too_long_to_decide_is_handled_in_parts(database: str) -> None:
    async with delivering(database, Rules(GROUP, decide_s=0.0)) as (deliverer, kept):
        delivered = [
            message(f"f{n}", "06-01", invoice(f"i{n}", line("l1", "10", booking=f"b{n}"))) for n in range(8)
        ]
        report = await deliverer.deliver(delivered)
        assert report.messages == 8
        async with kept.use() as connection:
            assert await connection.fetchval("SELECT count(DISTINCT recorded_at) FROM decisions") == 8


async def moments(connection: Connection, what: str) -> int:
    """In how many transactions rows were recorded."""
    count: int = await connection.fetchval(f"SELECT count(DISTINCT recorded_at) FROM {what}")
    return count


async def test_what_is_due_at_once_expires_in_bounded_transactions_before_a_message_counts(
    database: str,
) -> None:
    async with (
        delivering(database, replace(ANY_TIME, most_due=3, page=1)) as (deliverer, _),
        connection_to(database) as owner,
    ):
        await deliver_many(deliverer, [granted(f"{n}.00") for n in range(1, 9)], "g")
        await owner.execute(
            "UPDATE grants SET expires_at = clock_timestamp() - make_interval(secs => 100 - amount / 1000000)"
        )
        report = await deliverer.deliver([message("d", "06-02", drawn("1"))])
        assert report.messages == 1
        assert report.decisions == {("draw-credit", "declined"): 1}
        assert report.amounts["expired", "EUR"] == 36_000_000
        assert await moments(owner, "entries WHERE event = 'expired'") == 3
        expired = await owner.fetch("SELECT amount FROM entries WHERE event = 'expired' ORDER BY seq")
        assert [row["amount"] for row in expired] == [-n * 1_000_000 for n in range(1, 9)]


async def test_the_sweep_expires_no_more_than_it_is_told_to(database: str) -> None:
    async with (
        delivering(database, replace(ANY_TIME, page=1)) as (deliverer, _),
        connection_to(database) as owner,
    ):
        await deliver_many(deliverer, [granted("1.00")] * 5, "g")
        await owner.execute("UPDATE grants SET expires_at = clock_timestamp() - interval '1 s'")
        expired = []
        while (await deliverer._handler.expire(2)).messages:
            expired.append(await owner.fetchval("SELECT count(*) FROM grants WHERE lost > 0"))
        assert expired == [2, 4, 5]


async def test_messages_that_need_many_rows_go_in_several_transactions(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(portion, "MOST_LINES", 10)
    monkeypatch.setattr(portion, "MAX_LINES_LOADED", 20)
    monkeypatch.setattr(portion, "_FEW", 1)
    async with delivering(database) as (deliverer, _), connection_to(database) as owner:
        for n in range(6):
            lines = [line(f"l{k}", "1", booking=f"b{n}") for k in range(8)]
            await deliverer.deliver([message(f"f{n}", "06-01", invoice(f"i{n}", *lines, paid="8"))])
        report = await deliverer.deliver([message(f"c{n}", "06-02", cancelled(f"b{n}")) for n in range(6)])
        assert report.decisions == {("booking-cancelled", "issued"): 6}
        assert await moments(owner, "decisions WHERE topic = 'booking-cancelled'") == 3


async def test_one_message_that_needs_too_many_rows_is_parked_alone(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, most in (("MOST_LINES", 10), ("MAX_LINES_LOADED", 20), ("_FEW", 1), ("MAX_LINES_ALONE", 25)):
        monkeypatch.setattr(portion, name, most)
    async with delivering(database) as (deliverer, _), connection_to(database) as owner:
        for n in range(3):
            lines = [line(f"l{k}", "1", booking=f"b{n}") for k in range(9)]
            await deliverer.deliver([message(f"f{n}", "06-01", invoice(f"i{n}", *lines, paid="9"))])
        await deliverer.deliver([message(f"c{n}", "06-02", cancelled(f"b{n}")) for n in range(3)])
        heavy = invoice("i", *(line(f"l{n}", "1", booking=f"b{n}") for n in range(3)))
        light = message("g", "06-03", granted("1"), tenant="t2")
        report = await deliverer.deliver(
            [light, message("f", "06-03", heavy), message("h", "06-03", granted("1"))]
        )
        assert report.decisions["invoice-finalized", "parked"] == 1
        assert report.decisions["grant-credit", "issued"] == 2
        assert "lines of changed bookings" in await owner.fetchval("SELECT reason FROM dead_letters")


async def test_an_overpayment_that_paid_many_invoices_is_loaded_without_what_it_paid(database: str) -> None:
    async with delivering(database, ANY_TIME) as (deliverer, kept):
        await deliverer.deliver([message("p", "06-30", payment("p1", "1000"))])
        for n in range(300):
            bill = invoice(f"i{n}", line("l1", "1", booking=f"b{n}"))
            await deliverer.deliver([message(f"f{n}", "06-02", bill)])
        async with kept.use() as connection:
            state = await loaded(connection)
            assert await connection.fetchval("SELECT max(n) FROM settlements") == 300
        assert len(state.payments.rows) == 1 and not state.settlements.rows
        # What it paid is known all the same once it is reversed.
        report = await deliverer.deliver([message("r", "07-01", reversal("r1", "p1", "1000"))])
        assert report.decisions == {("payment-reversed", "recorded"): 1}
        async with kept.use() as connection:
            assert await open_invoices(connection) == 300


async def test_more_than_a_hundred_changes_that_may_count_are_refused(database: str) -> None:
    async with delivering(database, ANY_TIME) as (deliverer, _):

        def change(n: int) -> Message:
            when = f"06-01T{23 - n // 60:02}:{59 - n % 60:02}"
            return message(f"c{n}", when, cancelled("b1", revision=n))

        report = await deliverer.deliver([change(n) for n in range(100)])
        assert report.decisions == {("booking-cancelled", "declined"): 100}
        report = await deliverer.deliver([change(100), message("d", "06-02", cancelled("b2"))])
        assert report.decisions == {
            ("booking-cancelled", "rejected"): 1,
            ("booking-cancelled", "declined"): 1,
        }


async def test_the_many_grants_of_a_line_are_loaded_only_where_some_are_taken_back(database: str) -> None:
    async with delivering(database, ANY_TIME) as (deliverer, kept):
        bill = invoice("i1", line("l1", "1000", booking="b1"), paid="1000")
        await deliverer.deliver([message("f", "06-01", bill)])
        changes: list[Any] = [shortened("b1", prices=("1000.00", f"{999 - n}.00")) for n in range(300)]
        for n, change in enumerate(changes):
            await deliverer.deliver([message(f"c{n}", f"06-02T{n // 60:02}:{n % 60:02}", change)])
        references = References()
        references.add(message("x", "06-03", changes[-1]))
        async with kept.use() as connection, connection.transaction():
            state = await Loader(Session(connection), references, [ACCOUNT]).load(datetime.now(UTC))
        assert len(state.grants.rows) == FIRST_PAGE
        # Back to almost the whole price: all but the first grant is taken back.
        report = await deliverer.deliver(
            [message("d", "06-03", shortened("b1", prices=("1000.00", "999.00")))]
        )
        assert report.amounts["taken_back", "EUR"] == 299_000_000
