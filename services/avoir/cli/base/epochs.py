"""Begins a new epoch, and publishes every account's balance under it."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from typing import NamedTuple
from uuid import uuid4

from avoir.batch.outbox import ACCOUNTS_AT_A_TIME, publish_balances
from avoir.core.model.events import AccountKey
from avoir.core.model.ledger import GENESIS
from avoir.core.model.rows import Account
from avoir.kafka.client import Client
from avoir.kafka.heads import all_heads
from avoir.kafka.relay import LEASE
from avoir.kafka.topics import TopicNames
from avoir.postgres import queries, rows
from avoir.postgres.connect import Connection, Database, KeptConnection
from avoir.postgres.headers import packed, unpacked
from avoir.postgres.lease import Lease
from avoir.wire.outgoing import account_of_key, restated, seq_of
from avoir.wire.topics import BALANCE, DECIDED_EVENTS

_LEASE_S = 30.0
_PATIENCE_S = 10.0
_ASK_S = 0.1
_ROWS = 500


class Seen(NamedTuple):
    """Highest epoch that readers of `credit-balance` know, and the accounts that only they know."""

    epoch: int = 0
    lost: frozenset[AccountKey] = frozenset()


NOTHING_SEEN = Seen()


class StillPublishingError(Exception):
    """A process of the service is publishing, so rows of the outbox can't be changed."""


async def read_seen(
    connection: Connection,
    client: Client,
    names: TopicNames,
    ce_source: str,
    progress: Callable[[int, int], None],
) -> Seen:
    """Read what readers know of this ledger; `progress` gets the offsets read and the total."""
    epoch, lost = 0, set[AccountKey]()
    async for heads in all_heads(client, names, ce_source, progress):
        epoch = max((epoch, *(head.epoch for head in heads)))
        lost |= await _unknown(connection, {head.account for head in heads} - lost)
    return Seen(epoch, frozenset(lost))


async def _unknown(connection: Connection, accounts: set[AccountKey]) -> set[AccountKey]:
    if not accounts:
        return set()
    known = await connection.fetch(*queries.read_known_accounts(accounts=accounts))
    return accounts - {rows.account_key(row) for row in known}


class _Restated(NamedTuple):
    """An outbox row moved to another epoch."""

    tenant_id: str
    outbox_id: int
    value: bytes
    headers: bytes


class RelayBlock:
    """Keeps every relay from publishing, by holding its lease."""

    def __init__(self, kept: KeptConnection) -> None:
        self._kept = kept
        self._lease = Lease(LEASE, f"command-{uuid4().hex[:8]}", _LEASE_S)

    async def begin(self) -> None:
        """Take the relay's lease. Raises StillPublishingError if another process keeps it."""
        async with self._kept.use() as connection:
            await self._lease.add(connection)
            give_up_at = time.monotonic() + _PATIENCE_S
            while not await self._lease.hold(connection):
                if time.monotonic() > give_up_at:
                    raise StillPublishingError("a process is publishing: stop every `avoir serve` first")
                await asyncio.sleep(_ASK_S)

    async def keep(self) -> None:
        """Renew the lease until cancelled."""
        while True:
            await asyncio.sleep(_LEASE_S / 5)
            # A failed renewal is not an error yet: `check` decides at the end.
            with suppress(Exception):
                async with self._kept.use() as connection:
                    await self._lease.renew(connection)

    async def check(self, connection: Connection) -> None:
        """Raise StillPublishingError if another process had the lease; none can take it in this transaction."""
        if not await self._lease.renew(connection):
            raise StillPublishingError(
                "another process may have published meanwhile; nothing was changed, try again"
            )

    async def end(self) -> None:
        """Release the lease."""
        with suppress(Exception):
            async with self._kept.use() as connection:
                await self._lease.release(connection)


@asynccontextmanager
async def blocked_relay(database: Database) -> AsyncIterator[RelayBlock]:
    """Keep every relay from reading the outbox meanwhile. Raises StillPublishingError if one goes on."""
    kept = KeptConnection(database)
    block = RelayBlock(kept)
    try:
        await block.begin()
        keeping = asyncio.create_task(block.keep())
        try:
            yield block
        finally:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)
            await block.end()
    finally:
        await kept.close()


async def raise_epoch(
    connection: Connection,
    reason: str,
    ce_source: str,
    seen: Seen = NOTHING_SEEN,
    block: RelayBlock | None = None,
) -> tuple[int, int]:
    """Begin a new epoch and put all balances into the outbox; returns the epoch and the number of balances.

    All in one transaction. Without the balances, the compacted topic would keep balances of lost transactions. The
    relay must be blocked. Raises StillPublishingError if it was not.
    """
    async with connection.transaction():
        epoch = await begin_epoch(connection, reason, seen)
        published = await publish_current_balances(connection, epoch, ce_source, seen.lost)
        if block is not None:
            await block.check(connection)
    return epoch, published


async def begin_epoch(connection: Connection, reason: str, seen: Seen) -> int:
    """Begin an epoch above all that readers know, and move waiting outbox rows to it; runs in a transaction."""
    # No batch may read the old epoch and commit after the balances are read.
    await connection.execute(*queries.lock_all_accounts())
    epoch: int = await connection.fetchval(*queries.raise_epoch(reason=reason, above=seen.epoch))
    await _restate_waiting(connection, epoch)
    return epoch


async def _restate_waiting(connection: Connection, epoch: int) -> None:
    """Move waiting events to the new epoch: readers may have other events with the same sequence numbers.

    From an account's first waiting event on, events of earlier epochs no longer count. Events that the broker refused
    before it stay unchanged.
    """
    await connection.execute(*queries.delete_outbox_of_topics(topics=[BALANCE]))
    begun: dict[AccountKey, int] = {}
    stream = await connection.cursor(*queries.stream_outbox(topics=sorted(DECIDED_EVENTS)))
    while fetched := await stream.fetch(_ROWS):
        changed = []
        for row in fetched:
            seq = seq_of(row["value"])
            if seq is None:
                continue
            account = account_of_key(row["key"])
            if account not in begun and row["refused"]:
                continue
            voids_from = begun.setdefault(account, seq)
            event_id = Account(account, 0, 0, seq, GENESIS).event_id(epoch)
            value, headers = restated(row["value"], unpacked(row["headers"]), event_id, epoch, voids_from)
            changed.append(_Restated(row["tenant_id"], row["outbox_id"], value, packed(headers)))
        if changed:
            await connection.execute(*queries.restate_outbox(rows=changed))
    for portion in _portions(sorted(begun)):
        await connection.execute(
            *queries.set_epochs(accounts=portion, seqs=[begun[account] for account in portion], epoch=epoch)
        )


def _portions(accounts: list[AccountKey]) -> Iterable[list[AccountKey]]:
    return (accounts[n : n + ACCOUNTS_AT_A_TIME] for n in range(0, len(accounts), ACCOUNTS_AT_A_TIME))


async def publish_current_balances(
    connection: Connection, epoch: int, ce_source: str, lost: Iterable[AccountKey]
) -> int:
    """Publish every balance under an epoch, and 0 for lost accounts; returns the number."""
    published = 0
    stream = await connection.cursor(*queries.stream_accounts())
    while fetched := await stream.fetch(ACCOUNTS_AT_A_TIME):
        current = [(rows.account(row), row["recorded_at"]) for row in fetched]
        await publish_balances(connection, current, epoch, ce_source)
        published += len(fetched)
    now = await connection.fetchval(*queries.read_clock())
    for portion in _portions(sorted(lost)):
        # An account that has entries again was published above.
        gone = sorted(await _unknown(connection, set(portion)))
        nothing = [(Account(key, 0, 0, 0, GENESIS), now) for key in gone]
        await publish_balances(connection, nothing, epoch, ce_source)
        published += len(gone)
    return published
