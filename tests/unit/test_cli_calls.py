"""The command line as a caller meets it: help, exit codes, and failures in one line."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import pytest

from avoir.cli.app import app, run
from avoir.cli.base.exits import Exit
from avoir.cli.base.options import parse_moment, parse_owner
from avoir.core.model.facts import Owner

COMMANDS = [
    ["migrate"],
    ["topics", "create"],
    ["serve"],
    ["send"],
    ["balance"],
    ["statement"],
    ["report", "liability"],
    ["explain"],
    ["simulate"],
    ["policy", "show"],
    ["status"],
    ["verify"],
    ["dead-letters", "list"],
    ["dead-letters", "show"],
    ["dead-letters", "replay"],
    ["dead-letters", "skip"],
    ["outbox", "list"],
    ["outbox", "retry"],
    ["epoch", "raise"],
    ["events", "rebuild"],
    ["offsets", "list"],
    ["offsets", "set"],
]


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AVOIR_POSTGRES_DSN", "postgresql://somebody:secret@127.0.0.1:1/nowhere")
    monkeypatch.setenv("AVOIR_KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_teaches_with_an_example(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*command, "--help"]) == Exit.OK
    assert f"Example: avoir {' '.join(command)}" in capsys.readouterr().out


def test_every_command_is_tested_for_its_help() -> None:
    subs = {name: app[name] for name in app if not name.startswith("-")}
    known = {command[0] for command in COMMANDS}
    assert subs.keys() == known


@pytest.mark.parametrize(
    "call",
    [
        ["balance", "u1", "--tenant", "t1"],
        ["balance", "user/u1"],
        ["statement", "user/u1", "--tenant", "t1", "--from", "yesterday"],
        ["statement", "user/u1", "--tenant", "t1", "--from", "2025-07-01", "--until", "2025-07-01"],
        ["statement", "user/u1", "--tenant", "t1", "--limit", "0"],
        ["statement", "user/u1", "--tenant", "t1", "--json", "--csv"],
        ["report", "liability", "--json", "--csv"],
        ["report", "liability", "--as-of", "the end of June"],
        ["explain", "--tenant", "t1"],
        ["explain", "e1", "--booking", "b1", "--tenant", "t1"],
        ["send", "credit-issued", "-"],
        ["send", "booking-cancelled", "no such file"],
        ["dead-letters", "show", "4711"],
        ["dead-letters", "skip", "booking-cancelled", "0", "1"],
        ["dead-letters", "skip", "booking-cancelled", "0", str(2**63), "--reason", "header"],
        ["dead-letters", "skip", "booking-cancelled", str(2**31), "0", "--reason", "header"],
        ["dead-letters", "list", "--limit", "-5"],
        ["no-such-command"],
    ],
    ids=" ".join,
)
def test_a_wrong_call_ends_with_2(call: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(call) == Exit.USAGE
    assert capsys.readouterr().err


@pytest.mark.parametrize(
    ("call", "setting"),
    [
        (["balance", "user/u1", "--tenant", "t1"], "AVOIR_POSTGRES_DSN"),
        (["simulate", "--tenant", "t1"], "AVOIR_POSTGRES_DSN"),
        (["migrate"], "AVOIR_POSTGRES_DSN"),
        (["verify"], "AVOIR_POSTGRES_DSN"),
        (["report", "liability"], "AVOIR_POSTGRES_DSN"),
        (["topics", "create"], "AVOIR_KAFKA_BOOTSTRAP_SERVERS"),
    ],
    ids=str,
)
def test_what_cannot_be_reached_ends_with_3_and_names_the_setting(
    call: list[str], setting: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(call) == Exit.UNREACHABLE
    said = " ".join(capsys.readouterr().err.split())
    assert f"check {setting}" in said
    assert "secret" not in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    "call",
    [
        ["send", "booking-canceled", "-"],
        ["events", "rebuild", "--topic", "credit-isued"],
        ["serve"],
    ],
    ids=" ".join,
)
def test_the_topic_that_was_probably_meant_is_named(
    call: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if call == ["serve"]:
        monkeypatch.setenv("AVOIR_KAFKA_TOPICS", '{"credit-issue": "billing.credit"}')
    assert run(call) == Exit.USAGE
    meant = "booking-cancelled" if call[0] == "send" else "credit-issued"
    assert f"Did you mean {meant}?" in capsys.readouterr().err


def test_a_line_with_an_unknown_topic_names_the_nearest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "messages.jsonl"
    file.write_text('{"topic": "payment-recorde", "value": {}}\n{"topic": "weather", "value": {}}\n')
    assert run(["send", "-", str(file)]) == Exit.FOUND
    said = capsys.readouterr().err
    assert "line 1: topic: Avoir does not read 'payment-recorde'. Did you mean payment-recorded?" in said
    assert "line 2: topic: Avoir does not read 'weather'.\n" in said


def test_a_missing_setting_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("AVOIR_POSTGRES_DSN")
    assert run(["balance", "--tenant", "t1"]) == Exit.USAGE
    assert "AVOIR_POSTGRES_DSN is not set." in capsys.readouterr().err


def test_a_command_needs_only_the_settings_that_it_uses(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("AVOIR_POSTGRES_DSN")
    monkeypatch.delenv("AVOIR_KAFKA_BOOTSTRAP_SERVERS")
    assert run(["policy", "show", "--json"]) == Exit.OK
    assert json.loads(capsys.readouterr().out)["auto_apply"] is True


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == Exit.OK
    assert capsys.readouterr().out.strip()[0].isdigit()


def test_the_version_is_told_without_importing_the_command_line() -> None:
    code = "from avoir.__main__ import main\ntry: main()\nfinally:\n import sys; print(*sys.modules)"
    call = [sys.executable, "-c", code, "--version"]
    done = subprocess.run(call, capture_output=True, text=True, timeout=60, check=True)
    shown, *imported = done.stdout.split()
    assert shown == version("avoir")
    assert "avoir.__main__" in imported
    assert not {"aiokafka", "asyncpg", "cyclopts", "faststream", "pydantic", "rich"} & set(imported)


def test_nothing_is_sent_when_a_line_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "messages.jsonl"
    file.write_text('{"event_id": "e1"}\nnot JSON\n')
    assert run(["send", "booking-cancelled", str(file)]) == Exit.FOUND
    said = capsys.readouterr().err
    assert "line 1: tenant_id: missing" in said
    assert "line 2: " in said
    assert "2 line(s) are invalid, so nothing was sent" in said


def test_owners_and_moments_as_people_write_them() -> None:
    assert parse_owner("team/a/b") == Owner("team", "a/b")
    assert parse_moment("2025-06-01") == datetime(2025, 6, 1, tzinfo=UTC)
    assert parse_moment("2025-06-01T02:00:00+02:00") == datetime(2025, 6, 1, tzinfo=UTC)
    with pytest.raises(ValueError, match="no offset"):
        parse_moment("2025-06-01T02:00:00")


@pytest.mark.slow
@pytest.mark.parametrize("call", [["--help"], ["send", "--help"], ["--version"]])
def test_a_reader_that_has_seen_enough_is_no_failure(call: list[str]) -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "avoir", *call],
            stdout=write,
            stderr=subprocess.PIPE,
            timeout=60,
            check=False,
        )
    finally:
        os.close(write)
    assert (done.returncode, done.stderr) == (Exit.OK, b"")
