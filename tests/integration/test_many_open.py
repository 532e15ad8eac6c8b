"""One owner with 10,000 open invoices still works within bounded memory."""

import tracemalloc
from datetime import timedelta

from avoir.batch import Rules
from avoir.postgres.connect import Connection
from tests.integration.handler import GROUP, delivering
from tests.unit.core.world import cancelled, invoice, line, message, payment

OPEN = 10_000
MEGABYTE = 2**20


async def test_one_owner_with_ten_thousand_open_invoices(database: str) -> None:
    async with delivering(database, Rules(GROUP, max_future=timedelta(days=9_999))) as (deliverer, kept):
        told = [
            message(f"f{n}", "06-01", invoice(f"i{n}", line("l1", "10", booking=f"b{n}")))
            for n in range(OPEN)
        ]
        for start in range(0, OPEN, 1_000):
            await deliverer.deliver(told[start : start + 1_000])
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
    assert peak < 80 * MEGABYTE


async def open_invoices(connection: Connection) -> int:
    count: int = await connection.fetchval("SELECT count(*) FROM invoices WHERE settled + applied < total")
    return count


async def test_a_batch_that_takes_too_long_to_decide_is_handled_in_parts(database: str) -> None:
    async with delivering(database, Rules(GROUP, decide_s=0.0)) as (deliverer, kept):
        told = [
            message(f"f{n}", "06-01", invoice(f"i{n}", line("l1", "10", booking=f"b{n}"))) for n in range(8)
        ]
        report = await deliverer.deliver(told)
        assert report.messages == 8
        async with kept.use() as connection:
            assert await connection.fetchval("SELECT count(DISTINCT recorded_at) FROM decisions") == 8
