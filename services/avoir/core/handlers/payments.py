"""Payments: settling invoices with one, and reversing it."""

from collections.abc import Mapping, Sequence
from typing import Any

from avoir.core.effects import undo
from avoir.core.effects.settle import expire_overdue, settle
from avoir.core.handlers.outcome import Conclusion, Handler, conclude, key_taken
from avoir.core.model.decision import listed
from avoir.core.model.events import AccountKey
from avoir.core.model.facts import PaymentRecorded, PaymentReversed
from avoir.core.model.message import Message
from avoir.core.model.money import format_decimal
from avoir.core.model.rows import InvoiceKey, Payment, PaymentKey, Reversal, ReversalKey
from avoir.core.state.draft import Draft

MISMATCHED = "reversals_in_another_currency"
"""Key in a payment's facts for reversals that waited for it and do not count, because their currency differs."""


def pay(draft: Draft, message: Message, fact: PaymentRecorded) -> Conclusion:
    key = PaymentKey(message.tenant_id, "payment", fact.payment_id)
    known = draft.state.payments.get(key)
    if known is not None:
        return key_taken(message, known.contents, "payment_id")
    account = AccountKey(message.tenant_id, fact.owner.type, fact.owner.id, fact.currency)
    payment = Payment(
        key=key,
        account=account,
        amount=fact.amount,
        occurred_at=message.occurred_at,
        invoice_ids=fact.invoice_ids,
        reversed=_reversed(draft, key, fact.amount, fact.currency),
        settled=0,
        event_id=message.event_id,
        contents=message.contents,
    )
    draft.put(payment)
    settle(draft, [account], "changed")
    facts = _payment_facts(draft.state.payments[key])
    others = [
        each
        for each in fact.invoice_ids
        if _is_of_another(draft, InvoiceKey(message.tenant_id, each), account)
    ]
    if others:
        facts |= listed("not_of_this_owner_and_currency", others)
    mismatched = sorted(each.key.id for each in _reversals(draft, key) if each.currency != fact.currency)
    if mismatched:
        facts |= listed(MISMATCHED, mismatched)
    policy = draft.policy(account, message.occurred_at)
    keys = (
        ["expires_after_days"]
        if policy.policy.expires_after_days is None
        else ["expires_after_days", "time_zone"]
    )
    return conclude(message, "recorded", "recorded", facts, policy.used(*keys))


def _is_of_another(draft: Draft, key: InvoiceKey, account: AccountKey) -> bool:
    invoice = draft.state.invoices.get(key)
    return invoice is not None and invoice.account != account


def _reversals(draft: Draft, key: PaymentKey) -> Sequence[Reversal]:
    return draft.state.reversals_of_payment.get(key) or ()


def _reversed(draft: Draft, key: PaymentKey, amount: int, currency: str) -> int:
    return min(amount, sum(each.amount for each in _reversals(draft, key) if each.currency == currency))


def _payment_facts(payment: Payment) -> dict[str, Any]:
    currency = payment.account.currency
    return {
        "payment_id": payment.key.id,
        "currency": currency,
        "amount": format_decimal(payment.amount, currency),
        "reversed": format_decimal(payment.reversed, currency),
        "settled": format_decimal(payment.settled, currency),
        "left": format_decimal(payment.left, currency),
    }


def reverse(draft: Draft, message: Message, fact: PaymentReversed) -> Conclusion:
    key = ReversalKey(message.tenant_id, fact.reversal_id)
    known = draft.state.reversals.get(key)
    if known is not None:
        return key_taken(message, known.contents, "reversal_id")
    draft.put(
        Reversal(
            key,
            fact.payment_id,
            fact.amount,
            fact.currency,
            fact.reason,
            message.occurred_at,
            message.event_id,
            message.contents,
        )
    )
    payment_key = PaymentKey(message.tenant_id, "payment", fact.payment_id)
    payment = draft.state.payments.get(payment_key)
    if payment is None:
        return conclude(message, "waiting", "unknown_payment", {"payment_id": fact.payment_id})
    if payment.account.currency != fact.currency:
        facts = {
            "payment_id": fact.payment_id,
            "currency": fact.currency,
            "payment": payment.account.currency,
        }
        return conclude(message, "declined", "currency_mismatch", facts)
    more = _reversed(draft, payment_key, payment.amount, fact.currency) - payment.reversed
    if more > 0:
        expire_overdue(draft, payment.account)
        undo.reverse(draft, payment_key, more)
        settle(draft, [payment.account], "payment_reversed")
    return conclude(
        message, "recorded", "payment_reversed", _payment_facts(draft.state.payments[payment_key])
    )


HANDLERS: Mapping[type, Handler] = {PaymentRecorded: pay, PaymentReversed: reverse}
