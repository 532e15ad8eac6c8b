"""Credit that leaves an account without an invoice: drawn for a piece of usage, refunded in money."""

from collections.abc import Sequence
from typing import Any

from avoir.core.allocation import Part, allocate, order_of_refund, usable, whole
from avoir.core.apply import in_runs, slices
from avoir.core.commands import DrawCredit, RefundCredit
from avoir.core.conclusion import Conclusion, conclude
from avoir.core.draft import Draft
from avoir.core.events import AccountKey, CreditDrawn, CreditRefunded
from avoir.core.ledger import Posting
from avoir.core.message import Message
from avoir.core.money import format_decimal
from avoir.core.refusal import refuse
from avoir.core.rows import Grant, GrantKey
from avoir.core.settle import expire_overdue


def draw(draft: Draft, message: Message, command: DrawCredit) -> Conclusion:
    """Draw credit, below the minor unit too: all that is asked, or what there is where that is allowed."""
    account = AccountKey(message.tenant_id, *command.owner, command.currency)
    expire_overdue(draft, account)
    grants = usable(draft.grants(account), message.occurred_at, draft.moment.now)
    available = sum(grant.available for grant in grants)
    amount = min(command.amount, available) if command.allow_partial else command.amount
    asked = {**_asked(account, command.amount, command.reference), "allow_partial": command.allow_partial}
    facts = {"available": format_decimal(available, account.currency)}
    if amount > available or amount == 0:
        return refuse(draft, message, "insufficient_credit", facts, asked=asked, account=account)
    runs = in_runs(allocate(amount, grants, lambda grant: grant.available))
    for run in runs:
        # Only the last one asks for more than it gets, so that what all of them ask for is what was asked for.
        short = command.amount - amount if run is runs[-1] else 0
        _draw(draft, account, run, short, command.reference)
    drawn = {"drawn": format_decimal(amount, account.currency)}
    return conclude(message, "recorded", "drawn", {**asked, **drawn, **facts})


def _draw(draft: Draft, account: AccountKey, parts: Sequence[Part], short: int, reference: str) -> None:
    amount = sum(part.amount for part in parts)
    draft.record(
        account,
        CreditDrawn(
            draw_id=draft.new_id(account.tenant_id, "draw"),
            amount=amount,
            asked=amount + short,
            slices=slices(parts),
            reference=reference,
        ),
        [Posting(part.grant.key.id, "available", "drawn", part.amount) for part in parts],
        cause=draft.cause,
    )


def refund(draft: Draft, message: Message, command: RefundCredit) -> Conclusion:
    """Record that credit was paid out: never more than is available, what was paid for first."""
    account = AccountKey(message.tenant_id, *command.owner, command.currency)
    expire_overdue(draft, account)
    asked = _asked(account, command.amount, command.reference) | {"grant_id": command.grant_id}
    known = sorted(usable(draft.grants(account), message.occurred_at, draft.moment.now), key=order_of_refund)
    grants: Sequence[Grant] = known
    if command.grant_id is not None:
        grant = named_grant(draft, account, command.grant_id)
        if isinstance(grant, str):
            return refuse(draft, message, grant, {"grant_id": command.grant_id}, asked=asked, account=account)
        grants = [each for each in known if each.key == grant.key]
    available = sum(map(whole, grants))
    facts = {"available": format_decimal(available, account.currency)}
    if command.amount > available:
        return refuse(draft, message, "insufficient_credit", facts, asked=asked, account=account)
    for run in in_runs(allocate(command.amount, grants)):
        draft.record(
            account,
            CreditRefunded(sum(part.amount for part in run), slices(run), command.reference),
            [Posting(part.grant.key.id, "available", "refunded", part.amount) for part in run],
            cause=draft.cause,
        )
    return conclude(message, "recorded", "refunded", {**asked, **facts})


def named_grant(draft: Draft, account: AccountKey, grant_id: str) -> Grant | str:
    """A grant named by a command on an account, or the reason why it cannot be used: nobody else's, and not expired."""
    key = GrantKey.named(account.tenant_id, grant_id)
    grant = draft.state.grants.get(key) if key is not None else None
    if grant is None or grant.account.owner != account.owner:
        return "unknown_grant"
    if grant.account != account:
        return "currency_mismatch"
    if grant.expires_at is not None and grant.expires_at <= max(draft.moment.now, draft.occurred_at):
        return "credit_expired"
    return grant


def _asked(account: AccountKey, amount: int, reference: str) -> dict[str, Any]:
    return {
        "currency": account.currency,
        "amount": format_decimal(amount, account.currency),
        "reference": reference,
    }
