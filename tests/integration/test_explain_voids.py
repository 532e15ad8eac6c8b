"""The explanation of a message that gave nothing but undid something."""

from pydantic import SecretStr

from avoir.cli.explain.prose.explanation import prose_of
from avoir.cli.explain.query import explain
from avoir.cli.explain.view import Subject
from avoir.core.model.message import Message
from avoir.postgres.connect import Database
from tests.integration.delivery import delivering
from tests.unit.core.world import cancelled, invoice, line, message, voided


async def explained(database: str, event_id: str, *messages: Message) -> str:
    """The first part of the explanation of one of these messages."""
    async with delivering(database) as (deliverer, _):
        for each in messages:
            await deliverer.deliver([each])
    connection = await Database(SecretStr(database), role="avoir_readonly").connect()
    try:
        explanation = await explain(connection, "t1", Subject("event", event_id))
    finally:
        await connection.close()
    assert explanation is not None
    return " ".join(prose_of(explanation).decided)


async def test_a_void_is_told_as_what_it_undid(database: str) -> None:
    bill = message("f1", "06-01", invoice("i1", line("l1", "100", booking="b1")))
    words = await explained(database, "v1", bill, message("v1", "06-02", voided("i1")))
    assert words == (
        "On 2 June 2025 invoice i1 was voided. 100.00 EUR was still due on it. Nothing is due on it any more."
    )


async def test_a_void_tells_how_much_credit_and_money_it_undid(database: str) -> None:
    bill = message("f1", "06-01", invoice("i1", line("l1", "100", booking="b1"), paid="100"))
    change = message("c1", "06-02", cancelled("b1"))
    words = await explained(database, "v1", bill, change, message("v1", "06-03", voided("i1")))
    assert words.startswith(
        "On 3 June 2025 invoice i1 was voided. 100.00 EUR of credit was taken back. "
        "100.00 EUR paid for it was freed, for other amounts due or as credit. "
        "Nothing is due on it any more. Credit of 100.00 EUR was given."
    )


async def test_a_void_tells_what_it_kept_for_credit_that_had_been_spent(database: str) -> None:
    bill = message("f1", "06-01", invoice("i1", line("l1", "100", booking="b1"), paid="100"))
    change = message("c1", "06-02", cancelled("b1"))
    other = message("f2", "06-02", invoice("i2", line("l1", "60")))
    words = await explained(database, "v1", bill, change, other, message("v1", "06-03", voided("i1")))
    assert "40.00 EUR of credit was taken back." in words
    assert "60.00 EUR of the payments for it was withheld, for credit that had been spent." in words
    assert "40.00 EUR paid for it was freed" in words
    assert "could not be taken back" not in words


async def test_a_void_tells_how_much_credit_went_back(database: str) -> None:
    credit = message("n1", "06-01", invoice("n1", line("l1", "-30")))
    bill = message("f1", "06-01", invoice("i1", line("l1", "100")))
    words = await explained(database, "v1", credit, bill, message("v1", "06-02", voided("i1")))
    assert words == (
        "On 2 June 2025 invoice i1 was voided. 70.00 EUR was still due on it. "
        "30.00 EUR of credit used on it became available again. Nothing is due on it any more."
    )


async def test_a_void_tells_what_it_could_not_take_back(database: str) -> None:
    words = await explained(
        database,
        "v1",
        message("f1", "06-01", invoice("i1", line("l1", "100"))),
        message("g1", "06-02", invoice("n1", line("l1", "-50"))),
        message("f2", "06-03", invoice("i2", line("l1", "100"))),
        message("v1", "06-04", voided("n1")),
    )
    assert "50.00 EUR of credit could not be taken back, because it had been spent." in words


async def test_a_change_that_takes_credit_back_is_told_as_such(database: str) -> None:
    bill = message("f1", "06-01", invoice("i1", line("l1", "100", booking="b1"), paid="100"))
    change = message("c1", "06-02", cancelled("b1", revision=1))
    smaller = message("c2", "06-03", cancelled("b1", revision=2, fee="40"))
    assert "What was left of the credit given for it was taken back" in await explained(
        database, "c2", bill, change, smaller
    )
