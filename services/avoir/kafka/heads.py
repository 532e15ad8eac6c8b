"""Heads of accounts on `credit-balance`: the ledger's heads as others have read them."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence

import asyncpg
import msgspec
from aiokafka import AIOKafkaConsumer, ConsumerRecord
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.errors import CorruptRecordException, UnsupportedCodecError
from msgspec import Struct

from avoir.core.model.events import AccountKey
from avoir.core.model.ledger import GENESIS
from avoir.kafka.client import Client
from avoir.kafka.consuming import consuming
from avoir.kafka.topics import TopicNames
from avoir.postgres import queries
from avoir.postgres.connect import Connection
from avoir.wire.outgoing import account_of_key
from avoir.wire.topics import BALANCE

TIMEOUT_S = 10.0
_TAILS = (100, 1_000, 10_000)
"""Number of last offsets of a partition searched for a record: transactions leave gaps."""
_PORTION = 500
_UNREADABLE = (ValueError, CorruptRecordException, UnsupportedCodecError)

# Not structlog: what a command says goes to standard output.
log = logging.getLogger("avoir.heads")


class _Balance(Struct):
    epoch: int
    seq: int
    head: str


class Head(Struct, frozen=True):
    """State of an account in one record: epoch and seq of its last event, and the hash of its last entry."""

    account: AccountKey
    epoch: int
    seq: int
    hash: bytes
    place: str


_BALANCE = msgspec.json.Decoder(_Balance)


async def last_heads(client: Client, names: TopicNames, ce_source: str) -> list[Head]:
    """Last record with this source in each partition, if its end shows one; within a time limit."""
    last: dict[int, Head] = {}
    async with asyncio.timeout(TIMEOUT_S):
        for count in _TAILS:
            # A new consumer each time: one that is assigned other partitions may never stop.
            async with consuming(client, TIMEOUT_S, isolation_level="read_committed") as consumer:
                spans = await _spans(consumer, names.actual(BALANCE))
                tails = {
                    partition: (max(begin, end - count), end)
                    for partition, (begin, end) in spans.items()
                    if partition.partition not in last
                }
                async for record in _records(consumer, tails):
                    head = head_of(record, ce_source)
                    if head is not None:
                        last[record.partition] = head
            if all(
                partition.partition in last or begin == spans[partition][0]
                for partition, (begin, _) in tails.items()
            ):
                break
    return list(last.values())


async def unknown_to_the_ledger(connection: Connection, heads: Sequence[Head]) -> list[str]:
    """Describe the heads that the ledger does not have: if there are any, it is older than what others have read.

    A head of an earlier epoch proves nothing: a new epoch has begun since.
    """
    if not heads:
        return []
    rows = await connection.fetch(
        *queries.read_heads(accounts=[head.account for head in heads], seqs=[head.seq for head in heads])
    )
    return [_describe(head, row) for head, row in zip(heads, rows, strict=True) if _is_unknown(head, row)]


def _is_unknown(head: Head, row: asyncpg.Record) -> bool:
    if head.epoch != row["epoch"]:
        return bool(head.epoch > row["epoch"])
    return head.seq > (row["seq"] or 0) or head.hash != (row["hash"] or GENESIS)


def _describe(head: Head, row: asyncpg.Record) -> str:
    account = "/".join(head.account)
    return (
        f"{head.place} has {account} at epoch {head.epoch}, seq {head.seq}, head {head.hash.hex()[:16]}; the ledger is "
        f"at epoch {row['epoch']}, seq {row['seq'] or 0}, head {(row['hash'] or GENESIS).hex()[:16]} there"
    )


async def all_heads(
    client: Client, names: TopicNames, ce_source: str, progress: Callable[[int, int], None]
) -> AsyncIterator[list[Head]]:
    """Every record with this source, in portions; `progress` gets the offsets read and the total."""
    async with consuming(client, TIMEOUT_S, isolation_level="read_committed") as consumer:
        async with asyncio.timeout(TIMEOUT_S):
            spans = await _spans(consumer, names.actual(BALANCE))
        to_read = sum(end - begin for begin, end in spans.values())
        read, portion = 0, list[Head]()
        async for record in _records(consumer, spans):
            read += 1
            head = head_of(record, ce_source)
            portion += [] if head is None else [head]
            if len(portion) >= _PORTION:
                progress(read, to_read)
                yield portion
                portion = []
        progress(to_read, to_read)
        yield portion


def head_of(record: ConsumerRecord, ce_source: str) -> Head | None:
    """Parse a record; None if it has another source or is no balance of Avoir."""
    if ("ce_source", ce_source.encode()) not in record.headers or not record.key or not record.value:
        return None
    try:
        balance, account = _BALANCE.decode(record.value), account_of_key(record.key)
        head = bytes.fromhex(balance.head)
    except (msgspec.DecodeError, ValueError, TypeError):
        return None
    place = f"{record.topic}/{record.partition}@{record.offset}"
    return Head(account, balance.epoch, balance.seq, head, place)


Spans = dict[KafkaPartition, tuple[int, int]]


async def _spans(consumer: AIOKafkaConsumer, topic: str) -> Spans:
    """Readable offsets of each partition, `(begin, end)`: the end is the last stable offset."""
    cluster = await consumer._client.fetch_all_metadata()
    partitions = [
        KafkaPartition(topic, number) for number in sorted(cluster.partitions_for_topic(topic) or ())
    ]
    if not partitions:
        return {}
    await consumer._client.add_topic(topic)
    begins, ends = await consumer.beginning_offsets(partitions), await consumer.end_offsets(partitions)
    return {
        partition: (begins[partition], ends[partition])
        for partition in partitions
        if begins[partition] < ends[partition]
    }


async def _records(consumer: AIOKafkaConsumer, spans: Spans) -> AsyncIterator[ConsumerRecord]:
    """Committed records in these ranges; TimeoutError if the broker returns none for long.

    For a partition with an unreadable record, only those before it: other producers' records must not stop the output.
    """
    if spans:
        consumer.assign(list(spans))
    for partition, (begin, _) in spans.items():
        consumer.seek(partition, begin)
    for partition, (_, end) in spans.items():
        # Transaction markers take offsets too, so only the position shows that everything was read.
        while await consumer.position(partition) < end:
            try:
                records = await _next_records(consumer, partition, end)
            except _UNREADABLE as error:
                log.error("%s/%s cannot be read on: %r", partition.topic, partition.partition, error)
                break
            for record in records:
                if record.offset < end:
                    yield record


async def _next_records(
    consumer: AIOKafkaConsumer, partition: KafkaPartition, end: int
) -> list[ConsumerRecord]:
    """Next records of a partition; empty if there are none before `end`."""
    async with asyncio.timeout(TIMEOUT_S):
        while await consumer.position(partition) < end:
            batches = await consumer.getmany(partition, timeout_ms=50, max_records=_PORTION)
            if partition in batches:
                return list(batches[partition])
    return []
