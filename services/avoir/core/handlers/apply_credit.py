"""`apply-credit`: uses credit on a chosen invoice, or reserves it for one to come."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from avoir.core.effects.allocation import Part, allocate, is_usable, usable, whole
from avoir.core.effects.apply import apply, in_runs
from avoir.core.effects.reservations import held_of_grant, release, reserve
from avoir.core.effects.settle import expire_overdue, settle
from avoir.core.handlers.outcome import Conclusion, Handler, conclude, refuse
from avoir.core.handlers.spend import named_grant
from avoir.core.model.commands import ApplyCredit
from avoir.core.model.events import AccountKey
from avoir.core.model.message import Message
from avoir.core.model.money import format_decimal, round_down
from avoir.core.model.reasons import Refusal, Released
from avoir.core.model.rows import Grant, Invoice, InvoiceKey, Reservation
from avoir.core.state.draft import Draft

MOVED: Released = "moved"
"""The reason of a release that makes a line item's credit free for another invoice."""


def apply_credit(draft: Draft, message: Message, command: ApplyCredit) -> Conclusion:
    """Apply credit to an invoice with something due, or reserve it if the invoice is not finalized yet."""
    account = AccountKey(message.tenant_id, *command.owner, command.currency)
    key = InvoiceKey(message.tenant_id, command.invoice_id)
    expire_overdue(draft, account)
    invoice = draft.state.invoices.get(key)
    asked = _asked(command)
    refused = _why_not(draft, account, key, invoice)
    if refused is not None:
        return refuse(
            draft, message, refused, {"invoice_id": command.invoice_id}, asked=asked, account=account
        )
    funds = _funds(draft, account, command, invoice)
    if isinstance(funds, str):
        return refuse(draft, message, funds, {"grant_id": command.grant_id}, asked=asked, account=account)
    facts = {"available": format_decimal(funds.available, account.currency)}
    if invoice is not None:
        facts["due_on_invoice"] = format_decimal(invoice.due, account.currency)
    if not funds.parts:
        return refuse(draft, message, "insufficient_credit", facts, asked=asked, account=account)
    parts = _release_moved(draft, funds) if funds.moved else funds.parts
    if invoice is None:
        _reserve(draft, account, parts, command.invoice_id, funds.moved)
        return conclude(message, "recorded", "reserved", {**asked, **facts})
    at = max(invoice.finalized_at, message.occurred_at)
    apply(draft, invoice, parts, "command", at=at, moved=funds.moved)
    settle(draft, [account], "changed")
    return conclude(message, "applied", "command", {**asked, **facts})


def _why_not(draft: Draft, account: AccountKey, key: InvoiceKey, invoice: Invoice | None) -> Refusal | None:
    if invoice is None:
        return "invoice_voided" if draft.state.voids.get(key) is not None else None
    if invoice.account.owner != account.owner:
        return "unknown_invoice"
    if invoice.account != account:
        return "currency_mismatch"
    if invoice.voided:
        return "invoice_voided"
    return "invoice_settled" if invoice.due == 0 else None


class Funds(NamedTuple):
    """Credit for a command: parts of grants, none if there is too little.

    `available` is the amount there was, `moved` the part of a named grant's line item, in micros.
    """

    parts: tuple[Part, ...]
    available: int
    moved: int = 0


def _funds(
    draft: Draft, account: AccountKey, command: ApplyCredit, invoice: Invoice | None
) -> Funds | Refusal:
    """Credit for a command, or the reason why the named grant can't be used."""
    if command.grant_id is not None:
        return _of_named_grant(draft, account, command, invoice)
    held = round_down(draft.account(account).available, account.currency)
    wanted = _wanted(command, invoice, held)
    if wanted > held:
        return Funds((), held)
    grants = usable(draft.grants_in_use(account), draft.occurred_at, draft.moment.now)
    parts, left = allocate(wanted, grants)
    return Funds((), wanted - left) if left and command.amount is not None else Funds(parts, held)


def _of_named_grant(
    draft: Draft, account: AccountKey, command: ApplyCredit, invoice: Invoice | None
) -> Funds | Refusal:
    grant = named_grant(draft, account, command.grant_id or "")
    if isinstance(grant, str):
        return grant
    if not is_usable(grant, draft.occurred_at, draft.moment.now):
        return Funds((), 0)
    line_item = round_down(sum(row.amount for row in _line_items(draft, grant)), account.currency)
    held = whole(grant) + line_item
    wanted = _wanted(command, invoice, held)
    if wanted > held or wanted == 0:
        return Funds((), held)
    return Funds((Part(grant, wanted),), held, min(wanted, line_item))


def _wanted(command: ApplyCredit, invoice: Invoice | None, held: int) -> int:
    """Amount to use (micros): never more than is due; without an amount, as much as possible."""
    wanted = held if command.amount is None else command.amount
    return wanted if invoice is None else min(wanted, round_down(invoice.due, command.currency))


def _line_items(draft: Draft, grant: Grant) -> list[Reservation]:
    return [row for row in held_of_grant(draft, grant.key) if row.reserved_for == "line_item"]


def _release_moved(draft: Draft, funds: Funds) -> tuple[Part, ...]:
    """Release what a command moves from the line item of the named grant; returns the part of the grant to use."""
    [(grant, amount)] = funds.parts
    left = funds.moved
    for row in _line_items(draft, grant):
        part = min(row.amount, left)
        if part > 0:
            release(draft, [row], MOVED, part)
            left -= part
    return (Part(draft.state.grants[grant.key], amount),)


def _reserve(draft: Draft, account: AccountKey, parts: tuple[Part, ...], invoice_id: str, moved: int) -> None:
    # Each run gets its own id: what is reserved under one id is used, and undone, as one application.
    for run in in_runs(parts):
        reserve(
            draft,
            account,
            run,
            application_id=draft.new_id(account.tenant_id, "reservation", invoice_id),
            invoice_id=invoice_id,
            reserved_for="command",
            moved=moved,
        )


def _asked(command: ApplyCredit) -> dict[str, Any]:
    amount = None if command.amount is None else format_decimal(command.amount, command.currency)
    return {
        "invoice_id": command.invoice_id,
        "currency": command.currency,
        "amount": amount,
        "grant_id": command.grant_id,
    }


HANDLERS: Mapping[type, Handler] = {ApplyCredit: apply_credit}
