"""Commands: one frozen value each, amounts in micros, times in UTC."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, NamedTuple

from msgspec import Struct

from avoir.core.model.facts import Owner, Subject
from avoir.core.model.reasons import GrantReason

PolicyScope = Literal["tenant", "owner", "invoice"]


class Actor(NamedTuple):
    """The person or system that gives a command."""

    type: str
    id: str


class GrantCredit(Struct, frozen=True):
    """Give an owner credit; a `purchase` counts as paid for. `effective_at` is always set; default: `occurred_at`."""

    actor: Actor
    owner: Owner
    amount: int
    currency: str
    reason: GrantReason
    note: str | None
    priority: int
    effective_at: datetime
    expires_at: datetime | None
    reference: str | None

    @property
    def subject(self) -> Subject:
        return Subject("owner", f"{self.owner.type}/{self.owner.id}")


class ApplyCredit(Struct, frozen=True):
    """Use credit on an invoice, or reserve it for one to come; `amount` None is as much as possible."""

    actor: Actor
    owner: Owner
    invoice_id: str
    currency: str
    amount: int | None
    grant_id: str | None

    @property
    def subject(self) -> Subject:
        return Subject("invoice", self.invoice_id)


class ReinstateCredit(Struct, frozen=True):
    """Undo one application, or release one reservation."""

    actor: Actor
    application_id: str
    reason: str

    @property
    def subject(self) -> Subject:
        return Subject("application", self.application_id)


class VoidCredit(Struct, frozen=True):
    """Take back what remains of a grant, by decision."""

    actor: Actor
    grant_id: str
    reason: str

    @property
    def subject(self) -> Subject:
        return Subject("grant", self.grant_id)


class RefundCredit(Struct, frozen=True):
    """Record that credit was paid out in money."""

    actor: Actor
    owner: Owner
    amount: int
    currency: str
    grant_id: str | None
    reference: str

    @property
    def subject(self) -> Subject:
        return Subject("owner", f"{self.owner.type}/{self.owner.id}")


class DrawCredit(Struct, frozen=True):
    """Use credit for a piece of usage, without an invoice; the one command that may go below the minor unit."""

    actor: Actor
    owner: Owner
    amount: int
    currency: str
    allow_partial: bool
    reference: str

    @property
    def subject(self) -> Subject:
        return Subject("owner", f"{self.owner.type}/{self.owner.id}")


class SetCreditPolicy(Struct, frozen=True):
    """Set policy keys for one scope; a key with the value None falls back to the next wider one."""

    actor: Actor
    scope: PolicyScope
    owner: Owner | None
    invoice_id: str | None
    keys: Mapping[str, Any]

    @property
    def subject(self) -> Subject:
        return Subject("policy", self.scope)


Command = (
    GrantCredit | ApplyCredit | ReinstateCredit | VoidCredit | RefundCredit | DrawCredit | SetCreditPolicy
)
