"""Backlog on its way through the service, according to the database and the broker."""

from dataclasses import replace
from datetime import datetime, timedelta

from avoir.cli.base.lag import BrokerState, lag_by_topic, next_offset, stops
from avoir.cli.status.query import Status
from avoir.kafka.relay import LEASE
from avoir.process.flow import Flow, Limits
from avoir.record import TopicPartition


def flow_of(state: Status, broker: BrokerState | None, limits: Limits, unknown: str | None = None) -> Flow:
    """Backlog according to the database and the broker alone; `unknown` says why the broker could not be queried."""
    leases = (each.holder for each in state.leases if each.name == LEASE and each.held)
    oldest = state.deferred.oldest
    outgoing = Flow(
        deferred=state.deferred.messages,
        oldest_deferred_s=0.0 if oldest is None else (state.as_of - oldest).total_seconds(),
        waits_for=state.deferred.waits_for,
        refused=state.refused,
        events=state.waiting,
        oldest_event_s=0.0 if state.oldest is None else (state.as_of - state.oldest).total_seconds(),
        publisher=next(leases, None),
        unknown=unknown,
    )
    if broker is None:
        return outgoing
    stopped = stops(broker.partitions, state.positions)
    stalled: dict[TopicPartition, float] = {}
    held: dict[TopicPartition, float] = {}
    for place, (readable, waits_to, held_to) in broker.ages.items():
        at = next_offset(place, state.positions, broker.partitions[place].span.begin)
        if place in stopped:
            continue
        # A message may say that it is old: the position must have stood for as long, too.
        if at < waits_to and _stood(state, place, limits.unready_s):
            stalled[place] = limits.unready_s
        if readable <= at and readable < held_to and _stood(state, place, limits.held_s):
            held[place] = limits.held_s
    return replace(
        outgoing,
        messages=sum(each.lag for each in lag_by_topic(broker.partitions, state.positions)),
        stalled=stalled,
        held=held,
        stopped=stopped,
        missing_in=broker.missing_in,
        missing_out=broker.missing_out,
    )


def _stood(state: Status, place: TopicPartition, seconds: float) -> bool:
    moved_at: datetime | None = state.moved_at.get(place)
    return moved_at is None or state.as_of - moved_at >= timedelta(seconds=seconds)
