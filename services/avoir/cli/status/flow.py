"""What waits on its way through the service, as far as the database and the broker tell."""

from dataclasses import replace
from datetime import datetime, timedelta

from avoir.cli.base.lag import OnBroker, lag_by_topic, next_offset, stops
from avoir.cli.status.query import Status
from avoir.kafka.relay import LEASE
from avoir.process.flow import Flow, Limits
from avoir.record import TopicPartition


def flow_of(found: Status, there: OnBroker | None, limits: Limits, unknown: str | None = None) -> Flow:
    """What waits, by the database and the broker alone; `unknown` says why the broker could not be asked."""
    leases = (each.holder for each in found.leases if each.name == LEASE and each.held)
    oldest = found.deferred.oldest
    outgoing = Flow(
        deferred=found.deferred.messages,
        oldest_deferred_s=0.0 if oldest is None else (found.as_of - oldest).total_seconds(),
        waits_for=found.deferred.waits_for,
        refused=found.refused,
        events=found.waiting,
        oldest_event_s=0.0 if found.oldest is None else (found.as_of - found.oldest).total_seconds(),
        publisher=next(leases, None),
        unknown=unknown,
    )
    if there is None:
        return outgoing
    stopped = stops(there.has, found.positions)
    stalled: dict[TopicPartition, float] = {}
    held: dict[TopicPartition, float] = {}
    for place, (readable, waits_to, held_to) in there.ages.items():
        at = next_offset(place, found.positions, there.has[place].span.begin)
        if place in stopped:
            continue
        # A message may say that it is old: the position must have stood for as long, too.
        if at < waits_to and _stood(found, place, limits.unready_s):
            stalled[place] = limits.unready_s
        if readable <= at and readable < held_to and _stood(found, place, limits.held_s):
            held[place] = limits.held_s
    return replace(
        outgoing,
        messages=sum(each.lag for each in lag_by_topic(there.has, found.positions)),
        stalled=stalled,
        held=held,
        stopped=stopped,
        missing_in=there.missing_in,
        missing_out=there.missing_out,
    )


def _stood(found: Status, place: TopicPartition, seconds: float) -> bool:
    moved_at: datetime | None = found.moved_at.get(place)
    return moved_at is None or found.as_of - moved_at >= timedelta(seconds=seconds)
