"""What explains a decision, from rows of the data model, and the words for it."""

import pytest

from avoir.cli.explain.prose.explanation import prose_of
from avoir.cli.explain.query import explain
from avoir.cli.explain.view import Subject
from avoir.core.model.events import AccountKey
from avoir.postgres.connect import Connection
from tests.integration.ledger_rows import EUR, cancelled_booking

KEY = AccountKey("t1", "user", "u1", "EUR")


async def test_a_booking_is_told_with_its_decisions_lines_and_credit(connection: Connection) -> None:
    _, grant_id = await cancelled_booking(connection, KEY)
    explanation = await explain(connection, "t1", Subject("booking", "b1"))
    assert [each.outcome for each in explanation.decisions] == ["issued"]
    assert [(each.line.line_id, each.line.cost, each.given) for each in explanation.lines] == [
        ("l1", 121 * EUR, 121 * EUR)
    ]
    assert [each.grant.key.id for each in explanation.grants] == [grant_id]
    assert [each.changed_by for each in explanation.changes] == ["customer"]
    words = prose_of(explanation)
    assert words.decided == (
        "On 2 June 2025 booking b1 was cancelled by the customer. It had been billed on invoice i1 of 1 June 2025 "
        "(121.00 EUR, paid). Credit of 121.00 EUR was given.",
    )
    assert words.since == ("On 5 June 2025 80.00 EUR of it was used on invoice i2.",)
    assert words.now[-1].endswith("Of it: 41.00 EUR available and 80.00 EUR used on invoice i2.")


@pytest.mark.parametrize(
    "subject",
    [
        Subject("event", "e2"),
        Subject("invoice", "i1"),
        Subject("invoice", "i2"),
        Subject("grant", "the grant"),
        Subject("payment", "i1"),
    ],
)
async def test_the_same_credit_is_found_by_event_invoice_and_grant(
    connection: Connection, subject: Subject
) -> None:
    _, grant_id = await cancelled_booking(connection, KEY)
    if subject.kind == "grant":
        subject = Subject("grant", str(grant_id))
    explanation = await explain(connection, "t1", subject)
    assert explanation.is_known is (subject.kind != "payment")
    if subject.id in ("e2", "i1", str(grant_id)) and subject.kind != "payment":
        assert [each.grant.key.id for each in explanation.grants] == [grant_id]
    if subject.id == "i2":
        assert [each.amount for each in explanation.applications] == [80 * EUR]


async def test_another_tenant_finds_nothing(connection: Connection) -> None:
    _, grant_id = await cancelled_booking(connection, KEY)
    for subject in (Subject("booking", "b1"), Subject("event", "e2"), Subject("grant", str(grant_id))):
        assert not (await explain(connection, "t2", subject)).is_known


async def test_what_is_no_id_of_a_grant_is_not_found(connection: Connection) -> None:
    assert not (await explain(connection, "t1", Subject("grant", "nonsense"))).is_known
