"""Random histories: facts with time passing between them, policies, and rejections of what was applied."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import NamedTuple

from hypothesis import strategies as st

from avoir.core.model.message import Message
from avoir.core.model.policy import Policy
from tests.unit.core.timeline_strategies import timelines
from tests.unit.core.world import World, at, message, rejected, rows


class History(NamedTuple):
    """Messages as delivered, each with the day of June on which it is handled; `rejects` come after some of them."""

    policy: Policy
    steps: Sequence[tuple[int, Message]]
    rejects: frozenset[int]


policies = st.builds(
    Policy,
    auto_apply=st.just(True),
    unpaid_change=st.sampled_from(["wait", "wait", "never"]),
    expires_after_days=st.sampled_from([None, None, 8, 12, 20]),
    proration=st.sampled_from(["time", "days"]),
    time_zone=st.sampled_from(["UTC", "America/New_York"]),
)


@st.composite
def histories(draw: st.DrawFn) -> History:
    delivered = draw(st.permutations(draw(timelines())))
    delays = draw(st.lists(st.integers(0, 4), min_size=len(delivered), max_size=len(delivered)))
    day, steps = 9, []
    for delay, each in zip(delays, delivered, strict=True):
        day += delay
        steps.append((day, each))
    rejects = draw(st.frozensets(st.integers(0, max(0, len(delivered) - 1)), max_size=2))
    return History(draw(policies), steps, rejects)


def play(world: World, history: History) -> Iterator[Message]:
    """Handle a history step by step; after the steps in `rejects` the newest application that stands is rejected."""
    for n, (day, each) in enumerate(history.steps):
        world.now = at("06-01") + timedelta(days=day)
        world.handle(each)
        world.sweep()
        yield each
        standing = [each for each in rows(world.state.applications) if not each.reinstated]
        if n in history.rejects and standing:
            rejection = message(f"reject-{n}", "06-09", rejected(str(standing[-1].key.id)))
            world.handle(rejection)
            yield rejection
