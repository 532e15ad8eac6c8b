"""One batch, one transaction: claim, lock, load, decide, write."""

import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import TypeAlias

import asyncpg
import structlog

from avoir.batch.batch import Batch, Rules, bare
from avoir.batch.claims import advance, claim, fence, lock, settle_claims
from avoir.batch.deferral import Deferral
from avoir.batch.doubt import Doubt
from avoir.batch.locked import Row
from avoir.batch.parts import Parts
from avoir.batch.portion import portion
from avoir.core.model.events import AccountKey
from avoir.core.state.references import References
from avoir.core.undecided import brief
from avoir.postgres import queries, rows
from avoir.postgres.connect import KeptConnection
from avoir.postgres.session import Session
from avoir.record import (
    BatchReport,
    Doubted,
    Notable,
    Positions,
    Record,
    TopicPartition,
    merged,
    next_offsets,
    too_many_parked,
)
from avoir.retry import Cause, cause_of
from avoir.wire.incoming import ParsedRecord, UnreadableRecord, parse

MAX_MESSAGES_PER_PLAN = 50_000
"""Maximum messages served by one plan; when the database gathers statistics, it replans sooner."""

MAX_BATCH_S = 10.0
"""Time after which a batch in many parts leaves the rest to the next one: far below the group's limit."""

PROBE = random.Random(0).randbytes(4096)
"""A row that does not fit beside others and can't be compressed, so the database has to find room for it."""

Messages: TypeAlias = Sequence[ParsedRecord | UnreadableRecord]
Accounts: TypeAlias = Sequence[AccountKey]
Freed: TypeAlias = frozenset[Row] | None
Decide: TypeAlias = Callable[[Session, Batch, Messages, Accounts], Awaitable[int]]

log = structlog.get_logger("avoir.handle")


class Handler:
    """Handles batches of records, each in one transaction; not for two tasks at once."""

    def __init__(self, connection: KeptConnection, rules: Rules) -> None:
        self._connection = connection
        self._rules = rules
        self._doubt, self._doubt_of_deferred = Doubt(), Doubt()
        self._deferral = Deferral(rules.group_id)
        self._in_parts = False
        self._handled = self._discard_plans_at = 0

    async def handle(self, records: Sequence[Record], positions: Positions) -> BatchReport:
        """Handle records in order and move the positions in the same transaction.

        `positions` holds the expected next offset of each partition. Raises Fenced if the stored positions differ. A
        message on which the code fails, or whose rows the database refuses, is parked. The caller retries other errors
        and reads the positions first; if the database answers and the batch fails again (Doubted), ever smaller parts
        are tried until one message is alone and is parked.
        """
        # Another process may have handled the doubtful messages, and may have their partition now.
        self._doubt.handled(positions)
        for doubt in (self._doubt, self._doubt_of_deferred):
            doubt.keep(positions)
        try:
            before = await self._handle_deferred(positions)
            if before.messages or before.amounts:
                # It is committed, whatever becomes of the others: those are read again.
                return replace(before, complete=before.complete and not records)
            if self._doubt:
                await self._probe()
            return await self._handle_all(records, positions, self._doubt)
        except Exception:
            self._deferral.forget()
            raise

    def has_deferred(self, positions: Positions) -> bool:
        """Check for deferred messages of the partitions; `handle` takes care of them."""
        return self._deferral.may_have(positions.keys())

    def forget(self) -> None:
        """Reload deferred messages: another process may have had the partitions meanwhile."""
        self._deferral.forget()

    async def _handle_deferred(self, positions: Positions) -> BatchReport:
        """Handle messages whose rows are free again, before other messages use those rows."""
        freed = await self._deferral.freed(self._connection, positions.keys())
        if not freed:
            return BatchReport(0)
        if self._doubt_of_deferred:
            await self._probe()
        records = await self._deferral.oldest(self._connection, positions.keys(), freed)
        try:
            report = await self._handle_all(records, positions, self._doubt_of_deferred, freed)
        except Exception as error:
            if cause_of(error) is not Cause.LOCKED:
                raise
            self._deferral.postpone()
            return BatchReport(0)
        self._deferral.handled()
        return report

    async def _handle_all(
        self, records: Sequence[Record], positions: Positions, doubt: Doubt, freed: Freed = None
    ) -> BatchReport:
        """Handle records: a batch, or deferred messages whose rows are `freed`."""
        report, current = BatchReport(0), dict(positions)
        parsed: dict[int, ParsedRecord | UnreadableRecord] = {}
        messages: Messages = ()
        until = time.monotonic() + MAX_BATCH_S
        while (done := report.messages) < len(records):
            if (done or report.amounts) and time.monotonic() > until:
                return replace(report, complete=False)
            part = records[done : done + doubt.size(records[done:])]
            was_in_doubt = bool(doubt)
            try:
                for n, record in enumerate(part, done):
                    if n not in parsed and not doubt.is_settled_on(part):
                        parsed[n] = parse(record, self._rules.max_message_bytes)
                messages = [parsed[n] for n in range(done, done + len(part)) if n in parsed]
                each = await self._handle_part(part, messages, current, doubt, freed)
            except Exception as error:
                if await self._can_continue(error, part, messages, doubt, freed):
                    continue
                if done:
                    # What is committed must be reported. The rest is read again, and raises the error again.
                    log.warning("a part of a batch was not handled yet", error=brief(error))
                    return replace(report, complete=False)
                if was_in_doubt and cause_of(error) is Cause.DOUBTFUL:
                    raise Doubted(f"{len(part)} messages: {brief(error)}") from error
                raise
            moved = next_offsets(part[: each.messages])
            doubt.handled(moved)
            current |= moved if freed is None else {}
            report = merged(report, each)
            if report.halted or too_many_parked(report.parked, report.messages):
                return replace(report, halted=True)
        return report

    async def _can_continue(
        self, error: Exception, part: Sequence[Record], messages: Messages, doubt: Doubt, freed: Freed
    ) -> bool:
        """Register that a part failed; returns whether something else may be tried at once."""
        cause = cause_of(error)
        if cause is Cause.LOCKED:
            if freed is None:
                return await self._defer_locked(part, messages, error)
            if len(part) > 1:
                doubt.failed(part, brief(error))
        if cause in (Cause.DATA, Cause.DOUBTFUL):
            doubt.failed(part, brief(error))
        return cause is Cause.DATA and len(part) > 1

    async def _defer_locked(self, part: Sequence[Record], messages: Messages, error: Exception) -> bool:
        """Check whether messages that met a locked row can be identified, so that the others may go on."""
        if self._deferral.is_full:
            return False
        is_new = await self._deferral.find_locked(self._connection, messages)
        if is_new is not None:
            return is_new
        self._doubt.failed(part, brief(error))
        is_alone = len(messages) == 1
        why = f"{brief(error)} {getattr(error, 'context', None) or ''}"
        return is_alone and await self._deferral.defer_one(self._connection, messages[0], why)

    async def _handle_part(
        self,
        part: Sequence[Record],
        messages: Messages,
        positions: dict[TopicPartition, int],
        doubt: Doubt,
        freed: Freed,
    ) -> BatchReport:
        """Handle the next part of a batch: all of it, or as much as time allows."""
        if doubt.is_settled_on(part):
            return await self._park(part[0], positions, doubt.reason, freed)
        try:
            if not self._in_parts:
                return await self._transact(messages, positions, self._decide, freed)
        except Exception as error:
            if cause_of(error) is not Cause.DATA:
                raise
            if len(part) == 1:
                return await self._park(part[0], positions, brief(error), freed)
        return await self._transact(messages, positions, self._decide_in_parts, freed)

    async def _probe(self) -> None:
        """Probe the database with an unrelated row, and raise its error if it refuses.

        Keeps the connection, so that the next attempt doesn't fail for lack of one.
        """
        async with self._connection.use() as connection, connection.transaction():
            outbox_id = await connection.fetchval(*queries.probe(value=PROBE))
            await connection.execute(*queries.delete_published(tenant_ids=[""], outbox_ids=[outbox_id]))

    async def expire(self, limit: int) -> BatchReport:
        """Expire overdue credit of a limited number of accounts; reports no messages if there was nothing to do."""
        async with self._connection.use() as connection:
            overdue = await connection.fetch(*queries.read_accounts_to_expire(limit=limit))
            accounts = {rows.account_key(row) for row in overdue}
            # Locked accounts are left to the next sweep.
            free = await connection.fetch(*queries.lock_free_accounts(accounts=accounts)) if overdue else []
        return await self._expire(sorted({rows.account_key(row) for row in free}), limit)

    async def _expire(self, accounts: Sequence[AccountKey], limit: int) -> BatchReport:
        if not accounts:
            return BatchReport(0)
        try:
            return await self._expire_together(accounts, limit)
        except Exception as error:
            if cause_of(error) is Cause.DOUBTFUL:
                await self._probe()
            elif cause_of(error) is not Cause.DATA:
                raise
            if len(accounts) == 1:
                return BatchReport(0, alarms={"expiry_failed": 1}, notable=[_not_expired(accounts[0], error)])
        half = len(accounts) // 2
        return merged(await self._expire(accounts[:half], limit), await self._expire(accounts[half:], limit))

    async def _expire_together(self, accounts: Sequence[AccountKey], limit: int) -> BatchReport:
        async with self._connection.use() as connection, connection.transaction():
            session = Session(connection)
            batch = await Batch.locked(session, replace(self._rules, most_due=limit), accounts)
            await batch.load(References(), accounts)
            await batch.expire(accounts)
            await batch.write()
        return batch.report(len(accounts))

    async def _park(
        self, record: Record, positions: dict[TopicPartition, int], reason: str, freed: Freed
    ) -> BatchReport:
        async def park(session: Session, batch: Batch, messages: Messages, _: Accounts) -> int:
            await batch.decide(messages, parked=reason)
            await batch.write()
            return 1

        try:
            each = parse(record, self._rules.max_message_bytes)
            return await self._transact([each], positions, park, freed, parked=record)
        except Exception as error:
            if cause_of(error) not in (Cause.DATA, Cause.DOUBTFUL):
                raise
            return await self._transact([bare(record)], positions, park, freed, parked=record)

    async def _transact(
        self,
        messages: Messages,
        positions: dict[TopicPartition, int],
        decide: Decide,
        freed: Freed,
        *,
        parked: Record | None = None,
    ) -> BatchReport:
        """Handle messages in one transaction, as many as `decide` gets to; or park one, whatever it names."""
        records = [each.record for each in messages] if parked is None else [parked]
        async with self._connection.use() as connection, connection.transaction():
            session = Session(connection)
            await self._discard_old_plans(session, len(messages))
            at = {partition: positions[partition] for partition in next_offsets(records)}
            # Row locks are taken in one order everywhere, so that no two batches wait for each other: offsets, inbox,
            # subjects, accounts, rates of dead letters; each kind sorted by its key.
            await fence(session, self._rules.group_id, at, stopped_too=freed is not None)
            deferred = (
                {} if parked is not None else await self._deferral.select(session, messages, freed or ())
            )
            if deferred and freed is None and self._deferral.is_full:
                messages, deferred = messages[: min(deferred)], {}
                if not messages:
                    raise asyncpg.LockNotAvailableError(
                        "no more messages can be deferred: see `avoir status`"
                    )
                records = records[: len(messages)]
            # Deferred messages claim their event ids, and lock their rows, when they are handled.
            selected = [n for n in range(len(messages)) if n not in deferred]
            incoming = [
                (n, each.message)
                for n in selected
                if parked is None and isinstance(each := messages[n], ParsedRecord)
            ]
            references, end = References.of(message for _, message in incoming), len(messages)
            count = await portion(session, references, [message for _, message in incoming])
            if count < len(incoming):
                end = incoming[count][0]
                selected = [n for n in selected if n < end]
                references = References.of(message for _, message in incoming[:count])
            seen = await claim(session, references)
            accounts = await lock(session, references)
            batch = await Batch.locked(session, self._rules, accounts)
            await batch.load(references, accounts)
            batch.remember(seen)
            decided = await decide(session, batch, [messages[n] for n in selected], accounts)
            await settle_claims(session, references, seen, batch.state)
            end = selected[decided] if decided < len(selected) else end
            deferred = {n: waits for n, waits in deferred.items() if n < end}
            if freed is None:
                await self._deferral.store(session, messages, deferred)
                # In the transaction of the rows: whatever becomes of the COMMIT, both are stored or neither.
                await advance(session, self._rules.group_id, positions, next_offsets(records[:end]))
            else:
                await self._deferral.store_again(session, records[:end], deferred)
        # After the COMMIT: what memory knows of `deferred` must not be ahead of the table.
        if freed is None:
            self._deferral.stored(messages, deferred)
        return replace(batch.report(end), halted=batch.is_halted and end < len(messages))

    async def _decide(self, session: Session, batch: Batch, messages: Messages, accounts: Accounts) -> int:
        """Decide messages and write everything at once; returns the number handled."""
        is_more_due = await batch.expire(accounts)
        decided = 0 if is_more_due else await batch.decide(messages, time.monotonic() + self._rules.decide_s)
        await batch.write()
        return decided

    async def _decide_in_parts(
        self, session: Session, batch: Batch, messages: Messages, accounts: Accounts
    ) -> int:
        """Decide messages in parts, each written before the next; as long as rows are refused, the next batch too."""
        first = batch.fork()
        is_more_due = await first.expire(accounts)
        await first.write()
        batch.merge(first)
        if is_more_due:
            return 0
        parts = Parts(session, batch, messages)
        decided = await parts.handle(time.monotonic() + self._rules.decide_s)
        self._in_parts = parts.refused > 0
        return decided

    async def _discard_old_plans(self, session: Session, messages: int) -> None:
        """Discard the plans of statements and foreign keys when the tables may have doubled since (ADR 0038)."""
        if self._handled >= self._discard_plans_at:
            await session.fetch(*queries.discard_plans())
            self._discard_plans_at = self._handled + min(max(self._handled, messages), MAX_MESSAGES_PER_PLAN)
        self._handled += messages


def _not_expired(account: AccountKey, error: Exception) -> Notable:
    return Notable("expiry", "", account.tenant_id, "failed", brief(error))
