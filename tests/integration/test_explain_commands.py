"""What explains commands, uses, reservations, owners, lines and policies, as a support person asks for it."""

from typing import Any

import pytest

from avoir.cli.base.exits import Exit
from tests.integration.command import Command
from tests.integration.direct_handler import DirectHandler, cancellation, invoice

OWNER = {"type": "user", "id": "u1"}
ACTOR = {"actor": {"type": "admin", "id": "a1"}}
ASKED: dict[str, Any] = {**ACTOR, "owner": OWNER, "currency": "EUR"}
LATER = "2125-01-01T00:00:00Z"


@pytest.fixture(autouse=True)
def _settings(monkeypatch: pytest.MonkeyPatch, database: str) -> None:
    monkeypatch.setenv("AVOIR_POSTGRES_DSN", database)


@pytest.fixture
async def _delivered(database: str) -> None:
    """Booking b1 of 121.00, cancelled but for a fee of 10.00; 20.00 by hand, 12.00 of them set aside, 0.50 drawn."""
    handler = DirectHandler(database)
    paid = {"kind": "booking", "booking_id": "b1", "paid": "121.00"}
    fee = {"fee": "10.00", "currency": "EUR"}
    grant = {"occurred_at": "2025-06-03T00:00:00Z", **ASKED, "reason": "goodwill"}
    apply = {"occurred_at": "2025-06-04T00:00:00Z", **ASKED, "grant_id": None}
    scope: dict[str, Any] = {**ACTOR, "scope": {"tenant": True}}
    messages: list[tuple[str, str, dict[str, Any]]] = [
        (
            "p1",
            "set-credit-policy",
            {"occurred_at": "2025-05-01T00:00:00Z", **scope, "policy": {"expires_after_days": 36500}},
        ),
        ("f1", "invoice-finalized", invoice("i1", "121.00", "2025-06-01T00:00:00Z", **paid)),
        ("c1", "booking-cancelled", cancellation("b1", "2025-06-02T00:00:00Z", **fee)),
        ("g1", "grant-credit", {**grant, "amount": "20.00", "note": "sorry", "priority": 1}),
        ("g2", "grant-credit", {**grant, "amount": "15.00", "effective_at": LATER}),
        ("a1", "apply-credit", {**apply, "invoice_id": "i9", "amount": "12.00"}),
        ("a2", "apply-credit", {**apply, "invoice_id": "i1", "amount": None}),
        (
            "d1",
            "draw-credit",
            {
                "occurred_at": "2025-06-05T00:00:00Z",
                **ASKED,
                "amount": "0.50",
                "allow_partial": False,
                "reference": "usage 1",
            },
        ),
        ("f2", "invoice-finalized", invoice("i2", "30.00", "2025-06-06T00:00:00Z")),
        (
            "p2",
            "set-credit-policy",
            {"occurred_at": "2025-06-07T00:00:00Z", **scope, "policy": {"auto_apply": False}},
        ),
    ]
    for event_id, topic, value in messages:
        await handler.handle(topic, event_id=event_id, **value)
    await handler.close()


async def ids(command: Command, event_id: str) -> str:
    """The id of the credit that a message gave."""
    (grant,) = (await command.json("explain", event_id, "--tenant", "t1"))["grants"]
    return str(grant["grant_id"])


@pytest.mark.usefixtures("_delivered")
async def test_a_grant_tells_who_gave_it_and_where_it_went(command: Command) -> None:
    grant_id = await ids(command, "g1")
    words = await command.text("explain", "--grant", grant_id, "--tenant", "t1")
    assert (
        "granted to user/u1 by admin a1. Credit of 20.00 EUR was given. It was granted as goodwill." in words
    )
    assert 'The note on it: "sorry".' in words
    assert "On 4 June 2025 12.00 EUR of it was reserved for invoice i9." in words
    assert (
        "Of it: 12.00 EUR reserved for invoice i9, 0.50 EUR drawn for usage and 7.50 EUR used on invoice i2."
        in words
    )
    (grant,) = (await command.json("explain", "--grant", grant_id, "--tenant", "t1"))["grants"]
    assert [(each["counter_account"], each["invoice_id"], each["amount"]) for each in grant["uses"]] == [
        ("drawn", None, "0.50"),
        ("applied", "i2", "7.50"),
    ]
    assert [(each["invoice_id"], each["amount"]) for each in grant["held"]] == [("i9", "12.00")]


@pytest.mark.usefixtures("_delivered")
async def test_credit_to_come_says_when(command: Command) -> None:
    words = await command.text("explain", "g2", "--tenant", "t1")
    assert "It was to take effect on 1 January 2125." in words
    assert "takes effect on 1 January 2125 as goodwill. Of it: 15.00 EUR pending." in words


@pytest.mark.usefixtures("_delivered")
async def test_a_use_and_a_reservation_are_found_by_their_application(command: Command) -> None:
    (held,) = (await command.json("explain", "a1", "--tenant", "t1"))["reservations"]
    words = await command.text("explain", "--application", held["application_id"], "--tenant", "t1")
    assert "On 4 June 2025 12.00 EUR was to be used on invoice i9 by admin a1." in words
    assert f"12.00 EUR of credit {held['grant_id']} is reserved for invoice i9." in words
    (use,) = (await command.json("explain", "--invoice", "i2", "--tenant", "t1"))["applications"]
    assert [part["amount"] for part in use["slices"]] == ["7.50", "22.50"]
    words = await command.text("explain", "--application", use["application_id"], "--tenant", "t1")
    assert (
        "30.00 EUR of credit was used on invoice i2 on 6 June 2025, automatically: 7.50 EUR of credit"
        in words
    )
    for unknown in ("nonsense", "00000000-0000-0000-0000-000000000001"):
        await command.text("explain", "--application", unknown, "--tenant", "t1", code=Exit.FOUND)


@pytest.mark.usefixtures("_delivered")
async def test_a_refused_command_says_so_and_nothing_else(command: Command) -> None:
    words = await command.text("explain", "a2", "--tenant", "t1")
    assert "as much credit as possible was to be used on invoice i1 by admin a1. It was refused." in words
    assert "Nothing was left to pay on the invoice." in words


@pytest.mark.usefixtures("_delivered")
async def test_an_owner_has_the_last_decisions_told(command: Command) -> None:
    document = await command.json("explain", "--owner", "user/u1", "--tenant", "t1")
    assert [each["event_id"] for each in document["decisions"]] == [
        "f1",
        "c1",
        "g1",
        "g2",
        "a1",
        "a2",
        "d1",
        "f2",
    ]
    last = await command.json("explain", "--owner", "user/u1", "--tenant", "t1", "--limit", "2")
    assert [each["event_id"] for each in last["decisions"]] == ["d1", "f2"]
    words = await command.text("explain", "--owner", "user/u1", "--tenant", "t1")
    assert "It came from 0.50 EUR of the credit of 3 June 2025 given as goodwill." in words
    await command.text("explain", "--owner", "user/u2", "--tenant", "t1", code=Exit.FOUND)


@pytest.mark.usefixtures("_delivered")
async def test_a_line_is_told_to_the_cent(command: Command) -> None:
    line = ("explain", "--invoice", "i1", "--line", "l1", "--tenant", "t1")
    words = await command.text(*line)
    assert (
        "Of the fee of 10.00 EUR, 10.00 EUR is kept from this line, so on its own it is worth 111.00 EUR."
        in words
    )
    document = await command.json(*line)
    assert (document["total"], document["cost"], document["target"], document["given"]) == (
        "121.00",
        "121.00",
        "111.00",
        "111.00",
    )
    assert [(each["event_id"], each["role"], each["fee_kept"]) for each in document["changes"]] == [
        ("c1", "counts", "10.00")
    ]
    await command.text("explain", "--invoice", "i1", "--line", "other", "--tenant", "t1", code=Exit.FOUND)
    await command.text("explain", "--booking", "b1", "--line", "l1", "--tenant", "t1", code=Exit.USAGE)


@pytest.mark.usefixtures("_delivered")
async def test_settings_that_counted_name_their_message(command: Command) -> None:
    words = await command.text("explain", "c1", "--tenant", "t1")
    assert "credit expires after 36500 days (set for all customers by message p1 of 1 May 2025)" in words
    document = await command.json("explain", "c1", "--tenant", "t1")
    assert [(each["event_id"], each["keys"]) for each in document["policies"]] == [
        ("p1", {"expires_after_days": 36500})
    ]


@pytest.mark.usefixtures("_delivered")
async def test_a_message_that_set_something_is_told_with_those_after_it(command: Command) -> None:
    words = await command.text("explain", "p1", "--tenant", "t1")
    assert "the credit settings of all customers were set by admin a1. From then on: credit expires" in words
    assert "new invoices use no credit automatically." in words.partition("What happened since")[2]


@pytest.mark.usefixtures("_delivered")
async def test_policy_show_tells_what_is_in_force_when_and_why(command: Command) -> None:
    asked = ("policy", "show", "--tenant", "t1", "--owner", "user/u1")
    words = await command.text(*asked)
    assert "auto_apply off all customers: message p2 of 2025-06-07 00:00:00" in words
    then = await command.json(*asked, "--at", "2025-06-06")
    values = {each["key"]: (each["value"], each["from"]) for each in then["values"]}
    assert values["auto_apply"] == (True, "setting")
    assert values["expires_after_days"] == (36500, "tenant")
    assert [(each["event_id"], each["by"]) for each in then["history"]] == [
        ("p1", "admin/a1"),
        ("p2", "admin/a1"),
    ]
    of_invoice = await command.json("policy", "show", "--tenant", "t1", "--invoice", "i1")
    assert of_invoice["owner"] == OWNER
    assert "No message has set any policy." in await command.text("policy", "show", "--tenant", "t2")
    await command.text("policy", "show", "--owner", "user/u1", code=Exit.USAGE)


@pytest.mark.usefixtures("_delivered")
async def test_a_balance_tells_what_comes_and_what_is_set_aside(command: Command) -> None:
    (account,) = (await command.json("balance", "user/u1", "--tenant", "t1"))["accounts"]
    assert account["coming"] == [{"at": LATER, "amount": "15.00"}]
    assert account["set_aside"] == [{"invoice_id": "i9", "amount": "12.00"}]
    assert account["refill_asked"] is False
    words = await command.text("balance", "user/u1", "--tenant", "t1")
    assert "12.00 is reserved for invoice i9; 15.00 becomes available on 2125-01-01 00:00:00." in words
