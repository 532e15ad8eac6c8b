"""What must hold of a world at rest: nothing left to do, nothing kept that should go, every reason a known one."""

from avoir.core.effects.allocation import usable, whole
from avoir.core.effects.due import worth
from avoir.core.model.events import CreditShortfall, CreditVoided
from avoir.core.model.rows import Entitlement
from avoir.core.state.draft import Draft, Moment
from avoir.core.state.state import Attempt
from tests.unit.core.naive_settling import of_account, settle_everything_once
from tests.unit.core.world import World, rows

TAKEN_FOR = {
    "invoice_voided",
    "payment_reversed",
    "changed",
    "payment_settled_invoice",
    "granted by mistake",
}
SHORT_FOR = {"invoice_voided", "payment_reversed", "changed", "credit_line"}


def assert_at_rest(world: World) -> None:
    """A second settle over all accounts changes nothing, and no rule of use or taking back is left unfinished."""
    draft = _draft(world)
    for account in rows(world.state.accounts):
        assert not settle_everything_once(draft, account.key), account.key
    assert draft.writes == 0 and not draft.events
    for each in rows(world.state.entitlements):
        _assert_given_is_worth(world, draft, each)
    _assert_credit_is_used(world)
    _assert_void_keeps_what_is_covered(world)
    for body in world.bodies():
        if isinstance(body, CreditVoided):
            assert body.reason in TAKEN_FOR
        if isinstance(body, CreditShortfall):
            assert body.reason in SHORT_FOR and body.outstanding >= 0


def _draft(world: World) -> Draft:
    return Draft(world.state.fork(), Attempt(), Moment(world.now, 1, world.policy), None, world.now)


def _assert_given_is_worth(world: World, draft: Draft, entitlement: Entitlement) -> None:
    is_worth = worth(draft, entitlement)
    if entitlement.key.kind == "credit_line":
        assert (entitlement.target, entitlement.given) == (0, entitlement.shortfall)
        return
    grants = draft.grants_for(entitlement.key)
    remaining = sum(grant.available + grant.reserved for grant in grants)
    lost = sum(grant.lost for grant in grants)
    above = entitlement.given - entitlement.covered - is_worth
    assert is_worth <= entitlement.given == sum(grant.amount - grant.taken for grant in grants)
    assert entitlement.shortfall == max(0, above - lost)
    if entitlement.shortfall:
        assert remaining == 0
    assert sum(grant.amount for grant in grants) - sum(grant.taken for grant in grants) <= entitlement.cost


def _assert_credit_is_used(world: World) -> None:
    for invoice in rows(world.state.invoices):
        if invoice.due and invoice.automatic and not invoice.barred:
            held = of_account(world.state.grants, invoice.account)
            left = sum(map(whole, usable(held, invoice.finalized_at, world.now)))
            assert left == 0, "no grant has a whole cent that is usable while something is due"


def _assert_void_keeps_what_is_covered(world: World) -> None:
    covered: dict[str, int] = {}
    for each in rows(world.state.entitlements):
        if each.covered:
            assert each.invoice is not None
            covered[each.invoice.invoice_id] = covered.get(each.invoice.invoice_id, 0) + each.covered
    for invoice in rows(world.state.invoices):
        kept = covered.get(invoice.key.invoice_id, 0)
        assert kept == (invoice.settled if invoice.voided else 0)
        if invoice.voided:
            assert invoice.applied == 0
