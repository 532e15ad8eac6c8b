"""Tables and documents of statements and reports: no digit is lost, and what is written can be read again."""

import csv
import json
from dataclasses import replace
from datetime import UTC, datetime
from io import StringIO
from typing import Any
from uuid import UUID

import pytest

from avoir.cli.base.differences import Difference
from avoir.cli.base.output import print_csv, show, table
from avoir.cli.report.command import COLUMNS, liability_json, liability_rows, print_tenants
from avoir.cli.report.liability import (
    NO_FIGURES,
    CurrencyLiability,
    Figures,
    SourceLiability,
    TenantLiability,
)
from avoir.cli.statement.command import document_words, movement_words
from avoir.cli.statement.documents import STATEMENT_AMOUNTS, STATEMENT_COLUMNS, statement_json, statement_rows
from avoir.cli.statement.movements import NOTHING, Document, Held, Movement
from avoir.cli.statement.query import AccountStatement, Expiring, Statement
from avoir.core.model.events import AccountKey
from avoir.core.model.facts import Owner

AT = datetime(2025, 6, 2, 12, tzinfo=UTC)
EUR = 1_000_000
GRANT = UUID(int=7)


def movement(change: Held, after: Held, **more: Any) -> Movement:
    values: dict[str, Any] = {
        "seq": 1,
        "n": 1,
        "event": "reserved",
        "reason": "command",
        "ledger_account": "reserved",
        "counter_account": "available",
        "grant_id": GRANT,
        "source": "granted",
        "document": Document("invoice", "i1", 'INV-1, "final"'),
        "application_id": None,
        "cause_topic": "apply-credit",
        "cause_event_id": "c1\nsecond line",
        "occurred_at": AT,
        "recorded_at": AT,
    }
    return Movement(change=change, after=after, **values | more)


OPENING, CLOSING = Held(50 * EUR, 0), Held(29_999_875, 20 * EUR)
STATEMENT = Statement(
    "t1",
    Owner("user", "u1"),
    AT,
    (
        AccountStatement(
            AccountKey("t1", "user", "u1", "EUR"),
            OPENING,
            NOTHING,
            (
                movement(Held(-20 * EUR, 20 * EUR), Held(30 * EUR, 20 * EUR)),
                movement(Held(-125, 0), CLOSING, event="drawn", document=None, counter_account="drawn"),
            ),
            CLOSING,
            Held(5 * EUR, 0),
            (Expiring(GRANT, "granted", "referral", AT, Held(EUR, 0)),),
            False,
            (),
        ),
    ),
)


def read_again(columns: tuple[str, ...], rows: Any) -> list[dict[str, str]]:
    written = StringIO()
    csv.writer(written).writerows([columns, *rows])
    return list(csv.DictReader(StringIO(written.getvalue())))


def test_a_statement_as_csv_says_what_the_json_says() -> None:
    rows = read_again(STATEMENT_COLUMNS, statement_rows(STATEMENT))
    (account,) = statement_json(STATEMENT)["accounts"]
    assert [each["row"] for each in rows] == ["opening", *["movement"] * 2, "closing", "expired", "expiring"]
    moved = [each for each in rows if each["row"] == "movement"]
    assert [each["amount"] for each in moved] == [each["amount"] for each in account["movements"]]
    assert [each["amount"] for each in moved] == ["0.00", "-0.000125"]
    assert moved[0]["document_number"] == 'INV-1, "final"'
    assert moved[0]["cause_event_id"] == "c1\nsecond line"
    assert (moved[0]["available_change"], moved[0]["reserved_change"]) == ("-20.00", "20.00")
    assert rows[-1]["expires_at"] == account["expiring"][0]["at"]
    assert account["unexpired"] == {"available": "24.999875", "reserved": "20.00"}
    json.dumps(account)


@pytest.mark.parametrize("first", "=+-@\t\r")
def test_text_in_csv_is_no_formula_and_amounts_keep_their_sign(
    first: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = f'{first}HYPERLINK("http://127.0.0.1/","x")'
    moved = movement(Held(-EUR, 0), CLOSING, document=Document("invoice", text, text), cause_event_id=text)
    account = replace(STATEMENT.accounts[0], movements=(moved,))
    statement = replace(STATEMENT, tenant_id=text, owner=Owner("user", text), accounts=(account,))
    print_csv(STATEMENT_COLUMNS, STATEMENT_AMOUNTS, statement_rows(statement))
    row = list(csv.DictReader(StringIO(capsys.readouterr().out, newline="")))[1]
    named = ("tenant_id", "owner_id", "document_id", "document_number", "cause_event_id")
    assert [row[name] for name in named] == [f"'{text}"] * len(named)
    assert (row["amount"], row["available_change"]) == ("-1.00", "-1.00")
    assert (row["reason"], row["seq"]) == ("command", "1")


def test_words_for_movements_and_documents() -> None:
    aside = movement(Held(-20 * EUR, 20 * EUR), CLOSING)
    assert movement_words(aside, "EUR") == "reserved 20.00\ncommand"
    taken = movement(Held(-EUR, 0), CLOSING, event="voided", reason="changed", counter_account="taken_back")
    assert movement_words(taken, "EUR") == "taken back\nchanged"
    back = movement(Held(EUR, -EUR), CLOSING, event="reinstated", reason="not_needed")
    assert movement_words(back, "EUR") == "released 1.00\nnot needed"
    drawn = {"event": "drawn", "reason": "usage_17", "document": Document("reference", "usage_17")}
    assert movement_words(movement(Held(-1, 0), CLOSING, **drawn), "EUR") == "drawn"
    new = movement(Held(EUR, 0), CLOSING, event="some_new_event", reason="some_new_event")
    assert movement_words(new, "EUR") == "some new event"
    assert document_words(Document("booking", "b1", "INV-1")) == "booking b1, invoice INV-1"
    assert document_words(Document("plan", "p1")) == "plan p1"
    assert document_words(Document("credit_note", "i1", "INV-1-CN1")) == "credit note INV-1-CN1"
    assert document_words(Document("invoice", "i1")) == "invoice i1"
    assert document_words(None) == ""


def tenant(*sources: SourceLiability, differences: tuple[Difference, ...] = ()) -> TenantLiability:
    currencies = (CurrencyLiability("EUR", sources),) if sources else ()
    return TenantLiability("t1", AT, AT, currencies, differences)


FULL = Figures(2, 30 * EUR, 12 * EUR, 40 * EUR, EUR, 0, EUR, EUR, 2 * EUR, 3 * EUR, 5 * EUR, 0)
PAID = SourceLiability("overpayment", "overpayment", True, FULL)
GIVEN = SourceLiability("granted", "referral", False, FULL)


def test_the_report_in_json_has_totals_that_are_sums() -> None:
    document = liability_json([tenant(PAID, GIVEN), tenant(GIVEN)], None)
    euros = document["tenants"][0]["currencies"][0]
    assert (euros["outstanding"], euros["paid_for"], euros["grants"]) == ("84.00", "42.00", 4)
    assert euros["age_days"] == {"0_30": "80.00", "31_60": "2.00", "61_90": "0.00", "over_90": "2.00"}
    assert euros["expires_in_days"] == {"30": "2.00", "60": "4.00", "90": "6.00"}
    assert euros["expired_unswept"] == {"available": "10.00", "reserved": "0.00"}
    assert [each["outstanding"] for each in euros["sources"]] == ["42.00", "42.00"]
    assert document["totals"][0]["outstanding"] == "126.00"


def test_the_report_as_csv_sums_to_its_total() -> None:
    rows = read_again(COLUMNS, liability_rows(tenant(PAID, GIVEN)))
    assert [(each["source"], each["reason"], each["paid_for"]) for each in rows] == [
        ("overpayment", "overpayment", "yes"),
        ("granted", "referral", "no"),
    ]
    assert sum(float(each["outstanding"]) for each in rows) == 84


def test_what_had_all_expired_is_no_source_any_more(capsys: pytest.CaptureFixture[str]) -> None:
    gone = SourceLiability("prepaid", "prepaid", True, NO_FIGURES._replace(expired_available=EUR))
    assert liability_rows(tenant(gone)) == []
    print_tenants([tenant(gone)])
    assert "Not included: 1.00 EUR that had expired by then." in capsys.readouterr().out


def test_totals_that_do_not_hold_are_said_in_capitals(capsys: pytest.CaptureFixture[str]) -> None:
    print_tenants(
        [tenant(PAID, differences=(Difference("t1", "account user/u1 EUR", "available", "1", "2"),))]
    )
    assert "The totals DO NOT MATCH what the accounts held then." in capsys.readouterr().out
    print_tenants([])
    assert "There is no account yet." in capsys.readouterr().out


def test_no_digit_is_lost_however_wide_the_amounts(capsys: pytest.CaptureFixture[str]) -> None:
    names = [f"c{n}" for n in range(8)]
    made = table("what", *names, right=names)
    made.add_row("a row", *["123456789012.123456"] * 8)
    show(made)
    assert capsys.readouterr().out.count("123456789012.123456") == 8
