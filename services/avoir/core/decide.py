"""One decision for one message: what it records, what credit follows, and the reason."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, assert_never
from uuid import UUID

from avoir.core.changes import conclude_change, retarget, to_change
from avoir.core.decision import Decision, Outcome, fitting, listed, would_change
from avoir.core.draft import Draft, Moment
from avoir.core.events import (
    AccountKey,
    Cause,
    CreditApplied,
    CreditIssued,
    CreditNoteIssued,
    CreditShortfall,
    CreditVoided,
    Event,
)
from avoir.core.facts import (
    ApplicationRejected,
    BookingCancelled,
    BookingShortened,
    InvoiceFinalized,
    InvoiceVoided,
    Message,
    PaymentRecorded,
    PaymentReversed,
    PlanCancelled,
)
from avoir.core.ledger import Entry
from avoir.core.money import format_decimal
from avoir.core.settle import expire_overdue, settle
from avoir.core.state import (
    ApplicationKey,
    Entitlement,
    InboxKey,
    Invoice,
    InvoiceKey,
    Line,
    Payment,
    PaymentKey,
    Reversal,
    ReversalKey,
    State,
    Void,
)
from avoir.core.unwind import entitlements_on, negative_total_key, reinstate, reverse, void
from avoir.core.worth import costs


class Conclusion(NamedTuple):
    """What a handler concludes where no credit was issued or applied."""

    outcome: Outcome
    reason: str
    subject_kind: str
    subject_id: str
    facts: Mapping[str, Any]
    policy: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Decided:
    """The decision on a message with what follows from it; `state` is the fork to take over."""

    decision: Decision
    events: list[Event]
    entries: list[Entry]
    state: State


def decide(state: State, message: Message, moment: Moment) -> Decided:
    """Decide one message over a fork of the state; the caller takes the fork over. Raises only on defects."""
    cause = Cause(message.topic, message.event_id)
    draft = Draft(state.fork(), moment, cause, message.occurred_at)
    inbox_key = InboxKey(message.tenant_id, message.topic, message.event_id)
    seen = state.inbox.get(inbox_key)
    conclusion = _handle(draft, message) if seen is None else _seen_before(message, seen)
    if conclusion.outcome != "conflict":
        draft.state.inbox.put(inbox_key, message.contents)
    outcome, reason = _outcome(draft, conclusion)
    decision = Decision(
        tenant_id=message.tenant_id,
        topic=message.topic,
        event_id=message.event_id,
        occurred_at=message.occurred_at,
        outcome=outcome,
        reason=reason,
        facts=conclusion.facts,
        policy=_policy(draft, conclusion),
        would_change_it=would_change(reason) if outcome in ("declined", "waiting", "conflict") else None,
        subject_kind=conclusion.subject_kind,
        subject_id=conclusion.subject_id,
    )
    return Decided(decision, draft.events, draft.entries, draft.state)


def expire(state: State, accounts: Iterable[AccountKey], moment: Moment) -> Draft:
    """Expire what is overdue in accounts, over a fork of the state; the caller takes the draft's state over."""
    draft = Draft(state.fork(), moment, None, moment.now)
    for account in accounts:
        expire_overdue(draft, account)
    return draft


def _policy(draft: Draft, conclusion: Conclusion) -> Mapping[str, Any]:
    if any(isinstance(event.body, CreditIssued) for event in draft.events):
        return {**conclusion.policy, "expires_after_days": draft.moment.policy.expires_after_days}
    return conclusion.policy


def _outcome(draft: Draft, conclusion: Conclusion) -> tuple[Outcome, str]:
    for event in draft.events:
        if isinstance(event.body, CreditIssued):
            return "issued", event.body.reason
    for event in draft.events:
        if isinstance(event.body, CreditApplied):
            return "applied", event.body.by
    return conclusion.outcome, conclusion.reason


def _handle(draft: Draft, message: Message) -> Conclusion:
    match message.fact:
        case InvoiceFinalized() as fact:
            return _finalize(draft, message, fact)
        case BookingCancelled() | BookingShortened() | PlanCancelled() as fact:
            return _change(draft, message, fact)
        case PaymentRecorded() as fact:
            return _pay(draft, message, fact)
        case PaymentReversed() as fact:
            return _reverse(draft, message, fact)
        case InvoiceVoided() as fact:
            return _void(draft, message, fact)
        case ApplicationRejected() as fact:
            return _reject(draft, message, fact)
        case never:
            assert_never(never)


def subject_of(message: Message) -> tuple[str, str]:
    """What a message is about, as decisions are looked up: kind and id."""
    match message.fact:
        case InvoiceFinalized(invoice_id=invoice_id) | InvoiceVoided(invoice_id=invoice_id):
            return "invoice", invoice_id
        case BookingCancelled(booking_id=booking_id) | BookingShortened(booking_id=booking_id):
            return "booking", booking_id
        case PlanCancelled(plan_id=plan_id):
            return "plan", plan_id
        case PaymentRecorded(payment_id=payment_id) | PaymentReversed(payment_id=payment_id):
            return "payment", payment_id
        case ApplicationRejected(application_id=application_id):
            return "application", application_id
        case never:
            assert_never(never)


def _conclude(
    message: Message,
    outcome: Outcome,
    reason: str,
    facts: Mapping[str, Any],
    policy: Mapping[str, Any] | None = None,
) -> Conclusion:
    return Conclusion(outcome, reason, *subject_of(message), fitting(facts), policy or {})


def _seen_before(message: Message, contents: bytes) -> Conclusion:
    if contents == message.contents:
        return _conclude(message, "duplicate", "duplicate", {"same": "event_id"})
    return _conclude(message, "conflict", "conflict", {"same": "event_id"})


def _key_taken(message: Message, contents: bytes, key: str) -> Conclusion:
    same = contents == message.contents
    outcome: Outcome = "duplicate" if same else "conflict"
    return _conclude(message, outcome, outcome, {"same": key})


def _change(
    draft: Draft, message: Message, fact: BookingCancelled | BookingShortened | PlanCancelled
) -> Conclusion:
    change = to_change(message, fact, draft.moment.policy)
    draft.reason = "changed"
    draft.put(change)
    settle(draft, retarget(draft, change.subject))
    took_back = any(isinstance(event.body, CreditVoided | CreditShortfall) for event in draft.events)
    gave = any(isinstance(event.body, CreditIssued | CreditApplied) for event in draft.events)
    concluded = conclude_change(draft, change, fact.owner, is_effective=took_back or gave)
    policy: dict[str, Any] = {"unpaid_change": change.unpaid_change}
    if change.unused == "prorate":
        policy |= {"proration": change.proration, "time_zone": change.time_zone}
    return _conclude(message, concluded.outcome, concluded.reason, concluded.facts, policy)


def _finalize(draft: Draft, message: Message, fact: InvoiceFinalized) -> Conclusion:
    key = InvoiceKey(message.tenant_id, fact.invoice_id)
    known = draft.state.invoices.get(key)
    if known is not None:
        return _key_taken(message, known.contents, "invoice_id")
    invoice = _open_invoice(draft, message, fact, key)
    accounts = {invoice.account}
    for subject in dict.fromkeys(line.subject for line in draft.state.lines_of_invoice.get(key) or ()):
        accounts |= retarget(draft, subject) if subject is not None else set()
    draft.reason = "changed"
    settle(draft, accounts)
    if invoice.total < 0 and not invoice.voided:
        note = CreditNoteIssued(f"{invoice.number}-CN1", invoice.key.invoice_id, -invoice.total)
        draft.record(invoice.account, note, cause=draft.cause)
    invoice = draft.state.invoices[key]
    reason = "invoice_voided" if invoice.voided else "recorded"
    return _conclude(
        message, "recorded", reason, _invoice_facts(invoice), {"auto_apply": draft.moment.policy.auto_apply}
    )


def _open_invoice(draft: Draft, message: Message, fact: InvoiceFinalized, key: InvoiceKey) -> Invoice:
    account = AccountKey(message.tenant_id, fact.owner.type, fact.owner.id, fact.currency)
    auto_apply = draft.moment.policy.auto_apply if fact.auto_apply is None else fact.auto_apply
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
    for position, (line, cost) in enumerate(zip(fact.lines, costs(fact.lines, fact.currency), strict=True)):
        row = Line(
            invoice=key,
            position=position,
            line_id=line.line_id,
            kind=line.kind,
            subject_id=line.subject_id,
            period=line.period,
            amount=line.amount,
            tax=line.tax,
            cost=cost,
            credit_line_id=line.credit_line_id,
            expires_at=line.expires_at,
        )
        draft.put(row)
        if line.kind == "prepaid" and cost > 0 and not invoice.voided:
            draft.put(_due_with_invoice(invoice, row))
    if fact.total < 0 and not invoice.voided:
        draft.put(_due_with_invoice(invoice, None))
    if fact.amount_paid > 0:
        draft.put(_paid_with_invoice(invoice))
    return invoice


def _due_with_invoice(invoice: Invoice, line: Line | None) -> Entitlement:
    amount = -invoice.total if line is None else line.cost
    return Entitlement(
        key=negative_total_key(invoice.key) if line is None else line.key,
        account=invoice.account,
        cost=amount,
        target=amount,
        given=0,
        covered=0,
        shortfall=0,
        shortfall_reason=None,
        grants=0,
        source="negative_invoice" if line is None else "prepaid",
        due_from=invoice.finalized_at,
        settle_by=None,
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


def _invoice_facts(invoice: Invoice) -> dict[str, Any]:
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


def _pay(draft: Draft, message: Message, fact: PaymentRecorded) -> Conclusion:
    key = PaymentKey(message.tenant_id, "payment", fact.payment_id)
    known = draft.state.payments.get(key)
    if known is not None:
        return _key_taken(message, known.contents, "payment_id")
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
    settle(draft, [account])
    facts = _payment_facts(draft.state.payments[key])
    others = [
        each
        for each in fact.invoice_ids
        if _is_of_another(draft, InvoiceKey(message.tenant_id, each), account)
    ]
    if others:
        facts |= listed("not_of_this_owner_and_currency", others)
    return _conclude(message, "recorded", "recorded", facts)


def _is_of_another(draft: Draft, key: InvoiceKey, account: AccountKey) -> bool:
    invoice = draft.state.invoices.get(key)
    return invoice is not None and invoice.account != account


def _reversed(draft: Draft, key: PaymentKey, amount: int, currency: str) -> int:
    reversals: Iterable[Reversal] = draft.state.reversals_of_payment.get(key) or ()
    return min(amount, sum(each.amount for each in reversals if each.currency == currency))


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


def _reverse(draft: Draft, message: Message, fact: PaymentReversed) -> Conclusion:
    key = ReversalKey(message.tenant_id, fact.reversal_id)
    known = draft.state.reversals.get(key)
    if known is not None:
        return _key_taken(message, known.contents, "reversal_id")
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
        return _conclude(message, "waiting", "unknown_payment", {"payment_id": fact.payment_id})
    if payment.account.currency != fact.currency:
        facts = {
            "payment_id": fact.payment_id,
            "currency": fact.currency,
            "payment": payment.account.currency,
        }
        return _conclude(message, "declined", "currency_mismatch", facts)
    draft.reason = "payment_reversed"
    more = _reversed(draft, payment_key, payment.amount, fact.currency) - payment.reversed
    if more > 0:
        expire_overdue(draft, payment.account)
        reverse(draft, payment_key, more)
        settle(draft, [payment.account])
    return _conclude(
        message, "recorded", "payment_reversed", _payment_facts(draft.state.payments[payment_key])
    )


def _void(draft: Draft, message: Message, fact: InvoiceVoided) -> Conclusion:
    key = InvoiceKey(message.tenant_id, fact.invoice_id)
    known = draft.state.voids.get(key)
    if known is not None:
        return _key_taken(message, known.contents, "invoice_id")
    draft.put(Void(key, fact.reason, message.occurred_at, message.event_id, message.contents))
    invoice = draft.state.invoices.get(key)
    if invoice is None:
        return _conclude(message, "waiting", "unknown_invoice", {"invoice_id": fact.invoice_id})
    draft.reason = "invoice_voided"
    draft.put(replace(invoice, voided=True))
    for entitlement in entitlements_on(draft, key):
        draft.put(replace(entitlement, target=0))
    accounts = {invoice.account}
    for line in draft.state.lines_of_invoice.get(key) or ():
        if line.subject is not None:
            accounts |= retarget(draft, line.subject)
    expire_overdue(draft, invoice.account)
    void(draft, key)
    settle(draft, accounts)
    return _conclude(message, "recorded", "invoice_voided", _invoice_facts(draft.state.invoices[key]))


def _reject(draft: Draft, message: Message, fact: ApplicationRejected) -> Conclusion:
    application = draft.state.applications.get(application_key(message.tenant_id, fact.application_id))
    if application is None:
        return _conclude(message, "declined", "unknown_application", {"application_id": fact.application_id})
    invoice = draft.state.invoices[application.invoice]
    draft.reason = "payment_reversed"
    draft.put(replace(invoice, barred=True))
    if not application.reinstated:
        reinstate(draft, application, fact.reason)
        settle(draft, [application.account])
    return _conclude(
        message, "recorded", "recorded", _invoice_facts(draft.state.invoices[application.invoice])
    )


def application_key(tenant_id: str, application_id: str) -> ApplicationKey:
    """The key of an application named by a message; of an id that Avoir cannot have made, one that none has."""
    try:
        return ApplicationKey(tenant_id, UUID(application_id))
    except ValueError:
        return ApplicationKey(tenant_id, UUID(int=0))
