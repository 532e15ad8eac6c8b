"""`apply-credit`: credit used on an invoice that was chosen by hand, or set aside for one that is still to come."""

from typing import Any, NamedTuple

from avoir.core.allocation import Part, allocate, is_usable, usable, whole
from avoir.core.apply import apply, in_runs
from avoir.core.commands import ApplyCredit
from avoir.core.conclusion import Conclusion, conclude
from avoir.core.draft import Draft
from avoir.core.events import AccountKey
from avoir.core.message import Message
from avoir.core.money import format_decimal, round_down
from avoir.core.refusal import refuse
from avoir.core.reservations import held_of_grant, release, reserve
from avoir.core.rows import Grant, Invoice, InvoiceKey
from avoir.core.settle import expire_overdue, settle
from avoir.core.spending import named_grant

MOVED = "moved"
"""The reason of a release that makes a line item's credit free for another invoice."""


class Usable(NamedTuple):
    """Credit that a command may use: grants in order, and what of a named one its line item holds (micros)."""

    grants: list[Grant]
    line_item: int = 0

    @property
    def total(self) -> int:
        """What there is, in whole minor units (micros)."""
        return sum(map(whole, self.grants)) + self.line_item


def apply_credit(draft: Draft, message: Message, command: ApplyCredit) -> Conclusion:
    """Apply credit to an invoice with something due, or reserve it where the invoice is not finalized yet."""
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
    credit = _usable(draft, account, command)
    if isinstance(credit, str):
        return refuse(draft, message, credit, {"grant_id": command.grant_id}, asked=asked, account=account)
    amount = _amount(command, invoice, credit)
    facts = {"available": format_decimal(credit.total, account.currency)}
    if invoice is not None:
        facts["due_on_invoice"] = format_decimal(invoice.due, account.currency)
    if amount > credit.total or amount == 0:
        return refuse(draft, message, "insufficient_credit", facts, asked=asked, account=account)
    moved = min(amount, credit.line_item)
    parts = _freed(draft, credit, amount, moved)
    if invoice is None:
        _reserve(draft, account, parts, command.invoice_id, moved)
        return conclude(message, "recorded", "reserved", {**asked, **facts})
    at = max(invoice.finalized_at, message.occurred_at)
    apply(draft, invoice, parts, "command", at=at, moved=moved)
    settle(draft, [account])
    return conclude(message, "applied", "command", {**asked, **facts})


def _why_not(draft: Draft, account: AccountKey, key: InvoiceKey, invoice: Invoice | None) -> str | None:
    if invoice is None:
        return "invoice_voided" if draft.state.voids.get(key) is not None else None
    if invoice.account.owner != account.owner:
        return "unknown_invoice"
    if invoice.account != account:
        return "currency_mismatch"
    if invoice.voided:
        return "invoice_voided"
    return "invoice_settled" if invoice.due == 0 else None


def _usable(draft: Draft, account: AccountKey, command: ApplyCredit) -> Usable | str:
    at, now = draft.occurred_at, draft.moment.now
    if command.grant_id is None:
        return Usable(usable(draft.grants(account), at, now))
    grant = named_grant(draft, account, command.grant_id)
    if isinstance(grant, str):
        return grant
    if not is_usable(grant, at, now):
        return Usable([])
    line_item = sum(row.amount for row in held_of_grant(draft, grant.key) if row.reserved_for == "line_item")
    return Usable([grant], round_down(line_item, account.currency))


def _amount(command: ApplyCredit, invoice: Invoice | None, credit: Usable) -> int:
    """What is to be used: never more than is due; with no amount asked for as much as possible."""
    wanted = credit.total if command.amount is None else command.amount
    if invoice is None:
        return wanted
    return min(wanted, round_down(invoice.due, command.currency))


def _freed(draft: Draft, credit: Usable, amount: int, moved: int) -> tuple[Part, ...]:
    """The parts of grants to use; of a named grant its line item is moved first, so it is released before."""
    if moved == 0:
        return allocate(amount, credit.grants)
    [grant] = credit.grants
    rows = [row for row in held_of_grant(draft, grant.key) if row.reserved_for == "line_item"]
    left = moved
    for row in rows:
        part = min(row.amount, left)
        if part > 0:
            release(draft, [row], MOVED, part)
            left -= part
    return (Part(draft.state.grants[grant.key], amount),)


def _reserve(draft: Draft, account: AccountKey, parts: tuple[Part, ...], invoice_id: str, moved: int) -> None:
    # What is reserved under one id is used, and undone, as one application.
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
