"""What is told of a message that gave nothing but undid something."""

from pydantic import SecretStr

from avoir.core.message import Message
from avoir.postgres.connect import Database
from avoir.read.explain import explain
from avoir.read.story import Subject
from avoir.read.telling import tell
from tests.integration.handler import delivering
from tests.unit.core.world import cancelled, invoice, line, message, voided


async def told(database: str, event_id: str, *messages: Message) -> str:
    """What is told of one of these messages, in the first part."""
    async with delivering(database) as (deliverer, _):
        for each in messages:
            await deliverer.deliver([each])
    connection = await Database(SecretStr(database), role="avoir_readonly").connect()
    try:
        explanation = await explain(connection, "t1", Subject("event", event_id))
    finally:
        await connection.close()
    assert explanation is not None
    return " ".join(tell(explanation).decided)


async def test_a_void_is_told_as_what_it_undid(database: str) -> None:
    bill = message("f1", "06-01", invoice("i1", line("l1", "100", booking="b1")))
    words = await told(database, "v1", bill, message("v1", "06-02", voided("i1")))
    assert "invoice i1 was voided" in words
    assert "Nothing is due on it any more" in words
    assert "no credit to give" not in words


async def test_a_change_that_takes_credit_back_is_told_as_such(database: str) -> None:
    bill = message("f1", "06-01", invoice("i1", line("l1", "100", booking="b1"), paid="100"))
    change = message("c1", "06-02", cancelled("b1", revision=1))
    smaller = message("c2", "06-03", cancelled("b1", revision=2, fee="40"))
    assert "taken back, as far as it was left" in await told(database, "c2", bill, change, smaller)
