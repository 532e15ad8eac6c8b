"""Credit that leaves an account without an invoice: drawn for a piece of usage, refunded in money."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from avoir.core.effects.allocation import Part, allocate, is_unexpired, usable, whole
from avoir.core.effects.apply import in_runs, slices
from avoir.core.effects.settle import expire_overdue
from avoir.core.handlers.outcome import Conclusion, Handler, conclude, refuse
from avoir.core.model.commands import DrawCredit, RefundCredit
from avoir.core.model.events import AccountKey, CreditDrawn, CreditRefunded
from avoir.core.model.ledger import Posting
from avoir.core.model.message import Message
from avoir.core.model.money import format_decimal, round_down
from avoir.core.model.reasons import Refusal
from avoir.core.model.rows import Grant, GrantKey
from avoir.core.state.draft import Draft


def draw(draft: Draft, message: Message, command: DrawCredit) -> Conclusion:
    """Draw credit, below the minor unit too: the full amount, or what is available if that is allowed."""
    account = AccountKey(message.tenant_id, *command.owner, command.currency)
    expire_overdue(draft, account)
    asked = {**_asked(account, command.amount, command.reference), "allow_partial": command.allow_partial}
    held = draft.account(account).available
    parts: tuple[Part, ...] = ()
    left = command.amount - held
    if left <= 0 or command.allow_partial:
        grants = usable(draft.grants_in_use(account), message.occurred_at, draft.moment.now)
        parts, left = allocate(command.amount, grants, lambda grant: grant.available)
    amount = command.amount - left
    if not parts or (left and not command.allow_partial):
        facts = {"available": format_decimal(amount, account.currency)}
        return refuse(draft, message, "insufficient_credit", facts, asked=asked, account=account)
    runs = in_runs(parts)
    for run in runs:
        # Only the last event may ask for more than it gets, so that `asked` of all adds up to the command's amount.
        _draw(draft, account, run, left if run is runs[-1] else 0, command.reference)
    facts = {
        "drawn": format_decimal(amount, account.currency),
        "available": format_decimal(held, account.currency),
    }
    return conclude(message, "recorded", "drawn", {**asked, **facts})


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
    """Record that credit was paid out: never more than is available, paid-for credit first."""
    account = AccountKey(message.tenant_id, *command.owner, command.currency)
    expire_overdue(draft, account)
    asked = _asked(account, command.amount, command.reference) | {"grant_id": command.grant_id}
    held = round_down(draft.account(account).available, account.currency)
    grants: Iterable[Grant] = _paid_for_first(draft, account)
    if command.grant_id is not None:
        grant = named_grant(draft, account, command.grant_id)
        if isinstance(grant, str):
            return refuse(draft, message, grant, {"grant_id": command.grant_id}, asked=asked, account=account)
        grants, held = [grant], whole(grant)
    parts: tuple[Part, ...] = ()
    left = command.amount - held
    if left <= 0:
        parts, left = allocate(command.amount, usable(grants, message.occurred_at, draft.moment.now))
    if left > 0:
        facts = {"available": format_decimal(command.amount - left, account.currency)}
        return refuse(draft, message, "insufficient_credit", facts, asked=asked, account=account)
    for run in in_runs(parts):
        draft.record(
            account,
            CreditRefunded(sum(part.amount for part in run), slices(run), command.reference),
            [Posting(part.grant.key.id, "available", "refunded", part.amount) for part in run],
            cause=draft.cause,
        )
    available = format_decimal(held, account.currency)
    return conclude(message, "recorded", "refunded", {**asked, "available": available})


def _paid_for_first(draft: Draft, account: AccountKey) -> Iterator[Grant]:
    """An account's grants in the order of refunds: what was paid for, then what was given, each in the order of use."""
    yield from (grant for grant in draft.grants_in_use(account) if grant.paid_for)
    yield from (grant for grant in draft.grants_in_use(account) if not grant.paid_for)


def named_grant(draft: Draft, account: AccountKey, grant_id: str) -> Grant | Refusal:
    """Grant that a command names, or the reason why it can't be used: another owner's, or expired."""
    key = GrantKey.parse(account.tenant_id, grant_id)
    grant = draft.state.grants.get(key) if key is not None else None
    if grant is None or grant.account.owner != account.owner:
        return "unknown_grant"
    if grant.account != account:
        return "currency_mismatch"
    if not is_unexpired(grant, draft.occurred_at, draft.moment.now):
        return "credit_expired"
    return grant


def _asked(account: AccountKey, amount: int, reference: str) -> dict[str, Any]:
    return {
        "currency": account.currency,
        "amount": format_decimal(amount, account.currency),
        "reference": reference,
    }


HANDLERS: Mapping[type, Handler] = {RefundCredit: refund, DrawCredit: draw}
