"""Entries as movements: running balances, the two halves of a posting, and where stored balances depart."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from avoir.cli.base.differences import Difference
from avoir.cli.statement.movements import NOTHING, Document, Held, differences, follow, last_entries
from avoir.core.model.events import AccountKey

KEY = AccountKey("t1", "user", "u1", "EUR")
EUR = 1_000_000
AT = datetime(2025, 6, 2, tzinfo=UTC)


def entry(seq: int, n: int, side: str, counter: str, amount: int, balance: int, **more: Any) -> Any:
    names = ("invoice_id", "application_id", "reference", "entitlement_kind", "entitlement_id", "line_kind")
    return {
        **dict.fromkeys((*names, "subject_id", "number")),
        "seq": seq,
        "n": n,
        "ledger_account": side,
        "counter_account": counter,
        "amount": amount,
        "balance": balance,
        "grant_id": UUID(int=1),
        "event": counter,
        "reason": "",
        "source": "granted",
        "topic": "",
        "event_id": "",
        "occurred_at": AT,
        "recorded_at": AT,
        **more,
    }


GIVEN = entry(1, 1, "available", "issued", 100, 100)
ASIDE = [
    entry(2, 1, "available", "reserved", -80, 20),
    entry(2, 2, "reserved", "available", 80, 80),
]


def test_the_two_halves_of_a_posting_are_one_movement() -> None:
    issued, aside = follow(NOTHING, [GIVEN, *ASIDE])
    assert (issued.change, issued.after) == (Held(100, 0), Held(100, 0))
    assert (aside.seq, aside.n, aside.amount) == (2, 1, 0)
    assert (aside.change, aside.after) == (Held(-80, 80), Held(20, 80))
    assert (aside.ledger_account, aside.counter_account) == ("reserved", "available")


def test_halves_of_different_grants_or_amounts_stay_apart() -> None:
    other = ASIDE[1] | {"grant_id": UUID(int=2)}
    assert len(follow(NOTHING, [GIVEN, ASIDE[0], other])) == 3
    assert len(follow(NOTHING, [GIVEN, ASIDE[0], ASIDE[1] | {"amount": 79}])) == 3


def test_two_postings_of_one_event_are_two_movements() -> None:
    back = [entry(2, 3, "reserved", "available", -80, 0), entry(2, 4, "available", "reserved", 80, 100)]
    assert [each.n for each in follow(NOTHING, [GIVEN, *ASIDE, *back])] == [1, 1, 3]


def test_the_last_entries_come_oldest_first_and_postings_stay_whole() -> None:
    newest_first = [*reversed(ASIDE), GIVEN]
    assert last_entries(newest_first, None) == ([GIVEN, *ASIDE], False)
    assert last_entries(newest_first, 3) == ([GIVEN, *ASIDE], False)
    assert last_entries(newest_first, 2) == (ASIDE, True)
    assert last_entries(newest_first, 1) == (ASIDE, True)
    assert last_entries(newest_first[:2], 1) == (ASIDE, False)
    assert last_entries([], 1) == ([], False)


def test_balances_that_follow_have_no_differences() -> None:
    assert differences(KEY, NOTHING, NOTHING, [GIVEN, *ASIDE]) == []


def test_one_tampered_amount_is_one_difference_however_many_follow() -> None:
    rows = [GIVEN | {"amount": 100 + EUR}, *ASIDE]
    where = "account user/u1 EUR, entry 1.1"
    assert differences(KEY, NOTHING, NOTHING, rows) == [
        Difference("t1", where, "balance of available", "1.0001", "0.0001")
    ]


def test_what_differs_before_the_first_movement_is_said_there() -> None:
    (found,) = differences(KEY, Held(0, EUR), NOTHING, [GIVEN])
    assert str(found) == (
        "tenant t1, account user/u1 EUR, before the first movement: balance of reserved is 0.00, expected 1.00"
    )


def document_of(**more: Any) -> Document | None:
    (movement,) = follow(NOTHING, [GIVEN | more])
    return movement.document


def test_each_document_has_its_number_where_it_is_known() -> None:
    line = {"entitlement_kind": "line", "entitlement_id": "i1", "number": "INV-1"}
    assert document_of(**line, line_kind="plan", subject_id="p1") == Document("plan", "p1", "INV-1")
    assert document_of(**line, line_kind="prepaid") == Document("invoice", "i1", "INV-1")
    assert document_of(**line, invoice_id="i2") == Document("invoice", "i2", "INV-1")
    assert document_of(invoice_id="i9") == Document("invoice", "i9", None)
    note = line | {"entitlement_kind": "negative_total"}
    assert document_of(**note) == Document("credit_note", "i1", "INV-1-CN1")
    assert document_of(**note | {"number": None}) == Document("credit_note", "i1", None)
    assert document_of(entitlement_kind="payment", entitlement_id="p1") == Document("payment", "p1")
    assert document_of(reference="friend of u7") == Document("reference", "friend of u7")
    used = {"event": "drawn", "reason": "usage_17", "reference": "order 7"}
    assert document_of(**used) == Document("reference", "usage_17")
    assert document_of() is None
