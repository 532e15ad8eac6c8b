"""Builds the service: the only file that connects its parts."""

import os
import secrets
import socket
from asyncio import Event
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Protocol

import structlog
from faststream import AckPolicy
from faststream.kafka import KafkaBroker
from faststream.kafka.subscriber.usecase import BatchSubscriber

from avoir.batch.batch import Rules
from avoir.batch.handle import Handler
from avoir.kafka.assignment import Assignment, StoredPositions
from avoir.kafka.client import METADATA_MAX_AGE_MS, REQUEST_TIMEOUT_MS, Client, client_of
from avoir.kafka.decoding import bound_decoding
from avoir.kafka.heads import last_heads
from avoir.kafka.loop import BatchDone, BatchHandler, Loop
from avoir.kafka.publisher import Publisher, relay_transactional_id
from avoir.kafka.relay import Relay
from avoir.kafka.topics import TopicNames
from avoir.postgres.connect import Database, KeptConnection
from avoir.postgres.reading import ReadingPool
from avoir.process.flow import limits_of
from avoir.process.health import Health
from avoir.process.housekeeping import Expirer, Housekeeping
from avoir.process.logs import log_report
from avoir.process.metrics import Metrics
from avoir.process.presence import Presence
from avoir.process.service import Service
from avoir.process.tracing import tracing
from avoir.process.watch import Watch
from avoir.record import BatchReport
from avoir.settings import Settings, policy_of
from avoir.wire.topics import EVENTS, SUBSCRIBED

_FETCH_BYTES = 16 * 1024 * 1024
_PARTITION_FETCH_BYTES = 512 * 1024
"""Memory limit of fetched, unread data. A single larger batch is read anyway."""


class CreditHandler(BatchHandler, Expirer, Protocol):
    """Handles batches of messages, and expires grants."""


MAX_LOCK_WAIT_S = 2.0
"""Time that a batch waits for a row before it checks the holder. Other processes hold rows for about a second."""

MakeHandler = Callable[[Settings, KeptConnection], CreditHandler]


def database_of(settings: Settings) -> Database:
    """Connection settings of the service for Postgres."""
    return Database(
        settings.postgres_dsn,
        idle_in_transaction_timeout_s=settings.postgres_idle_in_transaction_s,
        lock_timeout_s=settings.postgres_lock_timeout_s,
        statement_timeout_s=settings.postgres_statement_timeout_s,
        command_timeout_s=settings.postgres_command_timeout_s,
    )


def with_short_lock_wait(database: Database) -> Database:
    """The same with short lock waits: messages for a row that another session keeps locked are deferred."""
    return replace(database, lock_timeout_s=min(database.lock_timeout_s, MAX_LOCK_WAIT_S))


def names_of(settings: Settings) -> TopicNames:
    """Actual topic names; raises ValueError for invalid ones."""
    return TopicNames(settings.kafka_topic_prefix, settings.kafka_topics)


def credit_handler(settings: Settings, connection: KeptConnection) -> CreditHandler:
    """The handler of the service, on a connection that nobody else uses."""
    rules = Rules(
        group_id=settings.kafka_group_id,
        policy=policy_of(settings),
        ce_source=settings.ce_source,
        max_message_bytes=settings.kafka_max_message_bytes,
        max_future=timedelta(seconds=settings.max_future_s),
    )
    return Handler(connection, rules)


def build(settings: Settings, make_handler: MakeHandler = credit_handler) -> Service:
    """All parts of the service, connected to each other and not started yet."""
    client, names, database = client_of(settings), names_of(settings), database_of(settings)
    holder = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
    metrics, wake, traces, assignment = Metrics(), Event(), tracing(settings.otel), Assignment()
    handling, expiring, waiting = (
        KeptConnection(each) for each in (with_short_lock_wait(database), database, database)
    )
    positions = StoredPositions(database, names, settings.kafka_group_id)
    pool = ReadingPool(database, settings.postgres_pool_size)
    bound_decoding()
    broker = _broker(client)
    subscriber = _subscriber(broker, settings, names, assignment)

    def batch_done(done: BatchDone) -> None:
        metrics.batch_done(done)
        log_report(structlog.get_logger("avoir.batch"), "batch", done.report, seconds=round(done.seconds, 4))
        wake.set()

    def expired(report: BatchReport) -> None:
        metrics.report(report)
        log_report(structlog.get_logger("avoir.expiry"), "expired", report)
        wake.set()

    loop = Loop(
        assignment,
        positions,
        make_handler(settings, handling),
        names.default,
        max_records=settings.kafka_max_records,
        done=batch_done,
        span=traces.span,
    )
    watch = Watch(
        loop,
        pool,
        lambda: subscriber.consumer,
        metrics,
        names,
        group_id=settings.kafka_group_id,
        stuck_after_s=settings.stuck_after_s,
        limits=limits_of(settings),
    )
    presence = Presence(waiting, settings.give_up_s)
    relay = _relay(settings, database, client, names, holder, wake)
    metrics.behind.set_function(lambda: bool(relay.state.behind))
    metrics.unused_partitions.set_function(lambda: sum(relay.output_topics.unused.values()))
    housekeeping = _housekeeping(settings, database, make_handler(settings, expiring), holder, expired)
    return Service(
        settings=settings,
        client=client,
        input_topics=[names.actual(topic) for topic in SUBSCRIBED],
        output_topics=[names.actual(topic) for topic in EVENTS],
        broker=broker,
        subscriber=subscriber,
        loop=loop,
        relay=relay,
        housekeeping=housekeeping,
        watch=watch,
        presence=presence,
        health=Health(pool, loop, relay, watch, presence),
        metrics=metrics,
        connection=waiting,
        droppable=(waiting, handling, expiring, positions, relay, housekeeping, pool),
        closable=(waiting, handling, expiring, positions, pool, traces),
    )


def _broker(client: Client) -> KafkaBroker:
    return KafkaBroker(
        client.bootstrap_servers,
        security=client.security,
        request_timeout_ms=REQUEST_TIMEOUT_MS,
        metadata_max_age_ms=METADATA_MAX_AGE_MS,
        allow_auto_create_topics=False,
        consumer_only=True,
        client_id="avoir",
        logger=None,
    )


def _subscriber(
    broker: KafkaBroker, settings: Settings, names: TopicNames, assignment: Assignment
) -> BatchSubscriber:
    """The subscriber has no handler: FastStream starts and stops its consumer, and the loop reads from it."""
    return broker.subscriber(
        *(names.actual(topic) for topic in SUBSCRIBED),
        batch=True,
        group_id=settings.kafka_group_id,
        group_instance_id=settings.kafka_group_instance_id,
        listener=assignment,
        ack_policy=AckPolicy.MANUAL,
        # Positions are in Postgres. A fallback to an end of the topic would skip or repeat messages silently.
        auto_offset_reset="none",
        isolation_level="read_committed",
        session_timeout_ms=settings.kafka_session_timeout_ms,
        heartbeat_interval_ms=settings.kafka_heartbeat_interval_ms,
        rebalance_timeout_ms=settings.kafka_rebalance_timeout_ms,
        fetch_max_bytes=_FETCH_BYTES,
        max_partition_fetch_bytes=_PARTITION_FETCH_BYTES,
    )


def _relay(
    settings: Settings, database: Database, client: Client, names: TopicNames, holder: str, wake: Event
) -> Relay:
    return Relay(
        database,
        lambda: Publisher(client, names, relay_transactional_id(settings.kafka_group_id)),
        lambda: last_heads(client, names, settings.ce_source),
        names,
        holder,
        rows=settings.relay_rows,
        lease_s=settings.relay_lease_s,
        wake=wake,
    )


def _housekeeping(
    settings: Settings,
    database: Database,
    expirer: Expirer,
    holder: str,
    done: Callable[[BatchReport], None],
) -> Housekeeping:
    return Housekeeping(
        database,
        expirer,
        holder,
        interval_s=settings.expiry_interval_s,
        rows=settings.expiry_rows,
        done=done,
    )
