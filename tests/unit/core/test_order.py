"""The order of delivery does not matter: properties over random timelines."""

import random
from collections.abc import Sequence

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from avoir.core.model.commands import GrantCredit
from avoir.core.model.events import AccountKey, CreditShortfall
from avoir.core.model.facts import InvoiceFinalized, InvoiceVoided, PaymentRecorded, PaymentReversed
from avoir.core.model.message import Message
from avoir.core.model.rows import EntitlementKey
from tests.examples import examples
from tests.unit.core.commands import granted
from tests.unit.core.timeline_strategies import cents, days, owners, timelines
from tests.unit.core.world import World, cancelled, invoice, line, message, rows, voided
from tests.unit.core.world import given as world_of

priorities = st.sampled_from([0, 50, 90])


@st.composite
def deliveries(draw: st.DrawFn) -> tuple[Sequence[Message], Sequence[Message]]:
    """A timeline with grants by hand, and the same messages in another order with repetitions."""
    grants = [
        message(f"g{n}", draw(days), granted(draw(cents), owner=draw(owners), priority=draw(priorities)))
        for n in range(draw(st.integers(0, 2)))
    ]
    timeline = [*draw(timelines()), *grants]
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
    """The net positions from the messages alone: payments, grants and targets less what invoices charge."""
    void = {each.body.invoice_id for each in timeline if isinstance(each.body, InvoiceVoided)}
    net: dict[AccountKey, int] = {}

    def count(owner: tuple[str, str], currency: str, amount: int) -> None:
        key = AccountKey("t1", *owner, currency)
        net[key] = net.get(key, 0) + amount

    for each in timeline:
        if isinstance(each.body, InvoiceFinalized):
            count(each.body.owner, each.body.currency, each.body.amount_paid)
            if each.body.invoice_id not in void:
                count(each.body.owner, each.body.currency, -each.body.total)
        if isinstance(each.body, GrantCredit):
            count(each.body.owner, each.body.currency, each.body.amount)
        if isinstance(each.body, PaymentRecorded):
            back = sum(
                other.body.amount
                for other in timeline
                if isinstance(other.body, PaymentReversed)
                and other.body.payment_id == each.body.payment_id
                and other.body.currency == each.body.currency
            )
            count(each.body.owner, each.body.currency, each.body.amount - min(back, each.body.amount))
    for key, target in targets(world).items():
        account = world.state.entitlements[key].account
        net[account] = net.get(account, 0) + target
    return {key: amount for key, amount in net.items() if amount}


@settings(max_examples=examples(250), deadline=None)
@given(deliveries())
def test_any_order_and_repetition_gives_the_same_targets_and_net_positions(
    delivery: tuple[Sequence[Message], Sequence[Message]],
) -> None:
    timeline, again = delivery
    one, other = world_of(*timeline), world_of(*again)
    one.check_ledger()
    other.check_ledger()
    assert targets(one) == targets(other)
    assert one.net() == other.net() == net_from_facts(one, timeline)


@st.composite
def plain_deliveries(draw: st.DrawFn) -> tuple[list[Message], list[Message]]:
    """Invoices in the order of their finalization, one change a booking and voids in between, delivered twice."""
    ids = [f"i{n}" for n in range(draw(st.integers(2, 4)))]
    bills = [message(f"f-{each}", draw(days), draw(plain_invoices(each))) for each in ids]
    bills.sort(key=lambda world_of: (world_of.occurred_at, world_of.event_id))
    fees = st.sampled_from(["0", "5.00"])
    changed = draw(st.lists(st.sampled_from(PLAIN_BOOKINGS), unique=True))
    others = [message(f"c-{each}", draw(days), cancelled(each, fee=draw(fees))) for each in changed]
    others += [
        message(f"v-{each}", draw(days), voided(each))
        for each in draw(st.lists(st.sampled_from(ids), unique=True, max_size=1))
    ]

    def delivered() -> list[Message]:
        found = list(bills)
        for each in draw(st.permutations(others)):
            found.insert(draw(st.integers(0, len(found))), each)
        return found

    return delivered(), delivered()


PLAIN_BOOKINGS = ["b1", "b2", "b3", "b4"]


@st.composite
def plain_invoices(draw: st.DrawFn, invoice_id: str) -> InvoiceFinalized:
    euros = st.integers(1, 9).map(lambda amount: f"{amount}0.00")
    lines = [line(f"l{n}", draw(euros), booking=draw(st.sampled_from(PLAIN_BOOKINGS))) for n in range(2)]
    if draw(st.booleans()):
        lines.append(line("p", draw(euros), kind="prepaid"))
    if draw(st.booleans()):
        lines.append(line("d", f"-{draw(euros)}", kind="other"))
    total = max(0, sum(each.amount for each in lines)) // 1_000_000
    paid = draw(st.sampled_from([0, total // 2, total]))
    return invoice(
        invoice_id, *lines, paid=f"{paid}.00", automatic=draw(st.sampled_from([True, True, False]))
    )


@settings(max_examples=examples(200), deadline=None)
@given(plain_deliveries())
def test_without_payments_and_shortfalls_any_order_gives_the_same_credit_and_dues(
    delivery: tuple[list[Message], list[Message]],
) -> None:
    one, other = world_of(*delivery[0]), world_of(*delivery[1])
    for world in (one, other):
        short = [each for each in rows(world.state.entitlements) if each.covered]
        assume(not short and not world.bodies(CreditShortfall))
    assert balances(one) == balances(other)


def balances(world: World) -> tuple[dict[AccountKey, int], dict[str, int]]:
    """What every account has available, and what every invoice has due."""
    available = {each.key: each.available for each in rows(world.state.accounts) if each.available}
    return available, {each.key.invoice_id: each.due for each in rows(world.state.invoices)}


def test_credit_kept_from_the_payments_of_a_void_counts_as_fallen_short() -> None:
    """The same facts leave the same net position, but another invoice unpaid: i2 or i3."""
    paid = message("1", "06-01", invoice("i1", line("l1", "100.00", booking="b1"), paid="100.00"))
    early = message("2", "06-02", invoice("i2", line("l1", "100.00", booking="b2")))
    late = message("3", "06-04", invoice("i3", line("l1", "60.00", booking="b3")))
    change, void = message("c", "06-03", cancelled("b1")), message("v", "06-05", voided("i1"))
    spent, unspent = world_of(paid, change, early, late, void), world_of(void, paid, change, early, late)
    assert [spent.due(each) for each in ("i2", "i3")] == [60, 0]
    assert [unspent.due(each) for each in ("i2", "i3")] == [0, 60]
    assert spent.net() == unspent.net()
