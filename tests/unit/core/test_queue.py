"""Queues: in order whatever was added when, walked from any place, and with stretches that are not loaded."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from avoir.core.model.rows import GrantKey
from avoir.core.state.queue import BEGINNING, GapError, NotLoadedError, Queue
from avoir.core.state.state import State
from tests.unit.core.test_use import grant

numbers = st.lists(st.integers(0, 500), max_size=300)


def queue_of(added: list[int]) -> Queue:
    queue = Queue()
    for number in added:
        queue = queue.add((number,))
    return queue


@given(numbers, st.integers(0, 500))
def test_it_gives_each_place_once_in_order_from_any_place_on(added: list[int], since: int) -> None:
    assert list(queue_of(added).since(BEGINNING)) == [(each,) for each in sorted(set(added))]
    assert list(queue_of(added).since((since,))) == [(each,) for each in sorted(set(added)) if each >= since]


@given(numbers, st.integers(0, 500), st.integers(1, 50))
def test_loading_on_at_each_gap_gives_what_was_there_all_along(
    stored: list[int], since: int, size: int
) -> None:
    """A queue of which nothing is loaded, and a store of all: whoever walks asks for the next stretch."""
    everything = sorted({(each,) for each in stored})
    queue, found, asked = Queue(gaps=((BEGINNING, None),)), [], 0
    while True:
        try:
            found = list(queue.since((since,)))
            break
        except GapError as gap:
            page = [place for place in everything if place > gap.after][:size]
            for place in page:
                queue = queue.add(place)
            queue = queue.loaded(gap.after, page[-1] if len(page) == size else None)
            asked += 1
            assert asked <= len(everything) // size + 2
    # What is at the place itself comes just after a shorter one, as in the service; here it is left out.
    assert found == [place for place in everything if place > (since,)]


def test_what_is_loaded_in_between_leaves_a_gap_on_either_side() -> None:
    queue = Queue(gaps=((BEGINNING, None),)).add((5,)).add((6,)).loaded((4,), (6,))
    assert queue.gaps == ((BEGINNING, (4,)), ((6,), None))
    walked = queue.since((4, 1))
    assert [next(walked), next(walked)] == [(5,), (6,)]
    with pytest.raises(GapError):
        next(walked)
    assert queue.loaded(BEGINNING, (9,)).gaps == (((9,), None),)
    assert queue.loaded((6,), None).gaps == ((BEGINNING, (4,)),)


def test_a_row_that_comes_beyond_a_gap_is_not_reached_before_the_gap_is_loaded() -> None:
    state = State.empty()
    first, last = grant(1), grant(3)
    state.add([first, last])
    state.put(
        "grants_in_use",
        first.account,
        replace(state.grants_in_use[first.account], gaps=((first.sort_key, None),)),
    )
    walked = state.walk("grants_in_use", first.account)
    assert next(walked) == first
    with pytest.raises(NotLoadedError) as missing:
        next(walked)
    assert (missing.value.queue, missing.value.account, missing.value.after) == (
        "grants_in_use",
        first.account,
        first.sort_key,
    )


def test_a_row_that_is_missing_is_not_taken_for_one_that_is_not_loaded() -> None:
    state = State.empty()
    there, missing = grant(1), grant(2)
    state.add([there])
    state.enqueue("grants_in_use", there.account, missing.sort_key)
    walked = state.walk("grants_in_use", there.account)
    assert next(walked) == there
    with pytest.raises(KeyError) as error:
        next(walked)
    assert error.value.args == (missing.key,)


def test_rows_that_have_left_are_passed_by_once_and_come_again_when_they_are_back() -> None:
    state = State.empty()
    grants = [grant(n) for n in range(1, 201)]
    state.add(grants)
    account = grants[0].account
    fork = state.fork()
    for each in grants[:150]:
        fork.add([replace(each, available=0, spent=each.amount)])
    assert [each.key.id.int for each in fork.walk("grants_in_use", account)] == list(range(151, 201))
    assert fork.grants_in_use[account].start > 0 and state.grants_in_use[account].start == 0
    fork.add([grants[7]])
    assert [each.key.id.int for each in fork.walk("grants_in_use", account)] == [8, *range(151, 201)]
    state.merge(fork)
    assert next(state.walk("grants_in_use", account)).key == GrantKey("t1", grants[7].key.id)


def test_a_walk_sees_rows_as_they_are_when_it_comes_to_them() -> None:
    state = State.empty()
    grants = [grant(n) for n in range(1, 4)]
    state.add(grants)
    fork = state.fork()
    walked = fork.walk("grants_in_use", grants[0].account)
    assert next(walked) == grants[0]
    fork.add([replace(grants[1], available=0, spent=grants[1].amount)])
    assert [each.key for each in walked] == [grants[2].key]
