"""`avoir simulate FILE`: what is decided on a file of messages, without a database or a broker."""

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from avoir.cli.app import run
from avoir.cli.base.exits import Exit

U1 = {"type": "user", "id": "u1"}


@pytest.fixture(autouse=True)
def _no_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AVOIR_POSTGRES_DSN", raising=False)
    monkeypatch.delenv("AVOIR_KAFKA_BOOTSTRAP_SERVERS", raising=False)


@pytest.fixture
def file(tmp_path: Path) -> Callable[..., str]:
    def write(*lines: str) -> str:
        path = tmp_path / "messages.jsonl"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return str(path)

    return write


def said(topic: str, event_id: str, at: str, **value: Any) -> str:
    """A line as a file holds it."""
    envelope = {"event_id": event_id, "tenant_id": "t1", "occurred_at": f"2025-{at}T00:00:00Z"}
    return json.dumps({"topic": topic, "value": envelope | value})


def invoice(event_id: str, at: str, amount: str, *, paid: str = "0", booking: str | None = None) -> str:
    kind = {"kind": "other"} if booking is None else {"kind": "booking", "booking_id": booking}
    return said(
        "invoice-finalized",
        event_id,
        at,
        invoice_id=event_id,
        number=event_id,
        owner=U1,
        currency="EUR",
        finalization="automatic",
        lines=[{"line_id": "l1", "amount": amount, **kind}],
        total=amount,
        amount_paid=paid,
    )


def cancelled(event_id: str, at: str, booking: str) -> str:
    return said("booking-cancelled", event_id, at, booking_id=booking, owner=U1, changed_by="customer")


HISTORY = (
    invoice("i1", "06-01", "121.00", paid="121.00", booking="b1"),
    cancelled("c1", "06-02", "b1"),
    cancelled("c2", "06-03", "b9"),
    invoice("i2", "06-05", "80.00"),
)


def simulated(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    assert run(["simulate", *arguments, "--json"]) == Exit.OK, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


def test_every_message_is_told_with_what_it_gives_and_uses(
    file: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["simulate", file(*HISTORY)]) == Exit.OK
    words = " ".join(capsys.readouterr().out.split())
    assert "2 booking-cancelled c1: issued Booking b1 was cancelled. Credit was given." in words
    assert "-> 121.00 EUR given: booking cancelled; user/u1 then has 121.00 EUR" in words
    assert "3 booking-cancelled c2: declined" in words
    assert "It had not been billed on any finalized invoice by then. What would change it:" in words
    assert "-> 80.00 EUR used on invoice i2; user/u1 then has 41.00 EUR" in words
    assert "user/u1 EUR 41.00 121.00 80.00 0.00" in words
    assert words.endswith("As of 2025-06-05 00:00:00 UTC. Nothing was written or sent.")


def test_json_tells_the_decisions_and_the_events_as_they_would_be_published(
    file: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    document = simulated(capsys, file(*HISTORY))
    assert [(each["line"], each["outcome"], each["reason"]) for each in document["messages"]] == [
        (1, "recorded", "recorded"),
        (2, "issued", "booking_cancelled"),
        (3, "declined", "not_billed"),
        (4, "applied", "auto"),
    ]
    [event] = document["messages"][1]["events"]
    assert (event["topic"], event["value"]["amount"]) == ("credit-issued", "121.00")
    [account] = document["accounts"]
    assert account == {
        "tenant_id": "t1",
        "owner": U1,
        "currency": "EUR",
        "available": "41.00",
        "reserved": "0.00",
        "used": "80.00",
        "expired": "0.00",
        "voided": "0.00",
        "shortfall": "0.00",
        "due": "0.00",
        "given": {"booking_cancelled": "121.00"},
    }


def test_a_policy_counts_for_the_file(file: Callable[..., str], capsys: pytest.CaptureFixture[str]) -> None:
    document = simulated(
        capsys, file(*HISTORY), "--policy", "auto_apply=false", "--policy", "expires_after_days=30"
    )
    assert document["policy"] == {"auto_apply": False, "expires_after_days": 30}
    assert document["accounts"][0]["due"] == "80.00"
    assert document["accounts"][0]["available"] == "121.00"


def test_a_policy_of_the_settings_counts_too(
    file: Callable[..., str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AVOIR_POLICY_AUTO_APPLY", "false")
    assert simulated(capsys, file(*HISTORY))["accounts"][0]["due"] == "80.00"
    document = simulated(capsys, file(*HISTORY), "--policy", "auto_apply=none")
    assert document["accounts"][0]["due"] == "0.00"


def test_time_passes_between_messages_and_after_them(
    file: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    later = (*HISTORY[:2], cancelled("c3", "07-20", "b9"))
    document = simulated(capsys, file(*later), "--policy", "expires_after_days=30")
    assert document["messages"][2]["by_time"][0]["topic"] == "credit-expired"
    assert document["now"] == "2025-07-20T00:00:00Z"
    path = file(*HISTORY)
    assert simulated(capsys, path, "--policy", "expires_after_days=30")["by_time"] == []
    document = simulated(capsys, path, "--policy", "expires_after_days=30", "--now", "2025-08-01")
    assert [each["topic"] for each in document["by_time"]] == ["credit-expired"]
    assert (document["accounts"][0]["available"], document["accounts"][0]["expired"]) == ("0.00", "41.00")
    assert run(["simulate", path, "--policy", "expires_after_days=30", "--now", "2025-08-01"]) == Exit.OK
    assert "time: 2025-07-02 00:00:00 -> 41.00 EUR expired" in " ".join(capsys.readouterr().out.split())


def test_a_repetition_is_a_duplicate(file: Callable[..., str], capsys: pytest.CaptureFixture[str]) -> None:
    document = simulated(capsys, file(*HISTORY[:2], HISTORY[1]))
    assert document["messages"][2]["outcome"] == "duplicate"
    assert document["accounts"][0]["available"] == "121.00"


def test_a_refused_command_is_told_as_refused(
    file: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    refund = said(
        "refund-credit",
        "r1",
        "06-06",
        actor={"type": "admin", "id": "a1"},
        owner=U1,
        amount="50.00",
        currency="EUR",
        grant_id=None,
        reference="gateway 1",
    )
    document = simulated(capsys, file(*HISTORY, refund))
    assert "It was refused. There was less credit" in document["messages"][-1]["words"]


def test_ids_are_printed_as_they_are(file: Callable[..., str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["simulate", file(cancelled("[red]c1", "06-02", "[b]b9[/b]"))]) == Exit.OK
    words = capsys.readouterr().out
    assert "booking-cancelled [red]c1: declined" in words
    assert "Booking [b]b9[/b] was cancelled." in words


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_standard_input(
    mark: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = io.TextIOWrapper(io.BytesIO((mark + "\n".join(HISTORY)).encode()))
    monkeypatch.setattr(sys, "stdin", stream)
    assert len(simulated(capsys, "-")["messages"]) == 4


@pytest.mark.parametrize("before", ["\ufeff", "\ufeff \r\n"])
def test_a_byte_order_mark_before_the_first_line_is_skipped(
    before: str, file: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    first, *others = HISTORY
    assert len(simulated(capsys, file(before + first, *others))["messages"]) == 4


def test_wrong_lines_are_all_named_and_nothing_is_simulated(
    file: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = (
        HISTORY[0],
        '{"topic": "credit-issued", "value": {}}',
        "not JSON",
        '{"event_id": "e1"}',
        said("booking-cancelled", "c1", "06-02", owner=U1, changed_by="somebody"),
        said("booking-cancelled", "c2", "06-32", booking_id="b1", owner=U1, changed_by="admin"),
    )
    assert run(["simulate", file(*wrong)]) == Exit.FOUND
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "line 2: topic: Avoir does not read 'credit-issued'" in printed.err
    assert 'line 3: must be {"topic": ..., "value": ...}' in printed.err
    assert 'line 4: must be {"topic": ..., "value": ...}' in printed.err
    assert (
        "line 5: changed_by: must be 'customer' or 'admin': \"somebody\"; booking_id: missing" in printed.err
    )
    assert "line 6: occurred_at: no such time" in printed.err
    assert "5 line(s) are invalid, so nothing was simulated." in printed.err


def test_of_very_many_wrong_lines_the_first_are_named(
    file: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["simulate", file(*["nothing"] * 100)]) == Exit.FOUND
    said = capsys.readouterr().err
    assert said.count("\nline ") + said.startswith("line ") == 20
    assert "100 line(s) are invalid" in said


def test_an_empty_file_holds_no_message(file: Callable[..., str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["simulate", file("", "")]) == Exit.FOUND
    assert "contains no message" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("call", "problem"),
    [
        ([], "Give either a file of messages or --tenant"),
        (["FILE", "--tenant", "t1"], "Give either"),
        (["FILE", "--all"], "--owner and --all need --tenant"),
        (["FILE", "--owner", "user/u1"], "--owner and --all need --tenant"),
        (["--tenant", "t1", "--now", "2025-06-01"], "--now needs a file"),
        (["FILE", "--now", "2025-06-04"], "--now is before the last message"),
        (["nowhere.jsonl"], "nowhere.jsonl can't be read as a file"),
        (["FILE", "--policy", "unpaid=never"], "The keys are auto_apply, credit_as, unpaid_change,"),
        (["FILE", "--policy", "auto_apply"], "write key=value"),
        (["FILE", "--policy", "unpaid_change=later"], "unpaid_change: must be 'wait' or 'never': \"later\""),
        (["FILE", "--policy", "expires_after_days=0"], "expires_after_days: must be at least 1: 0"),
        (["FILE", "--policy", "time_zone=Mars"], "time_zone: not an IANA time zone"),
        (["FILE", "--policy", "refill_threshold=1.00"], "currency: missing: required with refill_threshold"),
        (
            ["FILE", "--policy", "auto_apply=true", "--policy", "auto_apply=false"],
            "auto_apply is given twice",
        ),
    ],
    ids=str,
)
def test_a_wrong_call_says_what_is_wrong(
    call: list[str], problem: str, file: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    path = file(*HISTORY)
    assert run(["simulate", *(path if each == "FILE" else each for each in call)]) == Exit.USAGE
    assert problem in capsys.readouterr().err
