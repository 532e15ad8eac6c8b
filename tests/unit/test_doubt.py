"""Ever smaller parts of what failed are tried, until one message is alone, wherever batches begin and end."""

import random

import pytest

from avoir.batch.doubt import MAX_TRIES_ALONE, Doubt
from avoir.record import Record, TopicPartition, next_offsets


def records(*counts: int) -> list[Record]:
    """So many records of each of some partitions, in turns."""
    found = [Record("t", p, n, n, None, None) for p, count in enumerate(counts) for n in range(count)]
    return sorted(found, key=lambda record: (record.offset, record.partition))


@pytest.mark.parametrize("bad", [0, 1, 2_500, 4_998, 4_999])
def test_the_message_that_fails_is_found_after_few_failures(bad: int) -> None:
    left, doubt, failures, parts = records(2_000, 3_000), Doubt(), 0, 0
    culprit, parked = left[bad], []
    stands: dict[TopicPartition, int] = {}
    while left:
        # What is read anew may end elsewhere.
        batch = left[: random.Random(failures).randint(1, len(left))]
        part = batch[: doubt.size(batch)]
        if doubt.is_settled_on(part):
            parked += part
        elif culprit in part:
            doubt.failed(part, "an error")
            failures += 1
            continue
        stands |= next_offsets(part)
        doubt.handled(stands)
        left, parts = left[len(part) :], parts + 1
    assert parked == [culprit]
    assert not doubt
    assert failures <= 6 + MAX_TRIES_ALONE and parts < 100


def test_one_message_that_holds_in_the_end_is_not_parked() -> None:
    doubt, part = Doubt(), records(1)
    for _ in range(MAX_TRIES_ALONE - 1):
        doubt.failed(part, "an error")
        assert not doubt.is_settled_on(part)
    doubt.handled({TopicPartition("t", 0): 1})
    assert not doubt
    doubt.failed(part, "an error")
    assert not doubt.is_settled_on(part)


def test_another_message_is_not_taken_for_the_one_that_failed() -> None:
    doubt, part = Doubt(), records(1)
    for _ in range(MAX_TRIES_ALONE):
        doubt.failed(part, "an error")
    assert doubt.is_settled_on(part)
    assert not doubt.is_settled_on([Record("t", 1, 0, 0, None, None)])


def test_what_is_doubtful_about_a_partition_goes_with_it() -> None:
    doubt = Doubt()
    doubt.failed(records(5, 5), "an error")
    doubt.keep({TopicPartition("t", 1): 0})
    assert doubt.size(records(5)) == 5
    assert doubt.size(records(0, 8)) < 8
    doubt.keep({})
    assert not doubt
