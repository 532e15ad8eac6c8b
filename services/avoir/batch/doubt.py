"""Finds the message that makes batches fail, if nothing names it, by trying ever smaller parts."""

from collections.abc import Callable, Container, Mapping, Sequence

from avoir.record import Record, TopicPartition, next_offsets

PARTS = 8
"""Number of parts that a failed part is split into. Each failure may take as long as a statement may run, a success
takes almost no time: with eight there are few failures."""

MAX_TRIES_ALONE = 3
"""Number of times that a single message may fail."""


class Doubt:
    """Offsets of messages of which at least one made its batch fail: the next batch may have different bounds."""

    def __init__(self) -> None:
        self._until: dict[TopicPartition, int] = {}
        self._alone = 0
        self.reason = ""

    def __bool__(self) -> bool:
        return bool(self._until)

    def is_settled_on(self, part: Sequence[Record]) -> bool:
        """Check whether these records are the one message that failed alone often enough."""
        return self._alone >= MAX_TRIES_ALONE and next_offsets(part) == self._until

    def size(self, records: Sequence[Record]) -> int:
        """Number of next records to handle together; all if nothing is in doubt."""
        doubtful = [n for n, record in enumerate(records) if self._is_in(record)]
        return doubtful[(len(doubtful) - 1) // PARTS] + 1 if doubtful else len(records)

    def failed(self, part: Sequence[Record], reason: str) -> None:
        """Register that these records failed together."""
        until = next_offsets(part)
        if len(part) > 1:
            self._alone = 0
        elif until == self._until:
            self._alone += 1
        else:
            self._alone = 1
        self._until, self.reason = until, reason

    def handled(self, positions: Mapping[TopicPartition, int]) -> None:
        """Register how far partitions were handled."""
        self._keep(lambda partition, until: positions.get(partition, until - 1) < until)

    def keep(self, partitions: Container[TopicPartition]) -> None:
        """Forget partitions that this process no longer has: their new owner finds what fails there."""
        self._keep(lambda partition, _: partition in partitions)

    def _keep(self, is_left: Callable[[TopicPartition, int], bool]) -> None:
        left = {partition: until for partition, until in self._until.items() if is_left(partition, until)}
        if left != self._until:
            self._until, self._alone = left, 0

    def _is_in(self, record: Record) -> bool:
        return record.offset < self._until.get(TopicPartition(record.topic, record.partition), 0)
