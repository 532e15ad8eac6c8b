"""The order of a batch: by Kafka's timestamp over the heads of the partitions."""

from collections.abc import Sequence
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from avoir.kafka.merge import merged, oldest
from avoir.record import Record
from avoir.wire.topics import IN_ORDER, RANKS, SUBSCRIBED

TOPIC = "booking-cancelled"


def _partition(number: int, timestamps: Sequence[int]) -> list[Record]:
    return [Record(TOPIC, number, offset, time, None, b"") for offset, time in enumerate(timestamps)]


def _shown(*partitions: Sequence[int]) -> list[tuple[int, int]]:
    records = merged([_partition(number, times) for number, times in enumerate(partitions)])
    return [(record.partition, record.timestamp_ms) for record in records]


def test_the_earliest_head_comes_first() -> None:
    assert _shown([1, 4], [2, 3]) == [(0, 1), (1, 2), (1, 3), (0, 4)]


def test_a_late_timestamp_holds_back_its_own_partition_only() -> None:
    assert _shown([9, 1], [2, 3]) == [(1, 2), (1, 3), (0, 9), (0, 1)]


def test_equal_timestamps_go_by_partition() -> None:
    assert _shown([5, 5], [5]) == [(0, 5), (0, 5), (1, 5)]


def test_equal_timestamps_go_by_what_depends_on_what() -> None:
    records = [Record(topic, 0, 0, 5, None, b"") for topic in sorted(SUBSCRIBED)]
    topics = [record.topic for record in merged([record] for record in records)]
    assert topics[:3] == ["set-credit-policy", "invoice-finalized", "payment-recorded"]
    assert [RANKS[topic] for topic in topics] == sorted(RANKS.values())


def test_what_does_not_fit_is_the_last_of_the_same_time() -> None:
    held = {(topic, 0): [Held(5)] for topic in SUBSCRIBED}
    taken = oldest(held, (), 2, lambda _: 10, 1_000, {}, RANKS.__getitem__)
    assert taken == {("set-credit-policy", 0): 1, ("invoice-finalized", 0): 1}


def test_every_topic_that_is_read_has_one_place_in_the_order() -> None:
    assert sorted(topic for topics in IN_ORDER for topic in topics) == sorted(SUBSCRIBED)


def test_nothing_gives_nothing() -> None:
    assert _shown() == []
    assert _shown([], []) == []


@given(st.lists(st.lists(st.integers(0, 20), max_size=12), max_size=6))
def test_nothing_is_lost_each_partition_keeps_its_order_and_every_choice_is_the_earliest_head(
    times: list[list[int]],
) -> None:
    partitions = [_partition(number, stamps) for number, stamps in enumerate(times)]
    result = list(merged(partitions))
    for partition in partitions:
        assert [record for record in result if record in partition] == partition
    waiting = [list(partition) for partition in partitions]
    for record in result:
        assert record.timestamp_ms == min(queue[0].timestamp_ms for queue in waiting if queue)
        assert waiting[record.partition].pop(0) == record
    assert not any(waiting)


@given(st.lists(st.lists(st.integers(0, 5), max_size=6), max_size=4), st.randoms())
def test_the_order_does_not_depend_on_how_the_partitions_came(times: list[list[int]], random: object) -> None:
    partitions = [_partition(number, stamps) for number, stamps in enumerate(times)]
    shuffled = list(partitions)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert list(merged(partitions)) == list(merged(shuffled))


class Held(NamedTuple):
    timestamp: int


def _oldest(
    held: dict[str, list[int]],
    full: str,
    limit: int,
    limit_bytes: int = 1_000,
    turns: dict[str, int] | None = None,
) -> dict[str, int]:
    records = {(name, 0): [Held(time) for time in times] for name, times in held.items()}
    first = {(name, 0): count for name, count in (turns or {}).items()}
    taken = oldest(
        records, {(name, 0) for name in full}, limit, lambda _: 10, limit_bytes, first, lambda _: 0
    )
    return {name: count for (name, _), count in taken.items()}


def test_the_oldest_of_all_partitions_are_next() -> None:
    assert _oldest({"a": [1, 2, 9], "b": [3, 4, 5]}, "", 4) == {"a": 2, "b": 2}


def test_what_comes_after_a_full_partition_waits_for_more_of_it() -> None:
    assert _oldest({"a": [1, 2], "b": [3, 4, 5]}, "a", 10) == {"a": 2}
    assert _oldest({"a": [1, 2], "b": [3, 4, 5]}, "b", 10) == {"a": 2, "b": 3}


def test_a_batch_ends_when_it_has_its_bytes_with_the_record_that_goes_beyond() -> None:
    assert _oldest({"a": [1, 2, 9], "b": [3, 4, 5]}, "", 10, limit_bytes=21) == {"a": 2, "b": 1}


def test_what_has_its_turn_is_next_whatever_its_time() -> None:
    held = {"a": [1, 2, 3, 4], "b": [7, 8, 9]}
    assert _oldest(held, "", 4) == {"a": 4}
    assert _oldest(held, "", 4, turns={"b": 1, "a": 1}) == {"a": 3, "b": 1}
    assert _oldest(held, "", 4, limit_bytes=30, turns={"b": 2}) == {"a": 1, "b": 2}
    assert _oldest(held, "b", 9, turns={"b": 3}) == {"b": 3}


def test_something_is_next_wherever_something_is_held() -> None:
    assert _oldest({"a": [7]}, "a", 10) == {"a": 1}
    assert _oldest({"a": []}, "a", 10) == {}


@given(st.dictionaries(st.sampled_from("abcd"), st.lists(st.integers(0, 9), max_size=8)), st.integers(1, 12))
def test_of_partitions_without_more_all_is_taken_up_to_the_limit(
    held: dict[str, list[int]], limit: int
) -> None:
    assert sum(_oldest(held, "", limit).values()) == min(limit, sum(map(len, held.values())))
