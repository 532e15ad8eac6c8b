"""Commands are kept as JSON with decimal strings, and read back as they were."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from avoir.core.model.commands import (
    Actor,
    ApplyCredit,
    Command,
    DrawCredit,
    GrantCredit,
    RefundCredit,
    ReinstateCredit,
    SetCreditPolicy,
    VoidCredit,
)
from avoir.core.model.facts import Owner
from avoir.core.model.message import Message
from avoir.postgres.bodies import KINDS, command, command_row
from avoir_events import COMMANDS as ON_THE_WIRE

AT = datetime(2025, 6, 1, 12, 0, 0, 125, tzinfo=UTC)
ADMIN, TEAM = Actor("admin", "a/1"), Owner("team", 't"7')
BODIES: dict[str, Command] = {
    "grant-credit": GrantCredit(ADMIN, TEAM, 12_500_000, "EUR", "goodwill", "für dich", 0, AT, AT, "r1"),
    "apply-credit": ApplyCredit(ADMIN, TEAM, "i1", "JPY", None, None),
    "reinstate-credit": ReinstateCredit(ADMIN, "app", "wrong invoice"),
    "void-credit": VoidCredit(ADMIN, "grant", "by mistake"),
    "refund-credit": RefundCredit(ADMIN, TEAM, 1_250, "KWD", "grant", "gateway"),
    "draw-credit": DrawCredit(ADMIN, TEAM, 125, "EUR", True, "usage"),
    "set-credit-policy": SetCreditPolicy(
        ADMIN, "owner", TEAM, None, {"refill_threshold": 10_000_000, "refill_amount": None, "currency": "EUR"}
    ),
}


def kept(topic: str, body: Command) -> dict[str, Any]:
    *key, text = command_row(Message("t1", topic, "e1", AT, b"", body), body)
    assert key == ["t1", topic, "e1", AT]
    document: dict[str, Any] = json.loads(text)
    return document


@pytest.mark.parametrize("topic", ON_THE_WIRE)
def test_every_command_comes_back_as_it_was(topic: str) -> None:
    body = BODIES[topic]
    assert type(body) is KINDS[topic]
    assert command(topic, json.dumps(kept(topic, body))) == body


def test_amounts_are_decimal_strings() -> None:
    assert kept("grant-credit", BODIES["grant-credit"])["amount"] == "12.50"
    assert kept("draw-credit", BODIES["draw-credit"])["amount"] == "0.000125"
    assert kept("apply-credit", BODIES["apply-credit"])["amount"] is None
    keys = kept("set-credit-policy", BODIES["set-credit-policy"])["keys"]
    assert keys == {"refill_threshold": "10.00", "refill_amount": None, "currency": "EUR"}


def test_who_asked_is_kept() -> None:
    body = kept("void-credit", BODIES["void-credit"])
    assert body == {"actor": {"type": "admin", "id": "a/1"}, "grant_id": "grant", "reason": "by mistake"}
