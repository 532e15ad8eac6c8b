"""Judges whether input is handled and output is published, for /readyz and `avoir status`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from avoir.record import TopicPartition
from avoir.settings import Settings

_MAX_NAMES = 3


@dataclass(frozen=True, slots=True)
class Limits:
    """Time limits: `unready_s` without progress of messages and events, `held_s` for an open transaction."""

    unready_s: float
    held_s: float


def limits_of(settings: Settings) -> Limits:
    """Read the time limits from the settings."""
    return Limits(settings.unready_after_s, settings.held_after_s)


@dataclass(frozen=True, slots=True)
class Flow:
    """Backlog at a moment, on the input topics and in the outbox.

    `still` has partitions with readable messages and the seconds, at least, since one was handled; `held` those blocked
    by an open transaction, and for how many seconds, at least. `stopped` has reasons why partitions wait for an
    operator. `deferred` counts messages that wait for rows in `waits_for`. Missing topics have their actual names.
    `publisher` holds the lease, if anybody; `refused` counts events that the broker refused for good. `failing` is how
    long the loop has met only errors, and the last one. `unknown` says why the input topics could not be measured.
    """

    messages: int = 0
    stalled: Mapping[TopicPartition, float] = field(default_factory=dict)
    held: Mapping[TopicPartition, float] = field(default_factory=dict)
    stopped: Mapping[TopicPartition, str] = field(default_factory=dict)
    missing_in: Sequence[str] = ()
    missing_out: Sequence[str] = ()
    deferred: int = 0
    oldest_deferred_s: float = 0.0
    waits_for: Sequence[str] = ()
    events: int = 0
    oldest_event_s: float = 0.0
    refused: int = 0
    publisher: str | None = None
    failing: tuple[float, str] | None = None
    unknown: str | None = None


def faults(flow: Flow, limits: Limits) -> dict[str, str]:
    """Problems that keep messages from being handled or events from being published, by check; empty if none."""
    by_check = {
        "loop": _loop_fault(flow, limits.unready_s),
        "offsets": "; ".join(flow.stopped.values()),
        "transactions": _held(flow, limits.held_s),
        "outbox": _outbox_fault(flow, limits.unready_s),
    }
    return {check: fault for check, fault in by_check.items() if fault}


def sentence(flow: Flow, limits: Limits, others: Sequence[str] = ()) -> str:
    """The same in one sentence, with other problems of a process."""
    problems = [*others, *faults(flow, limits).values()]
    if problems:
        return f"Does not keep up: {'; '.join(problems)}."
    if flow.messages or flow.events:
        return f"Keeps up: {_count(flow.messages, 'message')} and {_count(flow.events, 'event')} are in progress."
    return "Keeps up: nothing waits."


def held_for_long(flow: Flow, limits: Limits) -> list[TopicPartition]:
    """The partitions that an open transaction has held for longer than it may."""
    return sorted(partition for partition, seconds in flow.held.items() if seconds >= limits.held_s)


def _loop_fault(flow: Flow, limit_s: float) -> str:
    parts = []
    if flow.unknown is not None:
        parts.append(f"the backlog of the input topics is not known: {flow.unknown}")
    if flow.missing_in:
        parts.append(_missing(flow.missing_in))
    stalled = {partition: seconds for partition, seconds in flow.stalled.items() if seconds >= limit_s}
    if stalled:
        parts.append(
            f"{_count(flow.messages, 'message')} {_verb(flow.messages, 'wait')}, and "
            f"{_partition_names(sorted(stalled))} {_verb(len(stalled), 'has', 'have')} not moved for "
            f"{max(stalled.values()):,.0f} s or more"
        )
    if flow.deferred and flow.oldest_deferred_s >= limit_s:
        parts.append(
            f"{_count(flow.deferred, 'message')} {_verb(flow.deferred, 'is', 'are')} deferred, the oldest for "
            f"{flow.oldest_deferred_s:,.0f} s: another session keeps {_names(flow.waits_for)} locked"
        )
    if flow.failing is not None and (stalled or flow.failing[0] >= limit_s):
        parts.append(
            f"the loop has met only errors for {flow.failing[0]:,.0f} s, the last: {flow.failing[1]}"
        )
    return "; ".join(parts)


def _held(flow: Flow, limit_s: float) -> str:
    held = {partition: seconds for partition, seconds in flow.held.items() if seconds >= limit_s}
    if not held:
        return ""
    return (
        f"{_partition_names(sorted(held))} {_verb(len(held), 'is', 'are')} held by a transaction that has been open "
        f"for {max(held.values()):,.0f} s or more"
    )


def _outbox_fault(flow: Flow, limit_s: float) -> str:
    parts = [_waiting_events(flow, limit_s)]
    if flow.refused:
        parts.append(
            f"the broker refused {_count(flow.refused, 'event')}: `avoir outbox list` shows "
            f"{_verb(flow.refused, 'it', 'them')}"
        )
    return "; ".join(filter(None, parts))


def _waiting_events(flow: Flow, limit_s: float) -> str:
    if flow.events and flow.oldest_event_s >= limit_s:
        if flow.missing_out:
            why = _missing(flow.missing_out)
        elif flow.publisher is None:
            why = "nobody publishes"
        else:
            why = f"{flow.publisher} holds the lease"
        return (
            f"{_count(flow.events, 'event')} {_verb(flow.events, 'wait')}, the oldest for "
            f"{flow.oldest_event_s:,.0f} s: {why}"
        )
    return _missing(flow.missing_out)


def _missing(topics: Sequence[str]) -> str:
    noun = _verb(len(topics), "topic", "topics")
    return f"{noun} {_names(topics)} {_verb(len(topics), 'is', 'are')} missing" if topics else ""


def _partition_names(partitions: Sequence[TopicPartition]) -> str:
    return _names([f"{partition.topic}/{partition.partition}" for partition in partitions])


def _names(names: Sequence[str]) -> str:
    more = len(names) - _MAX_NAMES
    return ", ".join(names[:_MAX_NAMES]) + (f" and {more} more" if more > 0 else "")


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _verb(number: int, one: str, many: str | None = None) -> str:
    if many is None:
        return f"{one}s" if number == 1 else one
    return one if number == 1 else many
