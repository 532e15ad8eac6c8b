"""One batch, one transaction: claim, lock, load, decide, write."""

import json
import time
from collections import Counter, deque
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid5

import asyncpg

from avoir.core.decide import Decided, decide, expire
from avoir.core.decision import Decision, would_change
from avoir.core.draft import NAMESPACE, Moment
from avoir.core.events import (
    AccountKey,
    Balance,
    CreditApplied,
    CreditExpired,
    CreditIssued,
    CreditVoided,
    Event,
)
from avoir.core.policy import Policy
from avoir.core.state import InboxKey, State
from avoir.kafka.translate import Incoming, Unreadable, ahead, parse
from avoir.kafka.translate_dead_letters import dead_letter_record
from avoir.kafka.translate_events import balance_record, event_record
from avoir.postgres import queries, rows
from avoir.postgres.connect import KeptConnection
from avoir.postgres.load import Named, columns, load
from avoir.postgres.session import Session
from avoir.postgres.write import Written, headers_columns, write
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

AMOUNTS = {
    CreditIssued: "issued",
    CreditApplied: "applied",
    CreditVoided: "taken_back",
    CreditExpired: "expired",
}
"""The events whose amounts are counted, and as what."""

NOTABLE = frozenset({"declined", "rejected", "conflict", "parked"})
DEAD_LETTERED = frozenset({"rejected", "conflict", "parked"})


@dataclass(frozen=True, slots=True)
class Rules:
    """What handling depends on besides the messages: consumer group, widest policy, limits and the events' source.

    `decide_s` bounds how long one transaction may spend on deciding; it is below what the database allows an idle
    transaction (`AVOIR_POSTGRES_IDLE_IN_TRANSACTION_S`), and a batch that needs more is handled in parts.
    """

    group_id: str
    policy: Policy = field(default_factory=Policy)
    ce_source: str = "/avoir"
    max_message_bytes: int = 900 * 1024
    max_future: timedelta = timedelta(hours=24)
    decide_s: float = 4.0


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

    async def handle(self, records: Sequence[Record], positions: Positions) -> BatchReport:
        """Handle records, in their order, and move the consumer's positions on in the same transaction.

        `positions` holds the expected next offset of each of their partitions. Raises Fenced where the stored
        positions differ. Errors of the data split the batch until one message is alone, which is parked;
        errors of connection and resources are the caller's to retry.
        """
        parsed = [parse(record, self._rules.max_message_bytes) for record in records]
        return await self._handle(parsed, dict(positions))

    async def expire(self, limit: int) -> BatchReport:
        """Expire overdue credit of a bounded number of accounts; of no messages where there is nothing to do."""
        async with self._connection.use() as connection, connection.transaction():
            session = Session(connection)
            found = await session.fetch(queries.read_accounts_to_expire, limit)
            accounts = {rows.account_key(row) for row in found}
            if not accounts:
                return BatchReport(0)
            batch = await _Batch.locked(session, self._rules, accounts)
            batch.load(await load(session, Named(), accounts))
            batch.expire(accounts)
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
                return replace(await self._transact(parsed[:part], positions), halted=True)
        except asyncpg.PostgresError as error:
            if not _is_data_error(error):
                raise
            if len(parsed) == 1:
                return await self._transact(parsed, positions, parked=_brief(error))
            part = len(parsed) // 2
        first = await self._handle(parsed[:part], positions)
        if first.halted or too_many_parked(first.parked, first.messages):
            return replace(first, halted=True)
        second = await self._handle(parsed[part:], positions | _next_offsets(parsed[:part]))
        return merged(first, second)

    async def _transact(
        self,
        parsed: Sequence[Incoming | Unreadable],
        positions: dict[TopicPartition, int],
        parked: str | None = None,
    ) -> BatchReport:
        async with self._connection.use() as connection, connection.transaction():
            session = Session(connection)
            await self._advance(session, parsed, positions)
            named = Named()
            for each in parsed:
                if isinstance(each, Incoming) and parked is None:
                    named.add(each.message)
            seen = await _claim(session, named)
            accounts = await _lock(session, named)
            batch = await _Batch.locked(session, self._rules, accounts)
            batch.load(await load(session, named, accounts))
            batch.remember(seen)
            batch.expire(accounts)
            self._decide_all(batch, parsed, parked)
            await _settle_claims(session, named, seen, batch.state)
            await batch.write()
        return batch.report(len(parsed))

    def _decide_all(
        self, batch: "_Batch", parsed: Sequence[Incoming | Unreadable], parked: str | None
    ) -> None:
        until = time.monotonic() + self._rules.decide_s
        for decided, each in enumerate(parsed):
            if decided and time.monotonic() > until:
                raise _Cut(decided)
            if too_many_parked(batch.parked_lately, PARKED_WINDOW):
                raise _Cut(decided, halted=True)
            batch.decide(each, parked)

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


def _is_data_error(error: asyncpg.PostgresError) -> bool:
    return str(error.sqlstate or "")[:2] in ("22", "23")


def _brief(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:500]


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


async def _lock(session: Session, named: Named) -> set[AccountKey]:
    """Lock what the messages name, then the accounts that this leads to, each kind in one order."""
    first = columns(named.locked_first, 3)
    await session.execute_if(queries.add_subjects, *first)
    await session.fetch_if(queries.lock_subjects, *first)
    billed = await session.fetch_if(queries.read_subjects_of_invoices, *columns(named.voided, 2))
    named.add_subjects(billed)
    subjects = columns(named.subjects, 3)
    await session.execute_if(queries.add_subjects, *subjects)
    await session.fetch_if(queries.lock_subjects, *subjects)
    concerned = await session.fetch_if(
        queries.read_accounts_concerned,
        *subjects,
        *columns(named.voided, 2),
        *columns(((key.tenant_id, key.id) for key in named.reversed), 2),
        *columns(named.applications, 2),
    )
    await session.execute_if(queries.add_accounts, *columns(named.accounts, 4))
    return named.accounts | {rows.account_key(row) for row in concerned}


class _Batch:
    """The state of a batch while it is decided, and what it will write."""

    def __init__(self, session: Session, rules: Rules, moment: Moment, accounts: list[Any]) -> None:
        self._session = session
        self._rules = rules
        self._moment = moment
        self._accounts = accounts
        self._written = Written()
        self._last: dict[AccountKey, Event] = {}
        self._decided: Counter[tuple[str, str]] = Counter()
        self._amounts: Counter[tuple[str, str]] = Counter()
        self._alarms: Counter[str] = Counter()
        self._notable: list[Notable] = []
        self._parked_lately: deque[bool] = deque(maxlen=PARKED_WINDOW)
        self.state = State.empty()

    @classmethod
    async def locked(cls, session: Session, rules: Rules, accounts: Collection[AccountKey]) -> "_Batch":
        """A batch whose accounts are locked; its time is the database clock, never before theirs."""
        found = await session.fetch_if(queries.lock_accounts, *columns(accounts, 4))
        clock, epoch = (await session.fetch(queries.read_moment))[0]
        now = max((row["recorded_at"] for row in found), default=clock)
        return cls(
            session, rules, Moment(max(clock, now), epoch, rules.policy), list(map(rows.account, found))
        )

    @property
    def parked_lately(self) -> int:
        """How many of the last messages were parked."""
        return sum(self._parked_lately)

    def load(self, state: State) -> None:
        """Begin with a loaded state."""
        state.add(self._accounts)
        self.state = state.fork()

    def remember(self, seen: dict[InboxKey, bytes]) -> None:
        """Take in the event ids that were handled before."""
        for key, contents in seen.items():
            self.state.inbox.put(key, contents)

    def expire(self, accounts: Iterable[AccountKey]) -> None:
        """Expire what is overdue in the accounts, before any message counts."""
        draft = expire(self.state, accounts, self._moment)
        self.state.take_over(draft.state)
        self._publish(draft.events)
        self._written.entries += draft.entries

    def decide(self, each: Incoming | Unreadable, parked: str | None) -> None:
        """Decide one message; one that the code fails on is parked alone."""
        if isinstance(each, Incoming):
            each = ahead(each, self._moment.now, self._rules.max_future) or each
        if isinstance(each, Unreadable):
            self._dead_letter(each.record, _rejected(each), each.problem)
        elif parked is not None:
            self._dead_letter(each.record, _parked(each), parked)
        else:
            self._decide(each)

    def _decide(self, each: Incoming) -> None:
        try:
            decided = decide(self.state, each.message, self._moment)
        except Exception as error:
            self._dead_letter(each.record, _parked(each), _brief(error))
            return
        if decided.decision.outcome == "conflict":
            self._dead_letter(each.record, decided.decision, "conflict")
            return
        self._take_over(each.record, decided)

    def _take_over(self, record: Record, decided: Decided) -> None:
        self.state.take_over(decided.state)
        self._written.entries += decided.entries
        self._publish(decided.events)
        self._keep(record, decided.decision)

    def _publish(self, events: Sequence[Event]) -> None:
        for event in events:
            out = event_record(event, self._rules.ce_source)
            self._put_out(event.tenant_id, out.topic, out.key, out.value, out.headers)
            counted = AMOUNTS.get(type(event.body))
            if event.account is not None:
                self._last[event.account] = event
                if counted is not None:
                    self._amounts[counted, event.account.currency] += event.body.amount  # type: ignore[union-attr]

    def _put_out(
        self,
        tenant_id: str,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        headers: Iterable[tuple[str, bytes | None]],
    ) -> None:
        self._written.outbox.append(
            (tenant_id, topic, key, value, *headers_columns(headers), self._moment.now)
        )

    def _keep(self, record: Record, decision: Decision) -> None:
        place = (record.topic, record.partition, record.offset)
        self._written.decisions.append(
            (
                decision.tenant_id,
                uuid5(NAMESPACE, "\x1f".join(map(str, ("decision", *place)))),
                *place,
                decision.event_id,
                decision.occurred_at,
                self._moment.now,
                decision.outcome,
                decision.reason,
                json.dumps(decision.facts),
                json.dumps(decision.policy),
                decision.would_change_it,
                decision.subject_kind,
                decision.subject_id,
            )
        )
        self._decided[record.topic, decision.outcome] += 1
        self._parked_lately.append(decision.outcome == "parked")
        if decision.reason == "currency_mismatch" and decision.subject_kind == "payment":
            self._alarms["currency_mismatch"] += 1
        if decision.outcome in NOTABLE:
            self._notable.append(
                Notable(
                    record.topic, decision.event_id, decision.tenant_id, decision.outcome, decision.reason
                )
            )

    def _dead_letter(self, record: Record, decision: Decision, reason: str) -> None:
        place = (record.topic, record.partition, record.offset)
        now = self._moment.now
        dead_letter_id = uuid5(NAMESPACE, "\x1f".join(map(str, ("dead-letter", *place, now.isoformat()))))
        self._written.dead_letters.append(
            (
                decision.tenant_id,
                dead_letter_id,
                decision.outcome,
                reason,
                decision.event_id,
                *place,
                datetime.fromtimestamp(max(record.timestamp_ms, 0) / 1000, UTC),
                record.key,
                record.value,
                *headers_columns(record.headers),
                now,
            )
        )
        out = dead_letter_record(record, reason, dead_letter_id, self._rules.max_message_bytes)
        self._put_out(decision.tenant_id, out.topic, out.key, out.value, out.headers)
        self._keep(record, decision)

    async def write(self) -> None:
        """Write all that was decided, with the latest balance of each account that an event touched."""
        for key, event in self._last.items():
            account = self.state.accounts[key]
            balance = Balance(
                event_id=event.event_id,
                account=key,
                available=account.available,
                reserved=account.reserved,
                as_of=self._moment.now,
                epoch=self._moment.epoch,
                seq=account.seq,
                head=account.head,
            )
            out = balance_record(balance, self._rules.ce_source)
            self._put_out(key.tenant_id, out.topic, out.key, out.value, out.headers)
        await write(self._session, self.state, self._written, self._moment.now)

    def report(self, messages: int) -> BatchReport:
        """What the batch did."""
        return BatchReport(
            messages=messages,
            decisions=self._decided,
            amounts=self._amounts,
            notable=self._notable,
            statements=self._session.statements,
            alarms=self._alarms,
        )


def _rejected(each: Unreadable) -> Decision:
    return Decision(
        tenant_id=each.tenant_id,
        topic=each.record.topic,
        event_id=each.event_id,
        occurred_at=None,
        outcome="rejected",
        reason="malformed",
        facts={"problem": each.problem},
        policy={},
        would_change_it=would_change("malformed"),
        subject_kind="message",
        subject_id=each.event_id,
    )


def _parked(each: Incoming) -> Decision:
    message = each.message
    return Decision(
        tenant_id=message.tenant_id,
        topic=message.topic,
        event_id=message.event_id,
        occurred_at=message.occurred_at,
        outcome="parked",
        reason="parked",
        facts={},
        policy={},
        would_change_it=would_change("parked"),
        subject_kind="message",
        subject_id=message.event_id,
    )


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
    )
