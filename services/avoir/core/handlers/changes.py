"""Changes of bookings and plans: new targets of their lines."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, assert_never

from msgspec.structs import replace

from avoir.core.effects.settle import settle
from avoir.core.handlers.outcome import Conclusion, Handler, conclude
from avoir.core.handlers.why_nothing import Why, why_nothing
from avoir.core.model.decision import fitting, listed, would_change
from avoir.core.model.events import (
    AccountKey,
    CreditApplied,
    CreditDeclined,
    CreditIssued,
    CreditShortfall,
    CreditVoided,
)
from avoir.core.model.facts import BookingCancelled, BookingShortened, Owner, PlanCancelled
from avoir.core.model.message import Message
from avoir.core.model.money import OverLimitError, format_decimal
from avoir.core.model.policy import InForce, Policy
from avoir.core.model.reasons import MAY_CHANGE
from avoir.core.model.rows import (
    BookingCancellation,
    BookingShortening,
    Change,
    Entitlement,
    InvoiceKey,
    Line,
    PlanCancellation,
    SubjectKey,
)
from avoir.core.state.draft import Draft
from avoir.core.worth.targets import (
    Billed,
    Target,
    change_order,
    line_order,
    supersedes,
    targets,
)


def change(
    draft: Draft, message: Message, fact: BookingCancelled | BookingShortened | PlanCancelled
) -> Conclusion:
    subject = subject_of_change(message, fact)
    billed = billed_lines(draft, subject)
    owner = billed[0].invoice.account.owner if billed else fact.owner
    policy = _policy_of(draft, subject.tenant_id, owner, message.occurred_at)
    change = to_change(message, fact, policy.policy)
    is_repeated = put_change(draft, change)
    settle(draft, retarget(draft, change.subject), "changed")
    took_back = any(isinstance(event.body, CreditVoided | CreditShortfall) for event in draft.events)
    gave = any(isinstance(event.body, CreditIssued | CreditApplied) for event in draft.events)
    billed = billed_lines(draft, subject)
    facts = change_facts(draft, change, billed)
    policy_used = policy.used(*_keys_that_count(change))
    if took_back or gave:
        return conclude(message, "recorded", "changed", facts, policy_used)
    why = why_nothing(draft, change, billed, is_repeated=is_repeated)
    if why.outcome == "declined":
        _publish_declined(draft, change, fact.owner, billed, facts, why)
    return conclude(message, why.outcome, why.reason, facts, policy_used, why.would_change_it)


MOST_STANDING = 100
"""Maximum number of changes of a booking or plan that are not superseded: each of them may count for each line."""


def put_change(draft: Draft, change: Change) -> bool:
    """Store a change and mark those that it supersedes; returns whether an identical one was stored before."""
    known = draft.changes(change.subject)
    superseded = {each.key for each in known if supersedes(change, each)}
    is_superseded = any(supersedes(each, change) for each in known)
    if not is_superseded and len(known) - len(superseded) >= MOST_STANDING:
        subject = f"{change.subject.kind} {change.subject.id}"
        raise OverLimitError(f"{subject} would have more than {MOST_STANDING} changes that may count")
    draft.put(replace(change, superseded=is_superseded))
    draft.put(*(replace(each, superseded=True) for each in known if each.key in superseded))
    return any(each.contents == change.contents for each in known)


def subject_of_change(
    message: Message, fact: BookingCancelled | BookingShortened | PlanCancelled
) -> SubjectKey:
    """Booking or plan of a change."""
    if isinstance(fact, PlanCancelled):
        return SubjectKey(message.tenant_id, "plan", fact.plan_id)
    return SubjectKey(message.tenant_id, "booking", fact.booking_id)


def _policy_of(draft: Draft, tenant_id: str, owner: Owner, at: datetime) -> InForce:
    """Policy for changes of an owner's bookings and plans, without refill keys, which have a currency."""
    return draft.policy(AccountKey(tenant_id, *owner, ""), at)


def adopt_policies(draft: Draft, subject: SubjectKey, key: InvoiceKey) -> Mapping[str, Any]:
    """Give changes the policy of the first invoice's owner, now that this invoice comes first by finalization.

    Returns the values of the last of these changes, as a decision records them.
    """
    policy_used: Mapping[str, Any] = {}
    changes = draft.changes(subject)
    invoices = [invoice for invoice, _ in billed_lines(draft, subject)] if changes else []
    if not changes or invoices[0].key != key:
        return policy_used
    others = [invoice for invoice in invoices if invoice.key != key]
    owner = invoices[0].account.owner
    for change in sorted(changes, key=change_order):
        if owner != (others[0].account.owner if others else change.owner):
            policy = _policy_of(draft, subject.tenant_id, owner, change.occurred_at)
            draft.put(with_policy(change, policy.policy))
            policy_used = policy.used(*_keys_that_count(change))
    return policy_used


def _keys_that_count(change: Change) -> list[str]:
    """The policy keys that a change's credit depends on."""
    keys = ["unpaid_change", "credit_as", "expires_after_days"]
    is_prorated = isinstance(change, PlanCancellation) and change.unused == "prorate"
    if is_prorated:
        keys.append("proration")
    return [*keys, "time_zone"] if is_prorated or change.expires_after_days is not None else keys


def with_policy(change: Change, policy: Policy) -> Change:
    """A change with the policy values that count for it."""
    proration = {"proration": policy.proration} if isinstance(change, PlanCancellation) else {}
    return replace(change, **_kept_of(policy), **proration)


def _kept_of(policy: Policy) -> dict[str, Any]:
    return {
        "unpaid_change": policy.unpaid_change,
        "credit_as": policy.credit_as,
        "expires_after_days": policy.expires_after_days,
        "time_zone": policy.time_zone,
    }


def to_change(
    message: Message, fact: BookingCancelled | BookingShortened | PlanCancelled, policy: Policy
) -> Change:
    """A change as it is stored, with the policy values in force for it."""
    shared: dict[str, Any] = {
        "subject": subject_of_change(message, fact),
        "owner": fact.owner,
        "event_id": message.event_id,
        "revision": fact.revision,
        "occurred_at": message.occurred_at,
        "changed_by": fact.changed_by,
        "asked": fact.changed_by == "customer" or fact.create_credit is True,
        **_kept_of(policy),
        "contents": message.contents,
        "superseded": False,
        "rules": message.rules,
        "declined": None,
    }
    match fact:
        case BookingCancelled():
            return BookingCancellation(**shared, fee=fact.fee, currency=fact.currency)
        case BookingShortened():
            return BookingShortening(
                **shared,
                billed_period=fact.billed_period,
                remaining_period=fact.remaining_period,
                billed_price=fact.billed_price,
                remaining_price=fact.remaining_price,
                currency=fact.currency,
            )
        case PlanCancelled():
            return PlanCancellation(
                **shared, effective_at=fact.effective_at, unused=fact.unused, proration=policy.proration
            )
        case never:
            assert_never(never)


def billed_lines(draft: Draft, subject: SubjectKey) -> list[Billed]:
    """All lines of a booking or plan with their invoices, in order."""
    lines = draft.state.lines_of_subject.get(subject) or ()
    return sorted((Billed(draft.state.invoices[line.invoice], line) for line in lines), key=line_order)


def retarget(draft: Draft, subject: SubjectKey) -> set[AccountKey]:
    """Set the targets of all lines of a booking or plan from all facts known; returns their accounts."""
    billed = billed_lines(draft, subject)
    changes = draft.changes(subject)
    # Without a change, none of its lines was ever worth anything.
    target_of = targets(billed, changes) if changes else {}
    for invoice, line in billed if changes else ():
        key = line.key
        target, entitlement = target_of.get(key), draft.state.entitlements.get(key)
        if target is not None:
            _aim(draft, invoice.account, line, entitlement, target)
        elif entitlement is not None and entitlement.target:
            draft.put(replace(entitlement, target=0))
    return {invoice.account for invoice, _ in billed}


def _aim(draft: Draft, account: AccountKey, line: Line, known: Entitlement | None, target: Target) -> None:
    change, is_new = target.change, known is None
    if known is None:
        known = Entitlement(
            key=line.key,
            account=account,
            cost=line.cost,
            target=0,
            source=change.source,
            due_from=change.occurred_at,
            settle_by=change.settle_by,
        )
    aimed = replace(
        known,
        target=target.amount,
        source=change.source,
        due_from=change.occurred_at,
        settle_by=change.settle_by,
        as_line_item=change.credit_as == "line_item",
        expires_after_days=change.expires_after_days,
        time_zone=change.expiry_zone,
        overtakes=known.overtakes if _comes_from(known, change) and not is_new else change.declined,
    )
    if draft.state.entitlements.get(line.key) != aimed:
        draft.put(aimed)


def _publish_declined(
    draft: Draft, change: Change, owner: Owner, billed: Sequence[Billed], facts: Mapping[str, Any], why: Why
) -> None:
    asked = {
        f"{change.subject.kind}_id": change.subject.id,
        "change": change.topic,
        "changed_by": change.changed_by,
    }
    remedy = why.would_change_it or would_change(why.reason, why.outcome) or ""
    body = CreditDeclined(asked, why.reason, facts, remedy, final=why.reason not in MAY_CHANGE)
    if billed:
        draft.record(billed[0].invoice.account, body, cause=draft.cause)
    else:
        draft.record_without_account(change.subject.tenant_id, owner, body)
    if not body.final:
        event_id = draft.events[-1].event_id
        draft.put(replace(draft.state.changes[change.key], declined=event_id))
        for entitlement in (draft.state.entitlements.get(line.key) for _, line in billed):
            if entitlement is not None and _comes_from(entitlement, change):
                draft.put(replace(entitlement, overtakes=event_id))


def _comes_from(entitlement: Entitlement, change: Change) -> bool:
    """Check whether a line's target comes from a change, as far as its entitlement says."""
    return (entitlement.source, entitlement.due_from) == (change.source, change.occurred_at)


def change_facts(draft: Draft, change: Change, billed: Sequence[Billed]) -> Mapping[str, Any]:
    """The facts that a decision on a change used: its lines with cost, target, what was given, what is due."""
    facts: dict[str, Any] = {f"{change.subject.kind}_id": change.subject.id}
    if isinstance(change, BookingCancellation) and change.fee and change.currency is not None:
        facts |= {"fee": format_decimal(change.fee, change.currency), "currency": change.currency}
    return fitting(facts | listed("lines", [line_facts(draft, each) for each in billed]))


def line_facts(draft: Draft, billed: Billed) -> dict[str, Any]:
    """The facts of one line, amounts as decimal strings."""
    invoice, line = billed
    currency = invoice.account.currency
    entitlement = draft.state.entitlements.get(line.key)
    return {
        "invoice_id": invoice.key.invoice_id,
        "line_id": line.line_id,
        "currency": currency,
        "finalized_at": invoice.finalized_at.isoformat(),
        "cost": format_decimal(line.cost, currency),
        "target": format_decimal(entitlement.target if entitlement else 0, currency),
        "given": format_decimal(entitlement.given if entitlement else 0, currency),
        "due_on_invoice": format_decimal(invoice.due, currency),
    } | ({"voided": True} if invoice.voided else {})


HANDLERS: Mapping[type, Handler] = {BookingCancelled: change, BookingShortened: change, PlanCancelled: change}
