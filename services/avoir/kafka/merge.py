"""Puts partitions into one order: by Kafka's timestamp, each partition's own order kept."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from heapq import heapify, heappop, heapreplace
from itertools import islice
from typing import Protocol, TypeVar

from avoir.record import Record
from avoir.wire.topics import RANKS

Place = TypeVar("Place", bound=tuple[str, int])
Held = TypeVar("Held", bound="Timed")


def merged(partitions: Iterable[Sequence[Record]]) -> Iterator[Record]:
    """Take, again and again, the earliest of the heads of the partitions.

    Equal timestamps go by the rank of the topic, then by topic and partition: the same batch always has the same order.
    A late timestamp holds back only its own partition: producers set it, so it promises nothing.
    """
    sequences = [sequence for sequence in partitions if sequence]
    heads = [
        (seq[0].timestamp_ms, RANKS[seq[0].topic], seq[0].topic, seq[0].partition, n, 0)
        for n, seq in enumerate(sequences)
    ]
    heapify(heads)
    while heads:
        _, rank, topic, partition, n, place = heads[0]
        yield sequences[n][place]
        if place + 1 < len(sequences[n]):
            following = sequences[n][place + 1]
            heapreplace(heads, (following.timestamp_ms, rank, topic, partition, n, place + 1))
        else:
            heappop(heads)


class Timed(Protocol):
    """A record as the client has it."""

    @property
    def timestamp(self) -> int:
        """Kafka's time, in milliseconds."""
        ...


def oldest(
    held: Mapping[Place, Iterable[Held]],
    full: Collection[Place],
    limit: int,
    size_of: Callable[[Held], int],
    limit_bytes: int,
    turns: Mapping[Place, int],
    rank: Callable[[str], int],
) -> dict[Place, int]:
    """Number of buffered records of each partition to take next: those of `turns`, then the oldest heads.

    Heads of the same time go by the rank of their topics.
    At most `limit` in all, and no further when they have `limit_bytes`.
    It ends where a partition that is `full` (the broker may have more of it) has no head left: what comes next there
    may be older than what the others hold.
    """
    taken, size = Counter(turns), 0
    queues = {place: iter(records) for place, records in held.items()}
    for place, count in turns.items():
        size += sum(map(size_of, islice(queues[place], count)))
    heads = {place: first for place, queue in queues.items() if (first := next(queue, None))}
    times = [(first.timestamp, rank(place[0]), place) for place, first in heads.items()]
    heapify(times)
    left = limit - taken.total() if all(place in heads or place not in full for place in turns) else 0
    while times and left > 0 and size < limit_bytes:
        _, of_topic, place = times[0]
        taken[place] += 1
        left -= 1
        size += size_of(heads[place])
        following = next(queues[place], None)
        if following is not None:
            heads[place] = following
            heapreplace(times, (following.timestamp, of_topic, place))
        elif place in full:
            break
        else:
            heappop(times)
    return dict(taken)
