"""Records out: every event as the contract has it, with its key and its CloudEvents headers."""

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from msgspec.structs import replace

from avoir.core.model import events
from avoir.core.model.commands import Actor
from avoir.core.model.facts import Owner
from avoir.core.model.ledger import GENESIS
from avoir.core.model.rows import Account
from avoir.wire.outgoing import (
    Outgoing,
    account_of_key,
    balance_record,
    event_record,
    restated,
    seq_of,
)
from avoir_events import EVENTS, Part, read
from avoir_events.examples import EXAMPLES
from avoir_events.json_schemas import json_schema

UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
GRANT = UUID(EXAMPLES["credit-issued"]["grant_id"])
APPLICATION = UUID(EXAMPLES["credit-applied"]["application_id"])
DRAW = UUID(EXAMPLES["credit-drawn"]["draw_id"])
ACCOUNT = events.AccountKey("t1", "user", "u1", "EUR")
CHANGED = datetime(2026, 6, 2, 8, 30, tzinfo=UTC)
LINE = events.CreditFor("i1", "l1", "b1")
DOCUMENT = events.Document(invoice_id="i1", line_id="l1")
SLICES = (events.Slice(GRANT, 80_000_000, "booking_cancelled"),)
DECLINED = EXAMPLES["credit-declined"]

BODIES: dict[str, events.EventBody] = {
    "credit-issued": events.CreditIssued(
        grant_id=GRANT,
        amount=121_000_000,
        source="booking_cancelled",
        reason="booking_cancelled",
        note=None,
        priority=50,
        effective_at=CHANGED,
        expires_at=None,
        document=DOCUMENT,
        line_item=events.LineItem(GRANT, "Credit for booking b1", -100_000_000, -21_000_000, LINE),
    ),
    "credit-applied": events.CreditApplied(APPLICATION, "i1", 80_000_000, 40_000_000, "auto", SLICES),
    "credit-declined": events.CreditDeclined(
        DECLINED["asked"], "not_billed", DECLINED["facts"], DECLINED["would_change_it"], final=False
    ),
    "credit-reinstated": events.CreditReinstated(
        APPLICATION, "application", "i1", 80_000_000, 120_000_000, SLICES, "invoice_voided"
    ),
    "credit-reserved": events.CreditReserved(APPLICATION, GRANT, 80_000_000, None),
    "credit-refunded": events.CreditRefunded(80_000_000, SLICES, "gateway refund 4711"),
    "credit-drawn": events.CreditDrawn(DRAW, 80_000_000, 80_000_000, SLICES, "usage 17"),
    "credit-refill-requested": events.CreditRefillRequested(50_000_000, 10_000_000),
    "credit-voided": events.CreditVoided(GRANT, 20_000_000, "granted by mistake", "granted", None),
    "credit-expired": events.CreditExpired(GRANT, 20_000_000, "booking_cancelled", DOCUMENT),
    "credit-note-issued": events.CreditNoteIssued("INV-0001-CN1", "i1", 30_000_000),
    "credit-shortfall": events.CreditShortfall(20_000_000, 20_000_000, "invoice_voided", LINE),
}


CAUSES: dict[type, events.Cause | None] = {
    events.CreditExpired: None,
    events.CreditVoided: events.Cause("void-credit", "e1"),
}


def event(body: events.EventBody) -> events.Event:
    return events.Event(
        event_id=UUID(EXAMPLES["credit-issued"]["event_id"]),
        tenant_id="t1",
        owner=ACCOUNT.owner,
        account=ACCOUNT,
        occurred_at=CHANGED,
        recorded_at=CHANGED.replace(microsecond=184_223),
        caused_by=CAUSES.get(type(body), events.Cause("booking-cancelled", "e1")),
        epoch=1,
        seq=12,
        available=80_000_000,
        reserved=0,
        body=body,
        by=Actor("admin", "a1") if isinstance(body, events.CreditVoided) else None,
    )


def published(given_event: events.Event) -> Outgoing:
    return event_record(given_event, "/avoir")


def valid(outgoing: Outgoing) -> Part:
    Draft202012Validator(json_schema(outgoing.topic)).validate(json.loads(outgoing.value))
    return read(EVENTS[outgoing.topic], outgoing.value)


@pytest.mark.parametrize("topic", BODIES)
def test_every_event_is_written_as_its_example(topic: str) -> None:
    outgoing = published(event(BODIES[topic]))
    assert outgoing.topic == topic
    assert json.loads(outgoing.value) == EXAMPLES[topic]
    valid(outgoing)


def test_every_kind_of_event_is_written() -> None:
    assert {type(body) for body in BODIES.values()} == set(events.EventBody.__args__)


@pytest.mark.parametrize("topic", BODIES)
def test_headers_are_those_of_cloudevents(topic: str) -> None:
    outgoing = published(event(BODIES[topic]))
    assert dict(outgoing.headers) == {
        "content-type": b"application/json",
        "ce_specversion": b"1.0",
        "ce_id": EXAMPLES[topic]["event_id"].encode(),
        "ce_source": b"/avoir",
        "ce_type": f"avoir.{topic}.v1".encode(),
        "ce_time": b"2026-06-02T08:30:00Z",
    }


def test_the_key_is_the_account_with_each_part_percent_encoded() -> None:
    assert published(event(BODIES["credit-issued"])).key == b"t1/user/u1/EUR"
    odd = events.AccountKey("a/b", "team", "50% ü", "JPY")
    outgoing = published(
        replace(event(BODIES["credit-voided"]), tenant_id="a/b", owner=odd.owner, account=odd)
    )
    assert outgoing.key == b"a%2Fb/team/50%25%20%C3%BC/JPY"
    assert json.loads(outgoing.value)["amount"] == "20"


def test_a_refusal_that_concerns_no_account() -> None:
    refused = replace(
        event(BODIES["credit-declined"]),
        tenant_id="t/1",
        owner=Owner("team", "u2"),
        account=None,
        seq=None,
        available=None,
        reserved=None,
    )
    outgoing = published(refused)
    assert outgoing.key == b"t%2F1"
    valid(outgoing)
    value = json.loads(outgoing.value)
    assert value["account"] == {"owner": {"type": "team", "id": "u2"}, "currency": None}
    assert value["seq"] is None
    assert value["balance"] is None


def test_a_shortfall_may_be_of_a_payment_and_be_made_up_for() -> None:
    body = events.CreditShortfall(-5_000_000, 0, "payment_reversed", events.CreditFor(payment_id="pay1"))
    outgoing = published(event(body))
    valid(outgoing)
    value = json.loads(outgoing.value)
    assert (value["amount"], value["for"]) == ("-5.00", {"payment_id": "pay1"})


def test_a_shortfall_may_be_of_a_whole_invoice() -> None:
    body = events.CreditShortfall(5_000_000, 5_000_000, "invoice_voided", events.CreditFor(invoice_id="i1"))
    valid(published(event(body)))


def test_what_may_be_absent_is_null() -> None:
    plain = events.CreditIssued(GRANT, 1, "granted", "other", "thanks ü", 0, CHANGED, CHANGED, None, None)
    value = json.loads(published(event(plain)).value)
    assert (value["line_item"], value["expires_at"], value["note"]) == (
        None,
        "2026-06-02T08:30:00Z",
        "thanks ü",
    )
    released = events.CreditReinstated(APPLICATION, "reservation", None, 1_000_000, None, SLICES, "x")
    outgoing = published(event(released))
    valid(outgoing)
    assert json.loads(outgoing.value)["amount_due"] is None


def test_times_go_out_in_utc() -> None:
    local = CHANGED.astimezone(timezone(timedelta(hours=2)))
    value = json.loads(published(replace(event(BODIES["credit-expired"]), occurred_at=local)).value)
    assert value["occurred_at"] == "2026-06-02T08:30:00Z"


def test_a_balance_is_written_as_its_example() -> None:
    example = EXAMPLES["credit-balance"]
    event_id = UUID(EXAMPLES["credit-issued"]["event_id"])
    balance = events.Balance(
        event_id=event_id,
        account=ACCOUNT,
        available=80_000_000,
        reserved=0,
        as_of=CHANGED.replace(microsecond=184_223),
        epoch=1,
        seq=12,
        head=bytes.fromhex(example["head"]),
    )
    outgoing = balance_record(balance, "/avoir")
    assert (outgoing.topic, outgoing.key) == ("credit-balance", b"t1/user/u1/EUR")
    assert json.loads(outgoing.value) == example
    valid(outgoing)
    headers = dict(outgoing.headers)
    assert (headers["ce_id"], headers["ce_time"]) == (str(event_id).encode(), example["as_of"].encode())


def test_a_balance_of_nothing_is_valid() -> None:
    account = Account(ACCOUNT, 0, 0, 0, GENESIS)
    outgoing = balance_record(account.balance(account.event_id(2), 2, CHANGED), "/avoir")
    valid(outgoing)
    value = json.loads(outgoing.value)
    assert (value["epoch"], value["seq"], value["voids_from"], value["head"]) == (2, 0, 1, "00" * 32)


def test_an_event_that_waits_is_put_under_another_epoch() -> None:
    before = published(event(BODIES["credit-expired"]))
    assert seq_of(before.value) == 12
    value, headers = restated(before.value, before.headers, GRANT, 3, 10)
    changed = {"event_id": str(GRANT), "epoch": 3, "voids_from": 10}
    assert json.loads(value) == json.loads(before.value) | changed
    assert dict(headers) == dict(before.headers) | {"ce_id": str(GRANT).encode()}
    valid(before._replace(value=value, headers=headers))


@UNHURRIED
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20))
def test_the_key_of_a_balance_spells_its_account(anything: str) -> None:
    account = events.AccountKey(anything, "team", anything, "EUR")
    balance = events.Balance(GRANT, account, 0, 0, CHANGED, epoch=1, seq=1, head=b"")
    assert account_of_key(balance_record(balance, "/avoir").key) == account


@UNHURRIED
@given(
    st.integers(1, 10**18 - 1),
    st.sampled_from(["EUR", "JPY", "KWD", "CLF"]),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=20),
)
def test_any_event_reads_back_as_what_was_written(amount: int, currency: str, owner_id: str) -> None:
    account = ACCOUNT._replace(owner_id=owner_id, currency=currency)
    outgoing = published(
        replace(
            event(events.CreditVoided(GRANT, amount, owner_id, "granted", None)),
            owner=account.owner,
            account=account,
            available=amount,
        )
    )
    written: dict[str, Any] = valid(outgoing).model_dump()
    whole, _, fraction = written["amount"].partition(".")
    assert int(whole + fraction.ljust(6, "0")) == amount
    assert written["account"]["owner"]["id"] == owner_id
    assert len(outgoing.key.split(b"/")) == 4
