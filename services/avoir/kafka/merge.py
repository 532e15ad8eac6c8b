"""Puts a batch's partitions into one order: by Kafka's timestamp, each partition's own order kept."""

from collections.abc import Iterable, Iterator, Sequence
from heapq import heapify, heappop, heapreplace

from avoir.record import Record


def merged(partitions: Iterable[Sequence[Record]]) -> Iterator[Record]:
    """Take, again and again, the earliest of the heads of the partitions.

    Equal timestamps go by topic and partition, so that the same batch always has the same order.
    A late timestamp holds back only its own partition: producers set it, so it promises nothing.
    """
    sequences = [sequence for sequence in partitions if sequence]
    heads = [(seq[0].timestamp_ms, seq[0].topic, seq[0].partition, n, 0) for n, seq in enumerate(sequences)]
    heapify(heads)
    while heads:
        _, topic, partition, n, place = heads[0]
        yield sequences[n][place]
        if place + 1 < len(sequences[n]):
            following = sequences[n][place + 1]
            heapreplace(heads, (following.timestamp_ms, topic, partition, n, place + 1))
        else:
            heappop(heads)
