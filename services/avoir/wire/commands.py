"""Converts a command from the wire to the core."""

from typing import Any

import avoir_events as wire
from avoir.core.model import commands, facts
from avoir.core.model.money import parse_decimal
from avoir.core.model.policy import REFILL


def command_of(message: wire.Command) -> commands.Command:
    """The command in a parsed message."""
    actor = commands.Actor(message.actor.type, message.actor.id)
    match message:
        case wire.GrantCredit():
            return _grant_credit(message, actor)
        case wire.ApplyCredit():
            amount = None if message.amount is None else parse_decimal(message.amount)
            owner = _owner(message.owner)
            return commands.ApplyCredit(
                actor, owner, message.invoice_id, message.currency, amount, message.grant_id
            )
        case wire.ReinstateCredit():
            return commands.ReinstateCredit(actor, message.application_id, message.reason)
        case wire.VoidCredit():
            return commands.VoidCredit(actor, message.grant_id, message.reason)
        case wire.RefundCredit():
            amount, owner = parse_decimal(message.amount), _owner(message.owner)
            return commands.RefundCredit(
                actor, owner, amount, message.currency, message.grant_id, message.reference
            )
        case wire.DrawCredit():
            amount, owner = parse_decimal(message.amount), _owner(message.owner)
            return commands.DrawCredit(
                actor, owner, amount, message.currency, message.allow_partial, message.reference
            )
        case wire.SetCreditPolicy():
            return _set_credit_policy(message, actor)
        case _:
            raise TypeError(f"{type(message).__name__} is no command")


def _grant_credit(message: wire.GrantCredit, actor: commands.Actor) -> commands.GrantCredit:
    return commands.GrantCredit(
        actor=actor,
        owner=_owner(message.owner),
        amount=parse_decimal(message.amount),
        currency=message.currency,
        reason=message.reason,
        note=message.note,
        priority=message.priority,
        effective_at=message.effective_at or message.occurred_at,
        expires_at=message.expires_at,
        reference=message.reference,
    )


def _set_credit_policy(message: wire.SetCreditPolicy, actor: commands.Actor) -> commands.SetCreditPolicy:
    scope = message.scope
    owner = None if scope.owner is None else _owner(scope.owner)
    kind: commands.PolicyScope = "tenant" if scope.tenant else "invoice" if owner is None else "owner"
    return commands.SetCreditPolicy(actor, kind, owner, scope.invoice_id, policy_keys(message.policy))


def policy_keys(policy: wire.Policy) -> dict[str, Any]:
    """The keys that a policy sets, with amounts in micros; a key set to null is None."""
    keys: dict[str, Any] = {name: getattr(policy, name) for name in sorted(policy.model_fields_set)}
    return {
        name: parse_decimal(value) if name in REFILL and value is not None else value
        for name, value in keys.items()
    }


def _owner(owner: wire.Owner) -> facts.Owner:
    return facts.Owner(owner.type, owner.id)
