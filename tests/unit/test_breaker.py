"""The breaker opens when more than 10 of the last 100 messages were parked."""

import pytest

from avoir.kafka.breaker import Breaker
from avoir.record import BatchReport


def _report(messages: int, parked: int) -> BatchReport:
    return BatchReport(messages, {("t", "issued"): messages - parked, ("t", "parked"): parked})


@pytest.mark.parametrize(
    ("batches", "opens"),
    [
        ([(1, 1)] * 10, False),
        ([(1, 1)] * 11, True),
        ([(11, 11)], True),
        ([(100, 10)], False),
        ([(100, 11)], True),
        ([(2000, 200)], False),
        ([(2000, 201)], True),
        ([(20, 10), (100, 0), (20, 10)], False),
        ([(10, 6), (50, 0), (10, 6)], True),
        ([(1, 1)] * 10 + [(1, 0)] * 90 + [(1, 1)] * 10, False),
    ],
)
def test_it_looks_at_the_last_100_messages(batches: list[tuple[int, int]], opens: bool) -> None:
    breaker = Breaker()
    for messages, parked in batches:
        breaker.count(_report(messages, parked))
    assert breaker.open is opens


def test_it_stays_open() -> None:
    breaker = Breaker()
    breaker.count(_report(50, 50))
    breaker.count(_report(2000, 0))
    assert breaker.open
