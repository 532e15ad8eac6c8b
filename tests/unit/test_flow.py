"""What is said of what waits, check by check and in one sentence."""

from dataclasses import replace
from typing import Any

import pytest

from avoir.process.flow import Flow, Limits, faults, held_for_long, sentence
from avoir.record import TopicPartition

LIMITS = Limits(unready_s=30, held_s=60)
PLACES = [TopicPartition("booking-cancelled", n) for n in range(5)]


@pytest.mark.parametrize(
    ("flow", "says"),
    [
        (Flow(), "Keeps up: nothing waits."),
        (Flow(messages=1, events=2_000), "Keeps up: 1 message and 2,000 events are in progress."),
        (
            Flow(
                messages=9,
                stalled={PLACES[0]: 29},
                held={PLACES[1]: 59},
                events=1,
                oldest_event_s=29,
                failing=(9, "x"),
                deferred=1,
                oldest_deferred_s=29,
            ),
            "Keeps up: 9 messages and 1 event are in progress.",
        ),
    ],
)
def test_what_waits_for_a_moment_is_under_way(flow: Flow, says: str) -> None:
    assert sentence(flow, LIMITS) == says
    assert faults(flow, LIMITS) == {}


WAITING = Flow(messages=120, stalled={PLACES[0]: 93.2}, events=4_874, oldest_event_s=93.4, publisher="p1")


@pytest.mark.parametrize(
    ("change", "check", "says"),
    [
        ({}, "loop", "120 messages wait, and booking-cancelled/0 has not moved for 93 s or more"),
        (
            {"messages": 1, "stalled": dict.fromkeys(PLACES, 31.0)},
            "loop",
            "1 message waits, and booking-cancelled/0, booking-cancelled/1, booking-cancelled/2 and 2 more have not "
            "moved for 31 s or more",
        ),
        (
            {"failing": (40.0, "KeyError: 'x'")},
            "loop",
            "120 messages wait, and booking-cancelled/0 has not moved for 93 s or more; "
            "the loop has met only errors for 40 s, the last: KeyError: 'x'",
        ),
        (
            {"stalled": {}, "unknown": "no answer"},
            "loop",
            "the backlog of the input topics is not known: no answer",
        ),
        ({"stalled": {}, "missing_in": ["a"]}, "loop", "topic a is missing"),
        ({"stopped": {PLACES[0]: "stands at 9", PLACES[1]: "no"}}, "offsets", "stands at 9; no"),
        (
            {"held": {PLACES[0]: 60.0, PLACES[1]: 75.0}},
            "transactions",
            "booking-cancelled/0, booking-cancelled/1 are held by a transaction that has been open for 75 s or more",
        ),
        ({}, "outbox", "4,874 events wait, the oldest for 93 s: p1 holds the lease"),
        ({"publisher": None}, "outbox", "4,874 events wait, the oldest for 93 s: nobody publishes"),
        (
            {"missing_out": ["a", "b"]},
            "outbox",
            "4,874 events wait, the oldest for 93 s: topics a, b are missing",
        ),
        ({"missing_out": ["a"], "events": 0}, "outbox", "topic a is missing"),
        (
            {
                "stalled": {},
                "deferred": 2,
                "oldest_deferred_s": 31.0,
                "waits_for": ["account/t1/user/u1/EUR"],
            },
            "loop",
            "2 messages are deferred, the oldest for 31 s: another session keeps account/t1/user/u1/EUR locked",
        ),
        (
            {"events": 0, "refused": 2},
            "outbox",
            "the broker refused 2 events: `avoir outbox list` shows them",
        ),
    ],
)
def test_what_keeps_it_from_keeping_up(change: dict[str, Any], check: str, says: str) -> None:
    flow = replace(WAITING, **change)
    assert faults(flow, LIMITS)[check] == says
    assert sentence(flow, LIMITS) == f"Does not keep up: {'; '.join(faults(flow, LIMITS).values())}."


def test_what_else_a_process_knows_comes_first() -> None:
    assert sentence(Flow(), LIMITS, ["group: not joined"]) == "Does not keep up: group: not joined."


def test_partitions_held_for_long_are_named() -> None:
    assert held_for_long(Flow(held={PLACES[1]: 60, PLACES[0]: 59.9}), LIMITS) == [PLACES[1]]
