"""Every event in one line: what it did to whose credit."""

from typing import get_args
from uuid import UUID

import pytest

from avoir.cli.simulate.event_words import event_words
from avoir.core.model.events import (
    AccountKey,
    CreditApplied,
    CreditDeclined,
    CreditDrawn,
    CreditExpired,
    CreditFor,
    CreditIssued,
    CreditNoteIssued,
    CreditRefillRequested,
    CreditRefunded,
    CreditReinstated,
    CreditReserved,
    CreditShortfall,
    CreditVoided,
    Event,
    EventBody,
)
from avoir.core.model.facts import Owner
from tests.unit.core.world import EURO, at

ID = UUID(int=1)
WORDS: list[tuple[EventBody, str]] = [
    (
        CreditIssued(ID, 5 * EURO, "granted", "goodwill", None, 50, at("06-01"), None, None, None),
        "5.00 EUR given: goodwill",
    ),
    (CreditApplied(ID, "i1", 5 * EURO, 0, "auto", ()), "5.00 EUR used on invoice i1"),
    (CreditReserved(ID, ID, 5 * EURO, None), "5.00 EUR reserved for the next invoice"),
    (CreditReserved(ID, ID, 5 * EURO, "i1"), "5.00 EUR reserved for invoice i1"),
    (
        CreditReinstated(ID, "application", "i1", 5 * EURO, 0, (), "invoice_voided"),
        "5.00 EUR back from invoice i1",
    ),
    (
        CreditReinstated(ID, "reservation", None, 5 * EURO, None, (), "moved"),
        "5.00 EUR no longer reserved for the next invoice",
    ),
    (CreditVoided(ID, 5 * EURO, "invoice_voided", "granted", None), "5.00 EUR taken back: invoice voided"),
    (CreditExpired(ID, 5 * EURO, "granted", None), "5.00 EUR expired"),
    (CreditRefunded(5 * EURO, (), "gateway"), "5.00 EUR paid out in money"),
    (CreditDrawn(ID, 125, 125, (), "usage 17"), "0.000125 EUR drawn for usage 17"),
    (CreditRefillRequested(50 * EURO, 10 * EURO), "requested a refill of 50.00 EUR"),
    (CreditNoteIssued("INV-1-CN1", "i1", 5 * EURO), "credit note INV-1-CN1 for 5.00 EUR"),
    (
        CreditShortfall(5 * EURO, 5 * EURO, "payment_reversed", CreditFor(payment_id="p1")),
        "5.00 EUR could not be taken back: payment reversed",
    ),
    (
        CreditShortfall(-5 * EURO, 0, "changed", CreditFor(payment_id="p1")),
        "5.00 EUR of the shortfall was made up for",
    ),
]


def event(body: EventBody) -> Event:
    account = AccountKey("t1", "user", "u1", "EUR")
    moment = at("06-01")
    return Event(ID, "t1", Owner("user", "u1"), account, moment, moment, None, 1, 1, 41 * EURO, 0, body)


@pytest.mark.parametrize(("body", "words"), WORDS, ids=lambda each: type(each).__name__)
def test_what_an_event_did_and_what_there_is_after_it(body: EventBody, words: str) -> None:
    assert event_words(event(body)) == f"{words}; user/u1 then has 41.00 EUR"


def test_a_decline_is_told_by_its_decision() -> None:
    assert event_words(event(CreditDeclined({}, "not_billed", {}, "", final=False))) is None


def test_every_event_has_words() -> None:
    assert {type(body) for body, _ in WORDS} | {CreditDeclined} == set(get_args(EventBody))
