"""One batch, one transaction: claim, lock, load, decide, write."""

import time
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

import asyncpg
import structlog

from avoir.batch import Batch, Rules, bare
from avoir.core.events import AccountKey
from avoir.core.rows import InboxKey
from avoir.core.state import State
from avoir.core.undecided import brief
from avoir.kafka.translate import Incoming, Unreadable, parse
from avoir.postgres import queries, rows
from avoir.postgres.connect import KeptConnection
from avoir.postgres.named import Named, columns
from avoir.postgres.session import Session
from avoir.record import (
    PARKED_WINDOW,
    BatchReport,
    Fenced,
    Notable,
    Positions,
    Record,
    TopicPartition,
    too_many_parked,
)

PLANS_LAST = 50_000
"""How many messages a plan serves at most; where the database gathers statistics it is made anew before."""

log = structlog.get_logger("avoir.handle")


class _Cut(Exception):
    """What is `decided` of a batch goes by itself: it took long, or (`halted`) too much of it was parked."""

    def __init__(self, decided: int, *, halted: bool = False) -> None:
        super().__init__(decided)
        self.decided = decided
        self.halted = halted


class Handler:
    """Handles batches of records, each in one transaction; not for two tasks at once."""

    def __init__(self, connection: KeptConnection, rules: Rules) -> None:
        self._connection = connection
        self._rules = rules
        self._handled = self._plan_anew_at = 0

    async def handle(self, records: Sequence[Record], positions: Positions) -> BatchReport:
        """Handle records, in their order, and move the consumer's positions on in the same transaction.

        `positions` holds the expected next offset of each of their partitions. Raises Fenced where the stored
        positions differ. Errors of the data or the code split the batch until one message is alone, which is parked;
        errors of connection and resources are the caller's to retry.
        """
        parsed = [parse(record, self._rules.max_message_bytes) for record in records]
        return await self._handle(parsed, dict(positions))

    async def expire(self, limit: int) -> BatchReport:
        """Expire overdue credit of a bounded number of accounts; of no messages where there is nothing to do."""
        async with self._connection.use() as connection:
            found = await connection.fetch(queries.read_accounts_to_expire, limit)
        return await self._expire(sorted({rows.account_key(row) for row in found}))

    async def _expire(self, accounts: Sequence[AccountKey]) -> BatchReport:
        if not accounts:
            return BatchReport(0)
        try:
            return await self._expire_together(accounts)
        except Exception as error:
            if not _is_of_the_data(error):
                raise
            if len(accounts) == 1:
                return BatchReport(0, alarms={"expiry_failed": 1}, notable=[_not_expired(accounts[0], error)])
        half = len(accounts) // 2
        return merged(await self._expire(accounts[:half]), await self._expire(accounts[half:]))

    async def _expire_together(self, accounts: Sequence[AccountKey]) -> BatchReport:
        async with self._connection.use() as connection, connection.transaction():
            session = Session(connection)
            batch = await Batch.locked(session, self._rules, accounts)
            await batch.load(Named(), accounts)
            await batch.expire(accounts)
            await batch.write()
        return batch.report(len(accounts))

    async def _handle(
        self, parsed: Sequence[Incoming | Unreadable], positions: dict[TopicPartition, int]
    ) -> BatchReport:
        try:
            return await self._transact(parsed, positions)
        except _Cut as cut:
            part = cut.decided
            if cut.halted:
                return replace(await self._handle(parsed[:part], positions), halted=True)
        except Exception as error:
            if not _is_of_the_data(error):
                raise
            if len(parsed) == 1:
                return await self._park(parsed[0], positions, brief(error))
            part = len(parsed) // 2
        first = await self._handle(parsed[:part], positions)
        if first.halted or not first.complete:
            return first
        if too_many_parked(first.parked, first.messages):
            return replace(first, halted=True)
        try:
            second = await self._handle(parsed[part:], positions | _next_offsets(parsed[:part]))
        except Exception as error:
            # What is committed must be reported; the rest is read again, and meets the error by itself.
            log.warning("a part of a batch was not handled yet", error=brief(error))
            return replace(first, complete=False)
        return merged(first, second)

    async def _park(
        self, each: Incoming | Unreadable, positions: dict[TopicPartition, int], reason: str
    ) -> BatchReport:
        try:
            return await self._transact([each], positions, parked=reason)
        except Exception as error:
            if not _is_of_the_data(error):
                raise
            return await self._transact([bare(each)], positions, parked=reason)

    async def _transact(
        self,
        parsed: Sequence[Incoming | Unreadable],
        positions: dict[TopicPartition, int],
        parked: str | None = None,
    ) -> BatchReport:
        async with self._connection.use() as connection, connection.transaction():
            session = Session(connection)
            await self._plan_anew(session, len(parsed))
            await self._advance(session, parsed, positions)
            named = Named()
            for each in parsed:
                if isinstance(each, Incoming) and parked is None:
                    named.add(each.message)
            seen = await _claim(session, named)
            accounts = await _lock(session, named)
            batch = await Batch.locked(session, self._rules, accounts)
            await batch.load(named, accounts)
            batch.remember(seen)
            await batch.expire(accounts)
            await self._decide_all(batch, parsed, parked)
            await _settle_claims(session, named, seen, batch.state)
            await batch.write()
        return batch.report(len(parsed))

    async def _decide_all(
        self, batch: Batch, parsed: Sequence[Incoming | Unreadable], parked: str | None
    ) -> None:
        until = time.monotonic() + self._rules.decide_s
        for decided, each in enumerate(parsed):
            if decided and time.monotonic() > until:
                raise _Cut(decided)
            if too_many_parked(batch.parked_lately, PARKED_WINDOW):
                raise _Cut(decided, halted=True)
            await batch.decide(each, parked)

    async def _plan_anew(self, session: Session, messages: int) -> None:
        """Forget the plans of statements and foreign keys when the tables may have doubled since they were made."""
        if self._handled >= self._plan_anew_at:
            await session.fetch(queries.forget_plans)
            self._plan_anew_at = self._handled + min(max(self._handled, messages), PLANS_LAST)
        self._handled += messages

    async def _advance(
        self, session: Session, parsed: Sequence[Incoming | Unreadable], positions: dict[TopicPartition, int]
    ) -> None:
        following = _next_offsets(parsed)
        places = sorted(following)
        names, partitions = [place.topic for place in places], [place.partition for place in places]
        await session.fetch(queries.lock_offsets, self._rules.group_id, names, partitions)
        moved = await session.fetch(
            queries.advance_offsets,
            self._rules.group_id,
            names,
            partitions,
            [following[place] for place in places],
            [positions[place] for place in places],
        )
        if len(moved) != len(places):
            raise Fenced(f"{len(places) - len(moved)} of {len(places)} partitions moved on")


def _next_offsets(parsed: Iterable[Incoming | Unreadable]) -> dict[TopicPartition, int]:
    return {
        TopicPartition(each.record.topic, each.record.partition): each.record.offset + 1 for each in parsed
    }


def _is_of_the_data(error: Exception) -> bool:
    """Whether an error comes from what was handled, or the code on it: not from connections, resources, positions."""
    if isinstance(error, asyncpg.PostgresError):
        return str(error.sqlstate or "")[:2] in ("22", "23")
    return not isinstance(error, asyncpg.InterfaceError | asyncpg.InternalClientError | OSError | Fenced)


def _not_expired(account: AccountKey, error: Exception) -> Notable:
    return Notable("expiry", "", account.tenant_id, "failed", brief(error))


async def _claim(session: Session, named: Named) -> dict[InboxKey, bytes]:
    keys = sorted(named.inbox)
    if not keys:
        return {}
    asked = columns(keys, 3)
    claimed = await session.fetch(queries.claim_inbox, *asked, [named.inbox[key] for key in keys])
    known = set(keys) - {InboxKey(*row) for row in claimed}
    held = await session.fetch_if(queries.read_inbox, *columns(known, 3))
    return {InboxKey(row["tenant_id"], row["topic"], row["event_id"]): row["contents"] for row in held}


async def _settle_claims(session: Session, named: Named, seen: dict[InboxKey, bytes], state: State) -> None:
    """Give claims back whose messages were all dead-lettered; correct those that a later message took."""
    claimed = {key: contents for key, contents in named.inbox.items() if key not in seen}
    unused = [key for key in claimed if state.inbox.get(key) is None]
    other = sorted(key for key, contents in claimed.items() if state.inbox.get(key) not in (None, contents))
    await session.execute_if(queries.release_inbox, *columns(unused, 3))
    await session.execute_if(queries.reclaim_inbox, *columns(other, 3), [state.inbox[key] for key in other])


async def _lock(session: Session, named: Named) -> list[AccountKey]:
    """Lock what the messages name, each kind in one order; returns the accounts that this leads to, in theirs."""
    await _lock_subjects(session, named.locked_first)
    billed = await session.fetch_if(queries.read_subjects_of_invoices, *columns(named.voided, 2))
    named.add_subjects(billed)
    await _lock_subjects(session, named.subjects)
    billed_only = named.subjects - named.changing
    named.add_changing(await session.fetch_if(queries.read_changed, *columns(billed_only, 3)))
    concerned = await session.fetch_if(
        queries.read_accounts_concerned,
        *columns(named.changing, 3),
        *columns(named.voided, 2),
        *columns(((key.tenant_id, key.id) for key in named.reversed), 2),
        *columns(named.applications, 2),
        *columns({*named.finalized, *named.voided}, 2),
        *columns(named.grants, 2),
    )
    await session.execute_if(queries.add_accounts, *columns(named.accounts, 4))
    return sorted(named.accounts | {rows.account_key(row) for row in concerned})


async def _lock_subjects(session: Session, keys: Collection[tuple[str, str, str]]) -> None:
    added = await session.fetch_if(queries.add_subjects, *columns(keys, 3))
    known = set(keys).difference(map(tuple, added))
    await session.fetch_if(queries.lock_subjects, *columns(known, 3))


def merged(first: BatchReport, second: BatchReport) -> BatchReport:
    """Two reports as one."""
    return BatchReport(
        messages=first.messages + second.messages,
        decisions=Counter(first.decisions) + Counter(second.decisions),
        amounts=Counter(first.amounts) + Counter(second.amounts),
        notable=[*first.notable, *second.notable],
        statements=first.statements + second.statements,
        alarms=Counter(first.alarms) + Counter(second.alarms),
        halted=second.halted,
        complete=second.complete,
    )
