"""State of a batch while it is decided, and the rows and reports it produces."""

import math
import time
from collections import Counter, deque
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from avoir.batch.floods import DeadRecord, bounded, summarise
from avoir.batch.outbox import outbox_row
from avoir.core.decide import Decided, decide, expire
from avoir.core.handlers.payments import MISMATCHED
from avoir.core.model.commands import Command
from avoir.core.model.decision import Decision, would_change
from avoir.core.model.events import (
    AccountKey,
    CreditApplied,
    CreditDrawn,
    CreditExpired,
    CreditIssued,
    CreditRefunded,
    CreditVoided,
    Event,
)
from avoir.core.model.ids import derived_id
from avoir.core.model.policy import Policy
from avoir.core.model.rows import InboxKey
from avoir.core.state.draft import Moment
from avoir.core.state.queue import NotLoadedError
from avoir.core.state.references import References
from avoir.core.state.state import State
from avoir.core.undecided import fail, park, printable, problem_of
from avoir.postgres import queries, rows
from avoir.postgres.bodies import command_row
from avoir.postgres.load import FIRST_PAGE, MOST_DUE, Loader
from avoir.postgres.session import Session
from avoir.postgres.write import DeadLetterRow, DecisionRow, Written, headers_columns, write_rest, write_state
from avoir.record import PARKED_WINDOW, BatchReport, Notable, Record, too_many_parked
from avoir.wire.dead_letters import DeadLetter, dead_letter_record
from avoir.wire.incoming import ParsedRecord, UnreadableRecord, ahead
from avoir.wire.outgoing import Outgoing, balance_record, event_record

AMOUNTS = {
    CreditIssued: "issued",
    CreditApplied: "applied",
    CreditVoided: "taken_back",
    CreditExpired: "expired",
    CreditDrawn: "drawn",
    CreditRefunded: "refunded",
}
"""Events whose amounts are counted, with their metric label."""

LATEST_MS = 253_402_300_799_000
"""Last second of the year 9999 in Kafka's milliseconds; a record's timestamp may be later."""

_JSON = msgspec.json.Encoder()

NOTABLE = frozenset({"declined", "parked"})
"""Outcomes logged at once; for dead letters only as many as are kept."""


@dataclass(frozen=True, slots=True)
class Rules:
    """Settings of handling besides the messages: consumer group, widest policy, limits and the events' source.

    `decide_s` limits the seconds that one transaction spends deciding: about twice what a full batch takes, since what
    a longer one leaves is loaded again. `page` is the number of grants in use and open invoices of an account that are
    loaded first. `most_due` limits the grants that expire or begin in one transaction, but one of each account always
    may.
    """

    group_id: str
    policy: Policy = field(default_factory=Policy)
    ce_source: str = "/avoir"
    max_message_bytes: int = 900 * 1024
    max_future: timedelta = timedelta(hours=24)
    decide_s: float = 2.0
    page: int = FIRST_PAGE
    most_due: int = MOST_DUE


class Batch:
    """State of a batch while it is decided, and its results."""

    def __init__(
        self, session: Session, rules: Rules, moment: Moment, accounts: list[Any], state: State | None = None
    ) -> None:
        self._session = session
        self._rules = rules
        self._moment = moment
        self._accounts = accounts
        self.written = Written()
        self._last: dict[AccountKey, Event] = {}
        self._decided: Counter[tuple[str, str]] = Counter()
        self._amounts: Counter[tuple[str, str]] = Counter()
        self._alarms: Counter[str] = Counter()
        self._notable: list[Notable] = []
        self._dead_records: list[DeadRecord] = []
        self._window: deque[bool] = deque([False] * PARKED_WINDOW)
        self._next_position = 0
        self._parked_in_window = 0
        self.state = State.empty() if state is None else state

    @classmethod
    async def locked(cls, session: Session, rules: Rules, accounts: Collection[AccountKey]) -> "Batch":
        """Lock the accounts and begin a batch; its time is the database clock, but never before theirs."""
        account_rows = await session.fetch_if(*queries.lock_accounts(accounts=accounts))
        # The clock is read after the last lock, so that the order of moments is the order of locks. It may still be
        # behind an account's last entry: a restored or promoted database can have another clock.
        clock, epoch = (await session.fetch(*queries.read_moment()))[0]
        now = max((row["recorded_at"] for row in account_rows), default=clock)
        return cls(
            session,
            rules,
            Moment(max(clock, now), epoch, rules.policy),
            list(map(rows.account, account_rows)),
        )

    async def load(self, references: References, accounts: Collection[AccountKey]) -> None:
        """Start with the state that deciding needs, as far as it is known."""
        self._loader = Loader(self._session, references, accounts, self._rules.page, self._rules.most_due)
        self.state = await self._loader.load(self._moment.now)
        self.state.add(self._accounts)
        self.state.mark_known()

    def fork(self) -> "Batch":
        """Fork for the following messages; its decisions count once merged."""
        part = Batch(self._session, self._rules, self._moment, [], self.state.fork())
        part._loader = self._loader
        part._window, part._parked_in_window = self._window.copy(), self._parked_in_window
        part._next_position = self._next_position
        return part

    def merge(self, part: "Batch") -> None:
        """Merge the decisions of a part into this batch."""
        self.state.merge(part.state)
        self.written.extend(part.written)
        self._dead_records += part._dead_records
        self._last |= part._last
        self._window, self._parked_in_window, self._next_position = (
            part._window,
            part._parked_in_window,
            part._next_position,
        )
        self._decided += part._decided
        self._amounts += part._amounts
        self._alarms += part._alarms
        self._notable += part._notable

    def remember(self, seen: dict[InboxKey, bytes]) -> None:
        """Register event ids that were handled before."""
        for key, contents in seen.items():
            self.state.put("inbox", key, contents)

    async def expire(self, accounts: Iterable[AccountKey]) -> bool:
        """Expire what is overdue in the accounts, before any message is decided; returns whether more may be overdue.

        Then the rest must expire, in another transaction, before a message is decided.
        """
        draft = await self._loader.complete(self.state, lambda: expire(self.state, accounts, self._moment))
        self._publish(draft.events)
        self.written.entries += draft.entries
        return self._loader.is_more_due and bool(draft.events)

    async def decide(
        self,
        messages: Sequence[ParsedRecord | UnreadableRecord],
        until: float = math.inf,
        parked: str | None = None,
    ) -> int:
        """Decide messages, or park them for a reason; returns the number decided.

        Ends early, but not before the first, once the monotonic clock passes `until` or too many were parked. A message
        on which the code fails is parked alone.
        """
        done = 0

        def decide_on() -> int:
            nonlocal done
            while done < len(messages) and not (self.is_halted or (done and time.monotonic() > until)):
                self._decide(messages[done], parked)
                done += 1
            return done

        return await self._loader.complete(self.state, decide_on)

    @property
    def is_halted(self) -> bool:
        """Check whether too many of the last messages were parked."""
        return too_many_parked(self._parked_in_window, PARKED_WINDOW)

    def _decide(self, each: ParsedRecord | UnreadableRecord, parked: str | None) -> None:
        if isinstance(each, ParsedRecord):
            each = ahead(each, self._moment.now, self._rules.max_future) or each
        if isinstance(each, UnreadableRecord):
            self._dead_letter(each.record, _rejected(each), printable(each.problem))
        elif parked is not None:
            self._dead_letter(each.record, park(each.message, parked), parked)
        else:
            self._decide_message(each)

    def _decide_message(self, each: ParsedRecord) -> None:
        try:
            decided = decide(self.state, each.message, self._moment)
        except (NotLoadedError, MemoryError):
            # Other messages may have used up the memory: `Doubt` finds out whether this one alone needs too much.
            raise
        except Exception as error:
            self._dead_letter(each.record, fail(each.message, error), problem_of(error))
            return
        if decided.decision.outcome == "conflict":
            self._dead_letter(each.record, decided.decision, "conflict")
            return
        if isinstance(each.message.body, Command) and decided.decision.outcome != "duplicate":
            self.written.commands.append(command_row(each.message, each.message.body))
        self._merge_decided(each.record, decided)

    def _merge_decided(self, record: Record, decided: Decided) -> None:
        self.written.entries += decided.entries
        self._publish(decided.events)
        self._add_decision(record, decided.decision)

    def _publish(self, events: Sequence[Event]) -> None:
        for event in events:
            self._add_to_outbox(event.tenant_id, event_record(event, self._rules.ce_source))
            label = AMOUNTS.get(type(event.body))
            if event.account is not None:
                self._last[event.account] = event
                if label is not None:
                    self._amounts[label, event.account.currency] += event.body.amount  # type: ignore[union-attr]

    def _add_to_outbox(self, tenant_id: str, record: Outgoing | DeadLetter) -> None:
        self.written.outbox.append(outbox_row(tenant_id, record, self._moment.now))

    def _add_decision(self, record: Record, decision: Decision) -> None:
        self.written.decisions.append(
            DecisionRow(
                tenant_id=decision.tenant_id,
                topic=record.topic,
                partition=record.partition,
                kafka_offset=record.offset,
                event_id=decision.event_id,
                occurred_at=decision.occurred_at,
                recorded_at=self._moment.now,
                outcome=decision.outcome,
                reason=decision.reason,
                facts=_JSON.encode(decision.facts).decode(),
                policy=_JSON.encode(decision.policy).decode(),
                would_change_it=decision.would_change_it,
                subject_kind=decision.subject_kind,
                subject_id=decision.subject_id,
                position=self._next_position,
            )
        )
        self._next_position += 1
        self._decided[record.topic, decision.outcome] += 1
        self._window.append(decision.outcome == "parked")
        self._parked_in_window += self._window[-1] - self._window.popleft()
        mismatched = decision.reason == "currency_mismatch" and decision.subject_kind == "payment"
        if mismatched or MISMATCHED in decision.facts:
            self._alarms["currency_mismatch"] += 1
        if decision.outcome in NOTABLE:
            self._note(record, decision)

    def _note(self, record: Record, decision: Decision) -> None:
        self._notable.append(
            Notable(record.topic, decision.event_id, decision.tenant_id, decision.outcome, decision.reason)
        )

    def _dead_letter(self, record: Record, decision: Decision, reason: str) -> None:
        """Dead-letter a message: at once if Avoir is at fault, the others once their number is known."""
        self._add_decision(record, decision)
        if decision.outcome == "parked":
            self._add_dead_letter(record, decision, reason)
        else:
            self._dead_records.append(DeadRecord(record, decision, reason))

    def _add_dead_letter(self, record: Record, decision: Decision, reason: str) -> None:
        cut = record.cut
        now = self._moment.now
        place = (record.topic, record.partition, record.offset)
        dead_letter_id = derived_id("dead-letter", *place, now.isoformat())
        header_names, header_values = headers_columns(record.headers)
        self.written.dead_letters.append(
            DeadLetterRow(
                tenant_id=decision.tenant_id,
                dead_letter_id=dead_letter_id,
                outcome=decision.outcome,
                reason=reason,
                event_id=decision.event_id,
                topic=record.topic,
                partition=record.partition,
                kafka_offset=record.offset,
                kafka_timestamp=datetime.fromtimestamp(
                    min(max(record.timestamp_ms, 0), LATEST_MS) / 1000, UTC
                ),
                key=record.key,
                value=record.value,
                header_names=header_names,
                header_values=header_values,
                recorded_at=now,
                first_offset=cut.first_offset if cut else None,
                messages=cut.messages if cut else 1,
                value_length=cut.length if cut else None,
                sha256=cut.sha256 if cut else None,
            )
        )
        dead_letter = dead_letter_record(record, reason, dead_letter_id, self._rules.max_message_bytes)
        self._add_to_outbox(decision.tenant_id, dead_letter)

    async def _add_dead_letters(self) -> None:
        """Keep what the minute has room for and summarise the rest.

        Of the rest, a message without an event id leaves no decision: nobody could look it up.
        """
        if not self._dead_records:
            return
        kept, overflow = await bounded(self._session, self._dead_records, self._moment.now)
        for dead in kept:
            self._add_dead_letter(*dead)
            self._note(dead.record, dead.decision)
        if overflow:
            without_id = {
                (each.record.topic, each.record.partition, each.record.offset)
                for each in overflow
                if not each.decision.event_id
            }
            self.written.decisions = [
                row
                for row in self.written.decisions
                if (row.topic, row.partition, row.kafka_offset) not in without_id
            ]
            for flood in await summarise(self._session, [each.record for each in overflow], self._moment.now):
                reason = f"{flood.messages} messages, offsets {flood.first_offset} to {flood.last_offset}"
                self._notable.append(Notable(flood.topic, "", "", "summarised", reason))

    async def write(self) -> None:
        """Write all that was decided, with the latest balance of each account that an event touched."""
        for key, event in self._last.items():
            account = self.state.accounts[key]
            balance = account.balance(event.event_id, self._moment.epoch, self._moment.now)
            self._add_to_outbox(key.tenant_id, balance_record(balance, self._rules.ce_source))
        await write_state(self._session, self.state, self._moment.now)
        # Locked last: the next batch with a dead letter of the topic waits from here to the COMMIT.
        await self._add_dead_letters()
        await write_rest(self._session, self.written)

    def report(self, messages: int) -> BatchReport:
        """Report of the batch."""
        return BatchReport(
            messages=messages,
            decisions=self._decided,
            amounts=self._amounts,
            notable=self._notable,
            statements=self._session.statements,
            alarms=self._alarms,
        )


def _rejected(each: UnreadableRecord) -> Decision:
    subject = ("message", each.event_id) if each.message is None else each.message.body.subject
    return Decision(
        tenant_id=each.tenant_id,
        topic=each.record.topic,
        event_id=each.event_id,
        occurred_at=None,
        outcome="rejected",
        reason="malformed",
        facts={"problem": printable(each.problem)},
        policy={},
        would_change_it=would_change("malformed"),
        subject_kind=subject[0],
        subject_id=subject[1],
    )


def bare(record: Record) -> UnreadableRecord:
    """Reduced form of a record that could not be kept whole: partition, offset, key and value."""
    record = replace(record, headers=(), timestamp_ms=0)
    return UnreadableRecord(record, "could not be kept with its headers: only key and value are", "", "")
