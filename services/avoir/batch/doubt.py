"""Finds the message on which batches fail where nothing else tells: ever smaller parts of what failed are tried."""

from collections.abc import Container, Mapping, Sequence

from avoir.record import Record, TopicPartition, next_offsets

CUT = 8
"""A part that failed is tried in so many parts. Each failure may take as long as the database lets a statement run,
a part that holds takes next to nothing: with eight there are few of the former."""

MOST_ALONE = 3
"""How often one message alone may fail."""


class Doubt:
    """The messages of which at least one made its batch fail, by place: the next batch may have other bounds."""

    def __init__(self) -> None:
        self._until: dict[TopicPartition, int] = {}
        self._alone = 0
        self.reason = ""

    def __bool__(self) -> bool:
        return bool(self._until)

    def is_settled_on(self, part: Sequence[Record]) -> bool:
        """Whether these records are the one message that failed alone, and often enough."""
        return self._alone >= MOST_ALONE and next_offsets(part) == self._until

    def size(self, records: Sequence[Record]) -> int:
        """How many of the records that are next to handle together; all of them where there is no doubt."""
        doubtful = [n for n, record in enumerate(records) if self._is_in(record)]
        return doubtful[(len(doubtful) - 1) // CUT] + 1 if doubtful else len(records)

    def failed(self, part: Sequence[Record], reason: str) -> None:
        """Take in that these records failed together."""
        until = next_offsets(part)
        if len(part) > 1:
            self._alone = 0
        elif until == self._until:
            self._alone += 1
        else:
            self._alone = 1
        self._until, self.reason = until, reason

    def handled(self, positions: Mapping[TopicPartition, int]) -> None:
        """Take in how far partitions were handled."""
        left = {
            place: until for place, until in self._until.items() if positions.get(place, until - 1) < until
        }
        if left != self._until:
            self._until, self._alone = left, 0

    def keep(self, partitions: Container[TopicPartition]) -> None:
        """Take in which partitions there are: what is doubtful about others is somebody else's to find."""
        left = {place: until for place, until in self._until.items() if place in partitions}
        if left != self._until:
            self._until, self._alone = left, 0

    def _is_in(self, record: Record) -> bool:
        return record.offset < self._until.get(TopicPartition(record.topic, record.partition), 0)
