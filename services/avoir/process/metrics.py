"""Prometheus metrics: by topic, outcome and currency, never by account."""

import time
from collections.abc import Mapping
from decimal import Decimal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from avoir.kafka.loop import BatchDone
from avoir.record import BatchReport

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)
# Amounts are millionths of the currency's major unit.
_MICROS = 1_000_000
_UNHANDLED_S = (
    "Age, by Kafka's timestamp, of the oldest message of the current or last batch, while messages wait."
)


class Metrics:
    """The metrics of one process, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.lag = Gauge(
            "avoir_lag_messages", "Messages of this process not handled yet.", ["topic"], registry=registry
        )
        self.oldest_unhandled = Gauge("avoir_oldest_unhandled_seconds", _UNHANDLED_S, registry=registry)
        self.handled = Counter(
            "avoir_messages",
            "Messages handled, by outcome.",
            ["topic", "outcome"],
            registry=registry,
        )
        self.batch_size = Histogram(
            "avoir_batch_messages", "Messages per batch.", buckets=_SIZES, registry=registry
        )
        self.batch_seconds = Histogram(
            "avoir_batch_seconds", "Time to handle a batch, in seconds.", buckets=_SECONDS, registry=registry
        )
        self.statements = Counter("avoir_statements", "Statements sent to the database.", registry=registry)
        self.credit = Counter(
            "avoir_credit",
            "Credit issued, applied, taken back, expired: in the currency's major unit, by kind of event.",
            ["event", "currency"],
            registry=registry,
        )
        self.alarms = Counter(
            "avoir_alarms",
            "Conditions that need a person, such as currency_mismatch.",
            ["alarm"],
            registry=registry,
        )
        self.outbox = Gauge("avoir_outbox_rows", "Events that wait to be published.", registry=registry)
        self.outbox_refused = Gauge(
            "avoir_outbox_refused_rows", "Events that the broker refused for good.", registry=registry
        )
        self.oldest_unpublished = Gauge(
            "avoir_oldest_unpublished_seconds", "Age of the oldest event in the outbox.", registry=registry
        )
        self.dead_letters = Gauge(
            "avoir_dead_letters", "Dead letters that were not replayed.", ["parked"], registry=registry
        )
        self.deferred = Gauge(
            "avoir_deferred_messages", "Messages that wait for a locked row.", registry=registry
        )
        self.stopped_partitions = Gauge(
            "avoir_stopped_partitions", "Partitions that need an operator to go on.", registry=registry
        )
        self.held_partitions = Gauge(
            "avoir_held_partitions", "Partitions blocked by an open transaction.", registry=registry
        )
        self.behind = Gauge(
            "avoir_ledger_behind",
            "1 while credit-balance is ahead of the ledger, so that nothing is published.",
            registry=registry,
        )
        self.unused_partitions = Gauge(
            "avoir_unused_partitions",
            "Partitions added to output topics and not used.",
            registry=registry,
        )
        self.ready = Gauge("avoir_ready", "1 if the last /readyz was 200.", registry=registry)

    def batch_done(self, done: BatchDone) -> None:
        """Count a batch of messages."""
        self.batch_size.observe(done.records)
        self.batch_seconds.observe(done.seconds)
        self.report(done.report)

    def report(self, report: BatchReport) -> None:
        """Count the decisions of a batch or of a sweep."""
        for (topic, outcome), count in report.decisions.items():
            self.handled.labels(topic, outcome).inc(count)
        for (event, currency), micros in report.amounts.items():
            self.credit.labels(event, currency).inc(float(Decimal(micros) / _MICROS))
        for alarm, count in report.alarms.items():
            self.alarms.labels(alarm).inc(count)
        self.statements.inc(report.statements)

    def backlog(self, row: Mapping[str, float | None]) -> None:
        """Show the backlog in the database."""
        self.outbox.set(row["outbox"] or 0)
        self.outbox_refused.set(row["refused"] or 0)
        self.oldest_unpublished.set(row["oldest_unpublished_s"] or 0)
        self.deferred.set(row["deferred"] or 0)
        self.dead_letters.labels("yes").set(row["parked"] or 0)
        self.dead_letters.labels("no").set((row["dead_letters"] or 0) - (row["parked"] or 0))

    def lags(self, by_topic: Mapping[str, int], behind_s: float) -> None:
        """Show the lag, and how long it has lasted."""
        self.lag.clear()
        for topic, messages in by_topic.items():
            self.lag.labels(topic).set(messages)
        self.oldest_unhandled.set(behind_s)


def age_s(timestamp_ms: int) -> float:
    """Seconds since a Kafka timestamp; none for one in the future."""
    return max(0.0, time.time() - timestamp_ms / 1000)
