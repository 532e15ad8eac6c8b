"""Commands in short, in the words of the domain."""

from typing import Any
from uuid import UUID

from avoir.core.model.commands import (
    Actor,
    ApplyCredit,
    DrawCredit,
    GrantCredit,
    PolicyScope,
    RefundCredit,
    ReinstateCredit,
    SetCreditPolicy,
    VoidCredit,
)
from avoir.core.model.facts import Owner
from avoir.core.model.money import parse_decimal
from tests.unit.core.world import U1, WHEN_ASKED, at

ADMIN = Actor("admin", "a1")


def granted(
    amount: str,
    *,
    owner: Owner = U1,
    currency: str = "EUR",
    reason: str = "goodwill",
    note: str | None = None,
    priority: int = 50,
    effective: str | None = None,
    expires: str | None = None,
    reference: str | None = None,
) -> GrantCredit:
    return GrantCredit(
        actor=ADMIN,
        owner=owner,
        amount=parse_decimal(amount),
        currency=currency,
        reason=reason,  # type: ignore[arg-type]
        note=note,
        priority=priority,
        effective_at=at(effective) if effective else WHEN_ASKED,
        expires_at=at(expires) if expires else None,
        reference=reference,
    )


def use_on(
    invoice_id: str,
    amount: str | None = None,
    *,
    grant: UUID | str | None = None,
    owner: Owner = U1,
    currency: str = "EUR",
) -> ApplyCredit:
    asked = None if amount is None else parse_decimal(amount)
    return ApplyCredit(ADMIN, owner, invoice_id, currency, asked, None if grant is None else str(grant))


def undo(application_id: UUID | str, reason: str = "wrong invoice") -> ReinstateCredit:
    return ReinstateCredit(ADMIN, str(application_id), reason)


def take_away(grant_id: UUID | str, reason: str = "granted by mistake") -> VoidCredit:
    return VoidCredit(ADMIN, str(grant_id), reason)


def pay_out(
    amount: str,
    *,
    grant: UUID | str | None = None,
    owner: Owner = U1,
    currency: str = "EUR",
    reference: str = "gateway refund 4711",
) -> RefundCredit:
    asked = parse_decimal(amount)
    return RefundCredit(ADMIN, owner, asked, currency, None if grant is None else str(grant), reference)


def drawn(
    amount: str,
    *,
    partial: bool = False,
    owner: Owner = U1,
    currency: str = "EUR",
    reference: str = "usage 17",
) -> DrawCredit:
    return DrawCredit(ADMIN, owner, parse_decimal(amount), currency, partial, reference)


def policy(*, owner: Owner | None = None, invoice: str | None = None, **keys: Any) -> SetCreditPolicy:
    """Policy keys for an owner, an invoice, or else the tenant; amounts as decimal strings."""
    scope: PolicyScope = "owner" if owner is not None else "invoice" if invoice is not None else "tenant"
    amounts = ("refill_threshold", "refill_amount")
    read = {
        name: parse_decimal(value) if name in amounts and value is not None else value
        for name, value in keys.items()
    }
    return SetCreditPolicy(ADMIN, scope, owner, invoice, read)
