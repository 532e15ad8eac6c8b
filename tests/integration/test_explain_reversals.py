"""The explanation of a reversal that undid all that a payment had paid."""

import pytest
from pydantic import SecretStr

from avoir.cli.explain.prose.explanation import prose_of
from avoir.cli.explain.query import explain
from avoir.cli.explain.view import Subject
from avoir.postgres.connect import Database
from tests.integration.delivery import delivering
from tests.unit.core.world import cancelled, invoice, line, message, payment, reversal


@pytest.mark.parametrize("subject", [Subject("payment", "p1"), Subject("event", "r1")])
async def test_a_full_reversal_is_told_with_the_invoice_and_the_credit_that_it_undid(
    database: str, subject: Subject
) -> None:
    async with delivering(database) as (deliverer, _):
        for each in (
            message("f1", "06-01", invoice("i1", line("l1", "80", booking="b1"))),
            message("e1", "06-02", payment("p1", "80", "i1")),
            message("c1", "06-03", cancelled("b1")),
            message("f2", "06-04", invoice("i2", line("l1", "60"))),
            message("r1", "06-05", reversal("r1", "p1", "80")),
        ):
            await deliverer.deliver([each])
    connection = await Database(SecretStr(database), role="avoir_readonly").connect()
    try:
        words = prose_of(await explain(connection, "t1", subject))
    finally:
        await connection.close()
    assert "On 5 June 2025 payment p1 was reversed." in " ".join(words.decided)
    since, now = " ".join(words.since), " ".join(words.now)
    assert "On 5 June 2025 20.00 EUR of it was taken back: the payment was reversed." in since
    assert "for 80.00 EUR has 80.00 EUR still due" in now
    assert "80.00 EUR is used: on no invoice; 80.00 EUR was reversed." in now
    assert "and 60.00 EUR could not be taken back." in now
