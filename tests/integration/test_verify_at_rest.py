"""`verify` also finds what is not wrong in itself, but should not stand side by side."""

from pydantic import SecretStr

from avoir.cli.verify.query import verify
from avoir.core.model.message import Message
from avoir.postgres.connect import Database
from tests.integration.delivery import delivering
from tests.unit.core.world import World, invoice, line, message, payment


async def differences(database: str, statement: str, *messages: Message) -> list[str]:
    """What differs after these messages and a change behind the service's back."""
    async with delivering(database) as (deliverer, kept):
        for each in messages:
            await deliverer.deliver([each])
        async with kept.use() as connection:
            await connection.execute("SET ROLE NONE")
            await connection.execute(statement)
    connection = await Database(SecretStr(database), role="avoir_readonly").connect()
    try:
        found = verify(connection, None, lambda _name, _rows: None, lambda _tenant, _sizes: None)
        return [each.what async for each in found]
    finally:
        await connection.close()


OPEN = message("f1", "06-02", invoice("i1", line("l1", "100", kind="other"), automatic=False))
LATER = message("p1", "06-03", payment("p1", "40", "i9"))
EARLIER = message("p1", "06-01", payment("p1", "40", "i9"))


async def test_a_payment_with_something_left_beside_the_open_invoice_that_it_names(database: str) -> None:
    tampered = "UPDATE payments SET invoice_ids = '{i1}'"
    assert await differences(database, tampered, OPEN, LATER) == ["due beside the rest of payment p1"]


async def test_credit_beside_the_open_invoice_that_it_was_early_enough_for(database: str) -> None:
    tampered = "UPDATE invoices SET automatic = true"
    assert await differences(database, tampered, EARLIER, OPEN) == ["due beside usable credit"]


async def test_nothing_differs_where_they_rightly_stand_side_by_side(database: str) -> None:
    assert await differences(database, "SELECT 1", OPEN, EARLIER) == []


async def test_nothing_differs_where_a_credit_line_is_short_of_prepaid_credit(database: str) -> None:
    world = World()
    bought = message("f1", "06-01", invoice("i1", line("l1", "30", kind="prepaid"), paid="30"))
    world.handle(bought)
    credit = line("c", "-50", credit=world.grant_id("f1"))
    used = message("f2", "06-02", invoice("i2", line("l1", "80"), credit))
    assert await differences(database, "SELECT 1", bought, used) == []
