"""Decides messages in order over an empty state, with the passage of time: a history, or a hypothetical one."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from heapq import heappop, heappush
from typing import Any, Literal

from msgspec import Struct, field
from msgspec.structs import replace

from avoir.core.decide import Decided, decide, expire
from avoir.core.model.commands import SetCreditPolicy
from avoir.core.model.events import AccountKey, Event
from avoir.core.model.ledger import Entry
from avoir.core.model.message import Message
from avoir.core.model.policy import REFILL, Policy
from avoir.core.model.rows import Grant, GrantKey
from avoir.core.state.draft import Moment
from avoir.core.state.state import Attempt, State
from avoir.core.undecided import fail

EPOCH = 1
BEGINNING = datetime(1, 1, 1, tzinfo=UTC)

LEARNED = ("auto_apply", "credit_as", "unpaid_change", "expires_after_days", "proration", "time_zone")
"""Policy keys whose widest values are known from decisions: refill keys, per currency, move no credit."""

Flow = Literal["given", "used", "expired", "voided"]

FLOWS: Mapping[str, tuple[Flow, int]] = {
    "issued": ("given", 1),
    "taken_back": ("given", 1),
    "applied": ("used", -1),
    "drawn": ("used", -1),
    "refunded": ("used", -1),
    "expired": ("expired", -1),
    "voided": ("voided", -1),
}
"""Figure that an entry belongs to, by counter account, and the sign that makes it positive.

Entries with other counter accounts move credit within the account.
"""


class Figures(Struct, frozen=True):
    """Figures of one account, in micros: available and reserved are given less used, expired and voided.

    `given` is by source, less what was taken back; `used` is applied, drawn and refunded.
    """

    available: int = 0
    reserved: int = 0
    given: Mapping[str, int] = field(default_factory=dict)
    used: int = 0
    expired: int = 0
    voided: int = 0
    shortfall: int = 0
    due: int = 0


def with_flow(figures: Figures, counter_account: str, source: str, amount: int) -> Figures:
    """Add the total (micros) of entries with this counter account, of grants of this source, to figures."""
    if counter_account not in FLOWS:
        return figures
    flow, sign = FLOWS[counter_account]
    if flow != "given":
        return replace(figures, **{flow: getattr(figures, flow) + sign * amount})
    given = {**figures.given, source: figures.given.get(source, 0) + amount}
    return replace(figures, given={name: each for name, each in given.items() if each})


def add_figures(figures: Figures, others: Figures, sign: Literal[1, -1] = 1) -> Figures:
    """Add two accounts' figures, or subtract with the sign -1."""
    plain = {
        name: getattr(figures, name) + sign * getattr(others, name)
        for name in Figures.__struct_fields__
        if name != "given"
    }
    sources = sorted(figures.given.keys() | others.given.keys())
    given = {each: figures.given.get(each, 0) + sign * others.given.get(each, 0) for each in sources}
    return Figures(**plain, given={source: amount for source, amount in given.items() if amount})


def with_keys(policy: Policy, keys: Mapping[str, Any]) -> Policy:
    """Set policy keys as a message would; None stands for the default value."""
    values = {"refill_currency" if key == "currency" else key: value for key, value in keys.items()}
    return replace(
        policy, **{key: getattr(Policy(), key) if value is None else value for key, value in values.items()}
    )


def learned(policy: Policy, policy_used: Mapping[str, Any], keys: Collection[str] = ()) -> Policy:
    """The widest policy, updated from a decision: from all values that no message had set, except `keys`."""
    narrower = {*policy_used.get("set_by", ()), *keys}
    return replace(
        policy, **{key: policy_used[key] for key in LEARNED if key in policy_used and key not in narrower}
    )


class Simulation(Struct, eq=False):
    """A state over which messages are decided in order; `keys` of the policy apply to everybody.

    `clock` is the current time: grants begin and expire on the way.
    """

    policy: Policy
    keys: Mapping[str, Any] = field(default_factory=dict)
    state: State = field(default_factory=State.empty)
    clock: datetime = BEGINNING
    _moved: dict[AccountKey, Counter[tuple[str, str]]] = field(default_factory=dict)
    _ahead: list[tuple[datetime, AccountKey]] = field(default_factory=list)
    _awaited: set[tuple[datetime, AccountKey]] = field(default_factory=set)

    def decide(
        self, message: Message, now: datetime, policy_used: Mapping[str, Any] | None = None
    ) -> Decided:
        """Decide a message at a time and keep its effects; the clock must have reached that time.

        `policy_used` is the decision's policy, from which the widest scope becomes known. A message on which the code
        fails is parked, and one beyond the limits is rejected, as in the service.
        """
        self.pass_time(now)
        self._learn(policy_used or {})
        try:
            decided = decide(self.state, self._under_keys(message), self._moment())
        except Exception as error:
            return Decided(fail(message, error), [], [], Attempt())
        self._keep(decided.attempt, decided.entries)
        return decided

    def pass_time(self, until: datetime) -> list[Event]:
        """Let grants begin and expire, each at its own time, until a moment; returns the events."""
        events: list[Event] = []
        while self._ahead and self._ahead[0][0] <= until:
            when, account = heappop(self._ahead)
            self._awaited.discard((when, account))
            self.clock = max(self.clock, when)
            draft = expire(self.state, [account], self._moment())
            self._keep(draft.attempt, draft.entries)
            events += draft.events
        self.clock = max(self.clock, until)
        return events

    def figures(self) -> dict[AccountKey, Figures]:
        """Figures of every account so far."""
        figures = {account.key: self._of_entries(account.key) for account in self.state.changed("accounts")}
        for invoice in self.state.changed("invoices"):
            known = figures.get(invoice.account, Figures())
            figures[invoice.account] = replace(known, due=known.due + invoice.due)
        for entitlement in self.state.changed("entitlements"):
            known = figures.get(entitlement.account, Figures())
            figures[entitlement.account] = replace(known, shortfall=known.shortfall + entitlement.shortfall)
        return figures

    def _of_entries(self, key: AccountKey) -> Figures:
        account = self.state.accounts[key]
        figures = Figures(available=account.available, reserved=account.reserved)
        for (counter_account, source), amount in self._moved.get(key, Counter()).items():
            figures = with_flow(figures, counter_account, source, amount)
        return figures

    def _moment(self) -> Moment:
        return Moment(self.clock, EPOCH, self.policy)

    def _learn(self, policy_used: Mapping[str, Any]) -> None:
        self.policy = learned(self.policy, policy_used, self.keys)

    def _under_keys(self, message: Message) -> Message:
        body = message.body
        if not isinstance(body, SetCreditPolicy) or not self.keys:
            return message
        left_out = {*self.keys, *(REFILL | {"currency"} if REFILL & self.keys.keys() else ())}
        keys = {key: value for key, value in body.keys.items() if key not in left_out}
        return replace(message, body=replace(body, keys=keys))

    def _keep(self, attempt: Attempt, entries: list[Entry]) -> None:
        for entry in entries:
            source = self.state.grants[GrantKey(entry.account.tenant_id, entry.grant_id)].source
            moved = self._moved.setdefault(entry.account, Counter())
            moved[entry.counter_account, source] += entry.amount
        # Each moment of an account is queued once, however many grants begin or expire at it.
        for time in _times(attempt.rows(self.state.grants)):
            if time not in self._awaited:
                self._awaited.add(time)
                heappush(self._ahead, time)


def _times(changed: Iterable[Grant]) -> Iterator[tuple[datetime, AccountKey]]:
    """Moments at which changed grants begin and expire; past ones come up with the next moment."""
    for grant in changed:
        if grant.pending > 0:
            yield grant.effective_at, grant.account
        elif grant.expires_at is not None and grant.remaining > 0:
            yield grant.expires_at, grant.account
