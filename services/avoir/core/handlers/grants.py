"""Grants by command: given now or when their time comes, and voided by decision.

pending --effective_at comes--> issued (available) --expires_at comes--> expired
pending or available or reserved --void-credit--> voided
"""

from collections.abc import Mapping
from itertools import takewhile
from typing import Any

from msgspec.structs import replace

from avoir.core.effects.issue import await_refill, issued
from avoir.core.effects.reservations import lower_grant
from avoir.core.effects.settle import expire_overdue, settle
from avoir.core.handlers.outcome import Conclusion, Handler, conclude, key_taken, refuse
from avoir.core.model.commands import GrantCredit, VoidCredit
from avoir.core.model.events import AccountKey, Cause, CreditVoided
from avoir.core.model.ledger import Posting, postings_of_all
from avoir.core.model.message import Message
from avoir.core.model.money import format_decimal
from avoir.core.model.reasons import Refusal
from avoir.core.model.rows import Grant, GrantKey, ReferenceKey
from avoir.core.state.draft import Draft


def give(draft: Draft, message: Message, command: GrantCredit) -> Conclusion:
    """Give credit, at once or at its `effective_at`; a reference makes only one grant."""
    known = _of_reference(draft, message, command)
    if known is not None:
        return key_taken(message, known.contents or b"", "reference")
    account = AccountKey(message.tenant_id, *command.owner, command.currency)
    grant = Grant(
        key=GrantKey(message.tenant_id, draft.new_id(message.tenant_id, "grant")),
        account=account,
        amount=command.amount,
        pending=command.amount,
        available=0,
        reserved=0,
        spent=0,
        lost=0,
        taken=0,
        source="granted",
        reason=command.reason,
        note=command.note,
        priority=command.priority,
        paid_for=command.reason == "purchase",
        effective_at=command.effective_at,
        expires_at=command.expires_at,
        reference=command.reference,
        entitlement=None,
        ordinal=0,
        topic=message.topic,
        event_id=message.event_id,
        contents=message.contents,
        by=command.actor,
    )
    draft.put(grant)
    facts = _facts(grant)
    if grant.effective_at > draft.moment.now:
        return conclude(message, "waiting", "not_effective", facts)
    begin(draft, grant)
    settle(draft, [account], "changed")
    return conclude(message, "issued", command.reason, facts)


def begin(draft: Draft, grant: Grant) -> None:
    """Issue a pending grant whose time has come."""
    draft.record(
        grant.account,
        issued(grant),
        [Posting(grant.key.id, "issued", "available", grant.amount)],
        # The grant's own message, even if time or another message makes it begin.
        cause=Cause(grant.topic, grant.event_id),
        occurred_at=draft.occurred_at if draft.cause is not None else grant.effective_at,
        by=grant.by,
    )
    if grant.reason == "purchase":
        await_refill(draft, grant.account)


def pass_time(draft: Draft, account: AccountKey) -> None:
    """Issue an account's pending grants whose time has come, and expire the overdue ones, each in its turn.

    So no event shows a balance with credit that had expired by its time.
    """
    now = draft.moment.now
    due = list(
        takewhile(lambda grant: grant.effective_at <= now, draft.state.walk("grants_to_begin", account))
    )
    for grant in due:
        expire_overdue(draft, account, grant.effective_at)
        begin(draft, grant)
    expire_overdue(draft, account)
    if due:
        settle(draft, [account], "changed")


def void_grant(draft: Draft, message: Message, command: VoidCredit) -> Conclusion:
    """Take back what remains of a grant, including reserved credit; what a line was given stays given."""
    asked = {"grant_id": command.grant_id}
    key = GrantKey.parse(message.tenant_id, command.grant_id)
    grant = draft.state.grants.get(key) if key is not None else None
    if grant is None:
        return refuse(draft, message, "unknown_grant", asked, asked=asked, account=None)
    expire_overdue(draft, grant.account)
    grant = draft.state.grants[grant.key]
    if grant.pending > 0:
        # It was never issued, so there is nothing to take back from a balance.
        draft.put(replace(grant, pending=0, lost=grant.pending))
        return conclude(message, "recorded", "voided", _facts(grant))
    if grant.remaining == 0:
        reason: Refusal = "credit_expired" if grant.is_expired(draft.moment.now) else "insufficient_credit"
        return refuse(draft, message, reason, _facts(grant), asked=asked, account=grant.account)
    facts = _facts(grant) | {"voided": format_decimal(grant.remaining, grant.account.currency)}
    _take_all(draft, grant, command.reason)
    settle(draft, [grant.account], "changed")
    return conclude(message, "recorded", "voided", facts)


def _take_all(draft: Draft, grant: Grant, reason: str) -> None:
    lower_grant(draft, grant.key, grant.reserved)
    draft.record(
        grant.account,
        CreditVoided(grant.key.id, grant.remaining, reason, grant.source, grant.document),
        postings_of_all(grant, "voided"),
        cause=draft.cause,
    )


def _of_reference(draft: Draft, message: Message, command: GrantCredit) -> Grant | None:
    if command.reference is None:
        return None
    key = draft.state.grant_of_reference.get(ReferenceKey(message.tenant_id, command.reference))
    return None if key is None else draft.state.grants[key]


def _facts(grant: Grant) -> dict[str, Any]:
    currency = grant.account.currency
    return {
        "grant_id": str(grant.key.id),
        "currency": currency,
        "amount": format_decimal(grant.amount, currency),
        "remaining": format_decimal(grant.remaining, currency),
        "effective_at": grant.effective_at.isoformat(),
        "expires_at": None if grant.expires_at is None else grant.expires_at.isoformat(),
    }


HANDLERS: Mapping[type, Handler] = {GrantCredit: give, VoidCredit: void_grant}
