"""Converts commands between core values and their stored JSON, in which amounts are decimal strings."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

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
from avoir.core.model.money import format_decimal, parse_decimal
from avoir.core.model.policy import REFILL

KINDS: Mapping[str, type[Command]] = {
    "grant-credit": GrantCredit,
    "apply-credit": ApplyCredit,
    "reinstate-credit": ReinstateCredit,
    "void-credit": VoidCredit,
    "refund-credit": RefundCredit,
    "draw-credit": DrawCredit,
    "set-credit-policy": SetCreditPolicy,
}
"""The command of each topic."""


class CommandRow(NamedTuple):
    """A row of `commands`; `body` is JSON."""

    tenant_id: str
    topic: str
    event_id: str
    occurred_at: datetime
    body: str


def command_row(message: Message, command: Command) -> CommandRow:
    """The row of a command."""
    # Decimal strings, since `avoir verify` compares them in SQL, and people read them.
    body = {name: _plain(getattr(command, name)) for name in command.__struct_fields__}
    if isinstance(command, SetCreditPolicy):
        body["keys"] = _with_amounts(command.keys, str(command.keys.get("currency")), format_decimal)
    elif body.get("amount") is not None:
        body["amount"] = format_decimal(body["amount"], body["currency"])
    text = msgspec.json.encode(body).decode()
    return CommandRow(message.tenant_id, message.topic, message.event_id, message.occurred_at, text)


def command(topic: str, stored: str) -> Command:
    """The command in the stored body of a topic's message."""
    body = msgspec.json.decode(stored)
    body["actor"] = Actor(**body["actor"])
    if body.get("owner") is not None:
        body["owner"] = Owner(**body["owner"])
    if body.get("amount") is not None:
        body["amount"] = parse_decimal(body["amount"])
    if "keys" in body:
        body["keys"] = _with_amounts(body["keys"], "", lambda amount, _: parse_decimal(amount))
    return msgspec.convert(body, KINDS[topic])


def _plain(value: Any) -> Any:
    return value._asdict() if isinstance(value, Owner | Actor) else value


def _with_amounts(keys: Mapping[str, Any], currency: str, convert: Any) -> dict[str, Any]:
    return {
        name: convert(value, currency) if name in REFILL and value is not None else value
        for name, value in keys.items()
    }
