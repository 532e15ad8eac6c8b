"""The order of delivery does not matter: properties over random timelines."""

import random
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from avoir.core.events import AccountKey
from avoir.core.facts import InvoiceFinalized, InvoiceVoided, Message, PaymentRecorded, PaymentReversed
from avoir.core.state import EntitlementKey
from tests.unit.core.timelines import timelines
from tests.unit.core.world import World, rows
from tests.unit.core.world import given as told


@st.composite
def deliveries(draw: st.DrawFn) -> tuple[Sequence[Message], Sequence[Message]]:
    """A timeline, and the same messages in another order with repetitions."""
    timeline = draw(timelines())
    seed = draw(st.integers(0, 2**32))
    shuffler = random.Random(seed)
    again = [*timeline, *(each for each in timeline if shuffler.random() < 0.3)]
    shuffler.shuffle(again)
    return timeline, again


def targets(world: World) -> dict[EntitlementKey, int]:
    """The target of every invoice line that has one."""
    return {
        each.key: each.target
        for each in rows(world.state.entitlements)
        if each.key.kind == "line" and each.target
    }


def net_from_facts(world: World, timeline: Sequence[Message]) -> dict[AccountKey, int]:
    """The net positions from the facts alone: payments and targets less what invoices charge."""
    void = {each.fact.invoice_id for each in timeline if isinstance(each.fact, InvoiceVoided)}
    net: dict[AccountKey, int] = {}

    def count(owner: tuple[str, str], currency: str, amount: int) -> None:
        key = AccountKey("t1", *owner, currency)
        net[key] = net.get(key, 0) + amount

    for each in timeline:
        if isinstance(each.fact, InvoiceFinalized):
            count(each.fact.owner, each.fact.currency, each.fact.amount_paid)
            if each.fact.invoice_id not in void:
                count(each.fact.owner, each.fact.currency, -each.fact.total)
        if isinstance(each.fact, PaymentRecorded):
            back = sum(
                other.fact.amount
                for other in timeline
                if isinstance(other.fact, PaymentReversed)
                and other.fact.payment_id == each.fact.payment_id
                and other.fact.currency == each.fact.currency
            )
            count(each.fact.owner, each.fact.currency, each.fact.amount - min(back, each.fact.amount))
    for key, target in targets(world).items():
        account = world.state.entitlements[key].account
        net[account] = net.get(account, 0) + target
    return {key: amount for key, amount in net.items() if amount}


@settings(max_examples=400, deadline=None)
@given(deliveries())
def test_any_order_and_repetition_gives_the_same_targets_and_net_positions(
    delivery: tuple[Sequence[Message], Sequence[Message]],
) -> None:
    timeline, again = delivery
    one, other = told(*timeline), told(*again)
    one.check_ledger()
    other.check_ledger()
    assert targets(one) == targets(other)
    assert one.net() == other.net() == net_from_facts(one, timeline)
