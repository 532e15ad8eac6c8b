"""The explanation of messages that changed nothing, as they were not accepted or Avoir failed on them."""

from typing import Any
from unittest.mock import Mock, patch

from pydantic import SecretStr

from avoir.cli.explain.prose.explanation import prose_of
from avoir.cli.explain.query import explain
from avoir.cli.explain.view import Subject
from avoir.core.decide import HANDLERS
from avoir.core.model.facts import InvoiceFinalized
from avoir.postgres.connect import Database
from tests.integration.direct_handler import DirectHandler, cancellation, invoice

PAYMENT: dict[str, Any] = {
    "payment_id": "pay1",
    "owner": {"type": "user", "id": "u1"},
    "amount": "10.00",
    "currency": "EUR",
    "method": "card",
    "invoice_ids": [],
}


async def explained(database: str, *subjects: tuple[str, str]) -> set[str]:
    """The first part of each explanation: one text each, without repetitions."""
    connection = await Database(SecretStr(database), role="avoir_readonly").connect()
    try:
        found = [await explain(connection, "t1", Subject(*each)) for each in subjects]
    finally:
        await connection.close()
    return {" ".join(prose_of(each).decided) for each in found}


async def test_what_could_not_be_read_is_not_told_as_if_it_had_happened(database: str) -> None:
    handler = DirectHandler(database)
    broken = cancellation("b77", "2025-06-02T00:00:00Z", changed_by="nobody")
    await handler.handle("booking-cancelled", event_id="ff", **broken)
    await handler.close()
    (words,) = await explained(database, ("event", "ff"))
    assert words.startswith(
        "A message on booking-cancelled (event ff) could not be read, so nothing was changed. "
        "Reason: changed_by: "
    )
    assert "was cancelled" not in words


async def test_what_is_too_far_ahead_is_found_by_its_payment(database: str) -> None:
    handler = DirectHandler(database)
    await handler.handle("payment-recorded", event_id="pp", occurred_at="2125-06-02T00:00:00Z", **PAYMENT)
    await handler.close()
    (words,) = await explained(database, ("event", "pp"), ("payment", "pay1"))
    assert words.startswith(
        "A message on payment-recorded (event pp) says that payment pay1 was recorded. It was rejected, so nothing "
        "was changed. Reason: occurred_at: more than 1 day"
    )


async def test_a_parked_message_is_found_by_its_invoice_with_the_error(database: str) -> None:
    handler = DirectHandler(database)
    bill = invoice("i1", "10.00", "2025-06-01T00:00:00Z")
    with patch.dict(HANDLERS, {InvoiceFinalized: Mock(side_effect=RuntimeError("a defect\0"))}):
        await handler.handle("invoice-finalized", event_id="f1", **bill)
    await handler.close()
    (words,) = await explained(database, ("event", "f1"), ("invoice", "i1"))
    assert words.startswith(
        "A message on invoice-finalized (event f1) says that on 1 June 2025 invoice i1 was finalized. "
        "Avoir failed on this message and parked it; it can be replayed after a fix. "
        "Reason: RuntimeError: a defect\\0."
    )


async def test_what_no_account_can_hold_is_found_by_its_owner(database: str) -> None:
    handler = DirectHandler(database)
    grant: dict[str, Any] = {
        "occurred_at": "2025-06-02T00:00:00Z",
        "actor": {"type": "admin", "id": "a1"},
        "owner": {"type": "user", "id": "u1"},
        "amount": "999999999999.99",
        "currency": "EUR",
        "reason": "goodwill",
    }
    for number in range(10):
        await handler.handle("grant-credit", event_id=f"g{number}", **grant)
    await handler.close()
    (words,) = await explained(database, ("event", "g9"))
    assert "says that on 2 June 2025 credit was to be granted to user/u1. It was rejected" in words
    (history,) = await explained(database, ("owner", "user/u1"))
    assert words in history
