"""What holds of every history, whatever happens in it: properties that random search tries to break."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from avoir.core.decide import decide
from avoir.core.effects import settle as settle_module
from avoir.core.model.decision import Decision
from avoir.core.model.events import AccountKey, CreditIssued
from avoir.core.model.message import Message
from avoir.core.model.reasons import Lowered
from avoir.core.state.draft import Draft, Moment
from tests.examples import examples
from tests.unit.core.at_rest import assert_at_rest
from tests.unit.core.histories import History, histories, play
from tests.unit.core.open_rows import open_rows
from tests.unit.core.reference_targets import targets
from tests.unit.core.world import World, cancelled, invoice, line, message, payment, rows, shortened
from tests.unit.core.world import given as world_of

TABLES = (
    "accounts",
    "invoices",
    "lines",
    "payments",
    "reversals",
    "voids",
    "settlements",
    "entitlements",
    "grants",
    "applications",
    "changes",
)


@settings(max_examples=examples(120), deadline=None)
@given(histories())
def test_every_message_leaves_the_accounts_at_rest_and_targets_as_the_facts_alone_say(
    history: History,
) -> None:
    world = World(policy=history.policy)
    for _ in play(world, history):
        assert_at_rest(world)
    world.check_ledger()
    found = {
        (each.key.id, each.key.line_id): each.target
        for each in rows(world.state.entitlements)
        if each.key.kind == "line" and each.source != "prepaid" and each.target
    }
    assert found == targets([each for _, each in history.steps], history.policy)
    assert_credits_within_what_was_charged(world)


def assert_credits_within_what_was_charged(world: World) -> None:
    """The credits of an invoice's lines never add up to more than its positive lines less its discounts."""
    given_on: dict[str, int] = {}
    for each in rows(world.state.entitlements):
        if each.key.kind == "line":
            assert each.given <= each.cost
            given_on[each.key.id] = given_on.get(each.key.id, 0) + each.given
    for bill in rows(world.state.invoices):
        lines = world.state.lines_of_invoice.get(bill.key) or ()
        charged = sum(each.amount + each.tax for each in lines if each.kind != "credit")
        assert given_on.get(bill.key.invoice_id, 0) <= max(charged, 0)


class BothWays(World):
    """Decides every message twice: over all rows, and over the open ones alone, loaded in the opposite order."""

    def handle(self, world_of: Message) -> Decision:
        moment = Moment(self.now, 1, self.policy)
        all_rows, some_rows = self.state.fork(), open_rows(self.state, world_of).fork()
        whole, part = (decide(all_rows, world_of, moment), decide(some_rows, world_of, moment))
        assert whole.decision == part.decision
        assert whole.events == part.events and whole.entries == part.entries
        for name in TABLES:
            assert changed(all_rows, name) == changed(some_rows, name), name
        return super().handle(world_of)


def changed(state: Any, name: str) -> dict[Any, Any]:
    """The rows of a table that a fork changed, by key."""
    return dict(state._own[name].rows) if name in state._own else {}


@settings(max_examples=examples(100), deadline=None)
@given(histories())
def test_the_open_rows_alone_in_any_order_give_the_same_as_all_rows(history: History) -> None:
    world = BothWays(policy=history.policy)
    for _ in play(world, history):
        pass


class Unswept(World):
    """A world in which expiry is never swept between messages."""

    def sweep(self) -> None:
        pass


@settings(max_examples=examples(80), deadline=None)
@given(histories())
def test_it_makes_no_difference_whether_expired_credit_was_swept(history: History) -> None:
    swept, unswept = World(policy=history.policy), Unswept(policy=history.policy)
    for world in (swept, unswept):
        for _ in play(world, history):
            pass
        World.sweep(world)
    assert standing(swept) == standing(unswept)


def standing(world: World) -> tuple[Any, ...]:
    """What every account has, what every invoice has due, and what is short."""
    return (
        {each.key: (each.available, each.reserved) for each in rows(world.state.accounts)},
        {each.key: each.due for each in rows(world.state.invoices)},
        {each.key: (each.covered, each.shortfall) for each in rows(world.state.entitlements)},
    )


@settings(max_examples=examples(60), deadline=None)
@given(
    st.integers(1, 99_999),
    st.integers(1, 99_999),
    st.lists(st.integers(0, 120_000), min_size=1, max_size=30),
    st.randoms(use_true_random=False),
)
def test_any_path_of_revisions_gives_the_cents_of_the_last_one(
    price: int, billed: int, path: list[int], shuffler: Any
) -> None:
    bill = message("f", "06-01", invoice("i1", line("l1", cents(price), booking="b1"), paid=cents(price)))
    steps = [
        message(f"s{n}", "06-02", shortened("b1", prices=(cents(billed), cents(left)), revision=n))
        for n, left in enumerate(path)
    ]
    alone = world_of(bill, steps[-1]).available()
    assert world_of(bill, *steps).available() == alone
    shuffler.shuffle(steps)
    assert world_of(*steps, bill).available() == alone
    cancelled_last = message("c", "06-03", cancelled("b1", revision=99))
    assert world_of(bill, *steps, cancelled_last).available() == price / 100


def cents(amount: int) -> str:
    return f"{amount // 100}.{amount % 100:02d}"


def test_a_chain_in_which_each_credit_settles_the_next_invoice_ends_within_its_bound(
    monkeypatch: Any,
) -> None:
    """The last message settles the first of 60 invoices; the credit of each settles the one after it."""
    count, passes, steps = 60, 0, []
    for n in range(count):
        when, bill = f"06-02T00:{n:02d}", invoice(f"i{n:02d}", line("l1", "10.00", booking=f"b{n:02d}"))
        steps += [message(f"f{n}", when, bill), message(f"c{n}", when, cancelled(f"b{n:02d}"))]
    world = world_of(*steps)
    assert world.available() == 0 and not world.bodies(CreditIssued)
    once = settle_module.settle_once

    def counted(draft: Draft, account: AccountKey, reason: Lowered) -> bool:
        nonlocal passes
        passes += 1
        return once(draft, account, reason)

    monkeypatch.setattr(settle_module, "settle_once", counted)
    world.decide("p", "06-01", payment("p1", "10.00", "i00"))
    assert [each.due for each in rows(world.state.invoices)] == [0] * count
    assert world.available() == 10
    assert count <= passes <= count + 3
    assert_at_rest(world)
