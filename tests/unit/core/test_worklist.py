"""The worklist of `settle` gives what the naive pass over everything gives, event by event."""

from datetime import timedelta
from unittest.mock import patch

from hypothesis import given, settings

from avoir.core.decide import decide
from avoir.core.effects import settle as settle_module
from avoir.core.effects.take_back import take_back
from avoir.core.model.message import Message
from avoir.core.state.draft import Moment
from tests.examples import examples
from tests.unit.core.histories import History, histories
from tests.unit.core.naive_settling import settle_everything_once
from tests.unit.core.world import World, at, cancelled, invoice, line, message, payment, rejected, rows


def assert_same_both_ways(world: World, message: Message) -> None:
    """Decide a message over the same state by the worklist and by the naive pass."""
    moment = Moment(world.now, 1, world.policy)
    by_list, by_pass = world.state.fork(), world.state.fork()
    listed = decide(by_list, message, moment)
    with patch.object(settle_module, "settle_once", settle_everything_once):
        naive = decide(by_pass, message, moment)
    assert listed.decision == naive.decision
    assert listed.events == naive.events
    assert listed.entries == naive.entries
    assert {each.key: each for each in by_list.changed("grants")} == {
        each.key: each for each in by_pass.changed("grants")
    }


@settings(max_examples=examples(150), deadline=None)
@given(histories())
def test_the_worklist_equals_the_naive_pass(history: History) -> None:
    world = World(policy=history.policy)
    for n, (day, each) in enumerate(history.steps):
        world.now = at("06-01") + timedelta(days=day)
        world.sweep()
        assert_same_both_ways(world, each)
        world.handle(each)
        standing = [each for each in rows(world.state.applications) if not each.reinstated]
        if n in history.rejects and standing:
            no = message(f"reject-{n}", "06-09", rejected(str(standing[-1].key.id)))
            assert_same_both_ways(world, no)
            world.handle(no)


def test_a_message_costs_what_it_touches_and_not_what_is_open() -> None:
    """Among 300 open invoices a payment that names one of them looks at that one alone."""
    world = World()
    for n in range(300):
        world.decide(f"f{n}", "06-01", invoice(f"i{n}", line("l1", "10", booking=f"b{n}")))
        world.decide(f"c{n}", "06-02", cancelled(f"b{n}"))
    with patch.object(settle_module, "take_back", wraps=take_back) as looked_at:
        world.decide("p", "06-03", payment("p", "10", "i7"))
    assert world.credited("i7") == 10
    assert looked_at.call_count <= 3
