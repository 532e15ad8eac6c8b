"""Invoices: recording one that is finalized, undoing one that is voided."""

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from avoir.core.effects import undo
from avoir.core.effects.credit_lines import use_credit_lines
from avoir.core.effects.reservations import release_for
from avoir.core.effects.settle import expire_overdue, settle
from avoir.core.handlers.changes import adopt_policies, retarget
from avoir.core.handlers.outcome import Conclusion, Handler, conclude, key_taken
from avoir.core.model.decision import listed
from avoir.core.model.events import (
    AccountKey,
    CreditNoteIssued,
    CreditReinstated,
    CreditShortfall,
    CreditVoided,
)
from avoir.core.model.facts import InvoiceFinalized, InvoiceVoided
from avoir.core.model.message import Message
from avoir.core.model.money import OverLimitError, format_decimal
from avoir.core.model.policy import Policy, merge_policy_used
from avoir.core.model.reasons import Recorded
from avoir.core.model.rows import (
    Entitlement,
    Invoice,
    InvoiceKey,
    Line,
    Payment,
    PaymentKey,
    SubjectKey,
    Void,
)
from avoir.core.state.draft import Draft
from avoir.core.worth.targets import costs

MOST_LINES = 10_000
"""Maximum number of lines that may bill one booking or plan, on all its invoices."""


def finalize(draft: Draft, message: Message, fact: InvoiceFinalized) -> Conclusion:
    key = InvoiceKey(message.tenant_id, fact.invoice_id)
    known = draft.state.invoices.get(key)
    if known is not None:
        return key_taken(message, known.contents, "invoice_id")
    account = AccountKey(message.tenant_id, *fact.owner, fact.currency)
    policy = draft.policy(account, message.occurred_at, key)
    invoice = _open_invoice(draft, message, fact, account, policy.policy)
    # Expired credit must not be used, be it swept already or not.
    expire_overdue(draft, account)
    unknown = use_credit_lines(draft, invoice) if not invoice.voided else []
    # Credit that another account reserved for this invoice can't be used on it.
    accounts = {account, *release_for(draft, key, "not_needed", besides=account)}
    policy_used: Mapping[str, Any] = policy.used("auto_apply")
    for subject in dict.fromkeys(line.subject for line in draft.state.lines_of_invoice.get(key) or ()):
        if subject is not None:
            _refuse_too_many_lines(draft, subject)
            policy_used = merge_policy_used(policy_used, adopt_policies(draft, subject, key))
            accounts |= retarget(draft, subject)
    settle(draft, accounts, "changed")
    if invoice.total < 0 and not invoice.voided:
        note = CreditNoteIssued(credit_note_number(invoice.number), invoice.key.invoice_id, -invoice.total)
        draft.record(invoice.account, note, cause=draft.cause)
    invoice = draft.state.invoices[key]
    reason: Recorded = "invoice_voided" if invoice.voided else "recorded"
    facts = (
        invoice_facts(invoice)
        | _own_settings(fact)
        | (listed("lines_of_unknown_credit", unknown) if unknown else {})
    )
    return conclude(message, "recorded", reason, facts, policy_used)


def _refuse_too_many_lines(draft: Draft, subject: SubjectKey) -> None:
    lines = len(draft.state.lines_of_subject.get(subject) or ()) + (
        draft.state.lines_elsewhere.get(subject) or 0
    )
    if lines > MOST_LINES:
        raise OverLimitError(
            f"lines: {subject.kind} {subject.id} would be billed on more than {MOST_LINES} lines"
        )


def credit_note_number(invoice_number: str) -> str:
    """Number of the credit note that an invoice with a negative total becomes."""
    return f"{invoice_number}-CN1"


def _own_settings(fact: InvoiceFinalized) -> dict[str, Any]:
    """The message's own setting for automatic use; `automatic` is the result under the policy."""
    finalization = "automatic" if fact.automatic else "manual"
    return {"finalization": finalization, "auto_apply_credit": fact.auto_apply}


def _open_invoice(
    draft: Draft, message: Message, fact: InvoiceFinalized, account: AccountKey, policy: Policy
) -> Invoice:
    key = InvoiceKey(message.tenant_id, fact.invoice_id)
    auto_apply = policy.auto_apply if fact.auto_apply is None else fact.auto_apply
    invoice = Invoice(
        key=key,
        account=account,
        number=fact.number,
        finalized_at=message.occurred_at,
        total=fact.total,
        amount_paid=fact.amount_paid,
        automatic=fact.automatic and auto_apply,
        barred=False,
        voided=draft.state.voids.get(key) is not None,
        settled=0,
        applied=0,
        settled_at=message.occurred_at,
        event_id=message.event_id,
        contents=message.contents,
    )
    draft.put(invoice)
    cost_of = costs(fact.lines, fact.currency, message.rules)
    for position, (line, cost) in enumerate(zip(fact.lines, cost_of, strict=True)):
        row = Line(
            invoice=key,
            position=position,
            line_id=line.line_id,
            kind=line.kind,
            subject_id=line.subject_id,
            period=line.period,
            amount=line.amount,
            tax=line.tax,
            cost=cost.amount,
            cost_tax=cost.tax,
            credit_line_id=line.credit_line_id,
            expires_at=line.expires_at,
        )
        draft.put(row)
        if line.kind == "prepaid" and row.cost > 0 and not invoice.voided:
            draft.put(_due_with_invoice(invoice, row))
    if fact.total < 0 and not invoice.voided:
        draft.put(_due_with_invoice(invoice, None))
    if fact.amount_paid > 0:
        draft.put(_paid_with_invoice(invoice))
    return invoice


def _due_with_invoice(invoice: Invoice, line: Line | None) -> Entitlement:
    amount = -invoice.total if line is None else line.cost
    return Entitlement(
        key=undo.negative_total_key(invoice.key) if line is None else line.key,
        account=invoice.account,
        cost=amount,
        target=amount,
        source="negative_invoice" if line is None else "prepaid",
        due_from=invoice.finalized_at,
    )


def _paid_with_invoice(invoice: Invoice) -> Payment:
    return Payment(
        key=PaymentKey(invoice.key.tenant_id, "amount_paid", invoice.key.invoice_id),
        account=invoice.account,
        amount=invoice.amount_paid,
        occurred_at=invoice.finalized_at,
        invoice_ids=(invoice.key.invoice_id,),
        reversed=0,
        settled=0,
        event_id=invoice.event_id,
        contents=invoice.contents,
    )


def void_invoice(draft: Draft, message: Message, fact: InvoiceVoided) -> Conclusion:
    key = InvoiceKey(message.tenant_id, fact.invoice_id)
    known = draft.state.voids.get(key)
    if known is not None:
        return key_taken(message, known.contents, "invoice_id")
    draft.put(Void(key, fact.reason, message.occurred_at, message.event_id, message.contents))
    invoice = draft.state.invoices.get(key)
    if invoice is None:
        settle(draft, release_for(draft, key, "invoice_voided"), "invoice_voided")
        return conclude(message, "waiting", "unknown_invoice", {"invoice_id": fact.invoice_id})
    draft.put(replace(invoice, voided=True))
    # Nothing is due any more, and a credit line's shortfall (its `given`) is not made up for on a void invoice.
    for entitlement in undo.entitlements_on(draft, key):
        given = 0 if entitlement.key.kind == "credit_line" else entitlement.given
        draft.put(replace(entitlement, target=0, given=given))
    accounts = {invoice.account}
    for line in draft.state.lines_of_invoice.get(key) or ():
        if line.subject is not None:
            accounts |= retarget(draft, line.subject)
    expire_overdue(draft, invoice.account)
    undo.undo_invoice(draft, key)
    settle(draft, accounts, "invoice_voided")
    facts = invoice_facts(draft.state.invoices[key]) | {"undone": _undone(draft, invoice)}
    return conclude(message, "recorded", "invoice_voided", facts)


def _undone(draft: Draft, before: Invoice) -> dict[str, str]:
    """Effects of a void on the invoice's previous state: money, credit used on it and given for it."""
    undone = {
        "due": before.due,
        "payments": before.settled - draft.state.invoices[before.key].settled,
        "credit_used": 0,
        "credit_given": 0,
        "short": 0,
    }
    for event in draft.events:
        match event.body:
            case CreditReinstated(undone="application", invoice_id=before.key.invoice_id, amount=amount):
                undone["credit_used"] += amount
            case CreditVoided(reason="invoice_voided", amount=amount):
                undone["credit_given"] += amount
            case CreditShortfall(reason="invoice_voided", amount=amount):
                undone["short"] += amount
            case _:
                pass
    return {key: format_decimal(amount, before.account.currency) for key, amount in undone.items()}


def invoice_facts(invoice: Invoice) -> dict[str, Any]:
    currency = invoice.account.currency
    return {
        "invoice_id": invoice.key.invoice_id,
        "currency": currency,
        "total": format_decimal(invoice.total, currency),
        "paid": format_decimal(invoice.settled, currency),
        "credit_applied": format_decimal(invoice.applied, currency),
        "due": format_decimal(invoice.due, currency),
        "automatic": invoice.automatic,
    }


HANDLERS: Mapping[type, Handler] = {InvoiceFinalized: finalize, InvoiceVoided: void_invoice}
