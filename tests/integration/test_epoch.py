"""A new epoch, after the database was restored: kept with its reason, and every balance published under it."""

import json

from avoir.cli.base.epochs import raise_epoch
from tests.integration.handler import delivering
from tests.unit.core.world import cancelled, invoice, line, message


async def test_a_new_epoch_publishes_every_balance_again(database: str) -> None:
    async with delivering(database) as (deliverer, kept):
        bill = invoice("i1", line("l1", "100", booking="b1"), paid="100")
        await deliverer.deliver([message("f1", "06-01", bill), message("c1", "06-02", cancelled("b1"))])
        async with kept.use() as connection:
            await connection.execute("DELETE FROM outbox")
            assert await raise_epoch(connection, "restored", "/avoir") == (2, 1)
            (row,) = await connection.fetch("SELECT topic, value FROM outbox")
            assert await connection.fetchval("SELECT reason FROM epochs WHERE epoch = 2") == "restored"
        balance = json.loads(row["value"])
        assert row["topic"] == "credit-balance"
        assert (balance["epoch"], balance["seq"], balance["available"]) == (2, 1, "100.00")
        await deliverer.deliver([message("v1", "06-03", cancelled("b2"))])
        await deliverer.deliver([message("c2", "06-03", cancelled("b1", revision=1))])
        async with kept.use() as connection:
            last = await connection.fetchval(
                "SELECT value FROM outbox WHERE topic = 'credit-balance' ORDER BY outbox_id DESC LIMIT 1"
            )
        assert (json.loads(last)["epoch"], json.loads(last)["seq"]) == (2, 2)
