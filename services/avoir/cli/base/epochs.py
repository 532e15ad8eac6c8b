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
    """What readers of `credit-balance` know: the highest epoch, and the accounts that the ledger does not have."""

    epoch: int = 0
    lost: frozenset[AccountKey] = frozenset()


NOTHING = Seen()


class StillPublishingError(Exception):
    """A process of the service publishes, so that nothing that waits to be published can be changed."""


async def read_seen(
    connection: Connection,
    client: Client,
    names: TopicNames,
    ce_source: str,
    progress: Callable[[int, int], None],
) -> Seen:
    """What readers know of this ledger; `progress` is told how many offsets were read, and of how many."""
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
    """A row of the outbox under another epoch."""

    tenant_id: str
    outbox_id: int
    value: bytes
    headers: bytes


class Quiet:
    """The time during which no process publishes."""

    def __init__(self, kept: KeptConnection) -> None:
        self._kept = kept
        self._lease = Lease(LEASE, f"command-{uuid4().hex[:8]}", _LEASE_S)

    async def begin(self) -> None:
        """Take the relay's lease. StillPublishingError where another keeps it."""
        async with self._kept.use() as connection:
            await self._lease.add(connection)
            give_up_at = time.monotonic() + _PATIENCE_S
            while not await self._lease.hold(connection):
                if time.monotonic() > give_up_at:
                    raise StillPublishingError("a process publishes: stop every `avoir serve` first")
                await asyncio.sleep(_ASK_S)

    async def keep(self) -> None:
        """Renew the lease until cancelled."""
        while True:
            await asyncio.sleep(_LEASE_S / 5)
            with suppress(Exception):
                async with self._kept.use() as connection:
                    await self._lease.renew(connection)

    async def check(self, connection: Connection) -> None:
        """Raise StillPublishingError where another had the lease meanwhile; none can take it in this transaction."""
        if not await self._lease.renew(connection):
            raise StillPublishingError(
                "another process may publish meanwhile: nothing was changed, try again"
            )

    async def end(self) -> None:
        """Let the lease go."""
        with suppress(Exception):
            async with self._kept.use() as connection:
                await self._lease.release(connection)


@asynccontextmanager
async def quiet(database: Database) -> AsyncIterator[Quiet]:
    """Keep every relay from reading what waits meanwhile. StillPublishingError where one does and goes on."""
    kept = KeptConnection(database)
    pause = Quiet(kept)
    try:
        await pause.begin()
        keeping = asyncio.create_task(pause.keep())
        try:
            yield pause
        finally:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)
            await pause.end()
    finally:
        await kept.close()


async def raise_epoch(
    connection: Connection,
    reason: str,
    ce_source: str,
    seen: Seen = NOTHING,
    pause: Quiet | None = None,
) -> tuple[int, int]:
    """The new epoch, and how many balances it puts in the outbox; all in one transaction.

    Without the balances, the compacted topic would keep what accounts had after transactions that are lost now. The
    relay must be quiet; StillPublishingError where it was not.
    """
    async with connection.transaction():
        epoch = await begin_epoch(connection, reason, seen)
        published = await publish_standing(connection, epoch, ce_source, seen.lost)
        if pause is not None:
            await pause.check(connection)
    return epoch, published


async def begin_epoch(connection: Connection, reason: str, seen: Seen) -> int:
    """Begin an epoch above all that readers know, and move to it what waits in the outbox; within a transaction."""
    # No batch may read the old epoch and commit after the balances are read.
    await connection.execute(*queries.lock_all_accounts())
    epoch: int = await connection.fetchval(*queries.raise_epoch(reason=reason, above=seen.epoch))
    await _restate_waiting(connection, epoch)
    return epoch


async def _restate_waiting(connection: Connection, epoch: int) -> None:
    """Put the events that wait under the new epoch: readers may have other events of the same numbers.

    So nothing of earlier epochs counts from the first of them on. What the broker refused before that stays as it is.
    """
    await connection.execute(*queries.delete_outbox_of_topics(topics=[BALANCE]))
    begun: dict[AccountKey, int] = {}
    stream = await connection.cursor(*queries.stream_outbox(topics=sorted(DECIDED_EVENTS)))
    while found := await stream.fetch(_ROWS):
        changed = []
        for row in found:
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
    for some in _portions(sorted(begun)):
        await connection.execute(
            *queries.set_epochs(accounts=some, seqs=[begun[account] for account in some], epoch=epoch)
        )


def _portions(accounts: list[AccountKey]) -> Iterable[list[AccountKey]]:
    return (accounts[n : n + ACCOUNTS_AT_A_TIME] for n in range(0, len(accounts), ACCOUNTS_AT_A_TIME))


async def publish_standing(
    connection: Connection, epoch: int, ce_source: str, lost: Iterable[AccountKey]
) -> int:
    """Publish every balance under an epoch, and nothing at all for accounts that are lost; returns how many."""
    published = 0
    stream = await connection.cursor(*queries.stream_accounts())
    while found := await stream.fetch(ACCOUNTS_AT_A_TIME):
        standing = [(rows.account(row), row["recorded_at"]) for row in found]
        await publish_balances(connection, standing, epoch, ce_source)
        published += len(found)
    now = await connection.fetchval(*queries.read_clock())
    for some in _portions(sorted(lost)):
        # One that came up again meanwhile was published as it stands.
        gone = sorted(await _unknown(connection, set(some)))
        nothing = [(Account(key, 0, 0, 0, GENESIS), now) for key in gone]
        await publish_balances(connection, nothing, epoch, ce_source)
        published += len(gone)
    return published
