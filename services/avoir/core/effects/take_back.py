"""Takes back what was given above the worth, and reports what could not be taken back."""

from msgspec.structs import replace

from avoir.core.effects.due import credit_for, worth
from avoir.core.effects.reservations import lower_grant
from avoir.core.model.events import CreditShortfall, CreditVoided
from avoir.core.model.ledger import BUCKETS, Posting
from avoir.core.model.reasons import Lowered, ShortfallReason, TakenBack
from avoir.core.model.rows import Entitlement
from avoir.core.state.draft import Draft


def take_back(draft: Draft, entitlement: Entitlement, reason: Lowered) -> None:
    """Take back what was given above the worth, as far as it remains, and report the rest as a shortfall."""
    above = excess(draft, entitlement)
    if above <= 0 and entitlement.shortfall == 0:
        return
    if above > 0:
        take_from_grants(draft, entitlement, above, reason)
    report_shortfall(draft, draft.state.entitlements[entitlement.key], reason)


def excess(draft: Draft, entitlement: Entitlement) -> int:
    """Amount given above the worth; what a voided invoice's payments covered is not taken twice."""
    above = entitlement.given - entitlement.covered - worth(draft, entitlement)
    return above - lost_of(draft, entitlement) if entitlement.covered else above


def lost_of(draft: Draft, entitlement: Entitlement) -> int:
    """Part of an entitlement's credit that expired or was voided."""
    return sum(grant.lost for grant in draft.grants_for(entitlement.key))


def take_from_grants(draft: Draft, entitlement: Entitlement, amount: int, reason: TakenBack) -> int:
    """Take up to an amount back from an entitlement's grants, last issued first, available before reserved."""
    taken = 0
    for bucket in BUCKETS:
        for grant in reversed(draft.grants_for(entitlement.key)):
            part = min(amount - taken, getattr(grant, bucket))
            if part > 0:
                if bucket == "reserved":
                    lower_grant(draft, grant.key, part)
                draft.record(
                    entitlement.account,
                    CreditVoided(grant.key.id, part, reason, grant.source, grant.document),
                    [Posting(grant.key.id, bucket, "taken_back", part)],
                    cause=draft.cause,
                )
                taken += part
    if taken:
        draft.put(replace(entitlement, given=entitlement.given - taken))
    return taken


def unreturned(draft: Draft, entitlement: Entitlement) -> int:
    """Amount given above the worth and spent; expired or voided credit is no shortfall."""
    above = entitlement.given - entitlement.covered - worth(draft, entitlement)
    return max(0, above - lost_of(draft, entitlement))


def report_shortfall(draft: Draft, entitlement: Entitlement, reason: Lowered) -> None:
    """Record a change of an entitlement's shortfall; a smaller one keeps its reason."""
    outstanding = unreturned(draft, entitlement)
    change = outstanding - entitlement.shortfall
    if change == 0:
        return
    why: ShortfallReason = (
        shortfall_reason(entitlement, reason)
        if change > 0 or not entitlement.shortfall_reason
        else entitlement.shortfall_reason
    )
    draft.put(replace(entitlement, shortfall=outstanding, shortfall_reason=why))
    body = CreditShortfall(change, outstanding, why, credit_for(draft, entitlement))
    draft.record(entitlement.account, body, cause=draft.cause)


def shortfall_reason(entitlement: Entitlement, reason: Lowered) -> ShortfallReason:
    """Reason of a shortfall: a credit line that used too much, or the reason that credit was taken back for."""
    return "credit_line" if entitlement.key.kind == "credit_line" else reason
