"""Between the commands of the core and the JSON in which they are kept: amounts are decimal strings there."""

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
"""What a command of each topic is."""


class CommandRow(NamedTuple):
    """A row of `commands`; `body` is JSON."""

    tenant_id: str
    topic: str
    event_id: str
    occurred_at: datetime
    body: str


def command_row(message: Message, command: Command) -> CommandRow:
    """A command as it is kept."""
    body = {name: _plain(getattr(command, name)) for name in command.__struct_fields__}
    if isinstance(command, SetCreditPolicy):
        body["keys"] = _with_amounts(command.keys, str(command.keys.get("currency")), format_decimal)
    elif body.get("amount") is not None:
        body["amount"] = format_decimal(body["amount"], body["currency"])
    text = msgspec.json.encode(body).decode()
    return CommandRow(message.tenant_id, message.topic, message.event_id, message.occurred_at, text)


def command(topic: str, kept: str) -> Command:
    """The command that was kept under a topic."""
    body = msgspec.json.decode(kept)
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


def _with_amounts(keys: Mapping[str, Any], currency: str, spelled: Any) -> dict[str, Any]:
    return {
        name: spelled(value, currency) if name in REFILL and value is not None else value
        for name, value in keys.items()
    }
