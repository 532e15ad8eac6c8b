"""Stored position of a partition, and reasons not to go on from it."""

from collections.abc import Iterable
from typing import Any, NamedTuple
from uuid import UUID

from avoir.record import TopicPartition


class StoredPosition(NamedTuple):
    """A stored position: the next offset to handle, the topic's id, and why it is stopped.

    The id is None if the broker has not reported it yet.
    """

    next_offset: int
    topic_id: UUID | None
    stopped: str | None


class Span(NamedTuple):
    """The offsets that a partition has: from `begin` to just before `end`."""

    begin: int
    end: int


class End(NamedTuple):
    """Last stable offset and end offset of a partition: records in between wait for open transactions."""

    readable: int
    end: int


def positions_of(rows: Iterable[Any]) -> dict[TopicPartition, StoredPosition]:
    """The positions in rows of `consumer_offsets`."""
    return {
        TopicPartition(row["topic"], row["partition"]): StoredPosition(
            row["next_offset"], row["topic_id"], row["stopped"]
        )
        for row in rows
    }


def misplaced(
    partition: TopicPartition, stored: StoredPosition, has: Span, topic_id: UUID | None
) -> str | None:
    """Reason why a partition can't go on: the topic is a different one, or does not have the offset. None if it can."""
    at = f"{partition.topic}/{partition.partition} stands at {stored.next_offset}"
    if stored.topic_id is not None and topic_id is not None and stored.topic_id != topic_id:
        return f"{at} of a topic that was deleted and made anew, and the new one has {has.begin} to {has.end}"
    if not has.begin <= stored.next_offset <= has.end:
        return (
            f"{at}, but the broker has {has.begin} to {has.end}: "
            "the topic was cut off, made anew, or lost records"
        )
    return None
