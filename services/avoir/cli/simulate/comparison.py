"""Compares what happened with what would have happened under another policy, for each account."""

from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from avoir.cli.base.history import Group, read_groups
from avoir.cli.base.history_rows import RecordedMessage
from avoir.core.model.commands import Command
from avoir.core.model.decision import Decision
from avoir.core.model.events import AccountKey
from avoir.core.model.facts import ApplicationRejected, Owner
from avoir.core.model.policy import Policy
from avoir.core.simulate import Figures, Simulation
from avoir.postgres.connect import Connection

Progress = Callable[[int], None]
"""Callback: gets the number of further messages decided."""

REPORT_EVERY = 500


class Refused(NamedTuple):
    """A command that was accepted and would be refused, or an invoice with a credit line without credit."""

    topic: str
    event_id: str
    about: str
    reason: str


class ChangedDecision(NamedTuple):
    """Actual and simulated decision, each as outcome and reason, on messages of a topic."""

    topic: str
    was: tuple[str, str]
    would_be: tuple[str, str]


class Compared(NamedTuple):
    """One group of accounts: actual and simulated figures, and decisions that would differ."""

    accounts: dict[AccountKey, tuple[Figures, Figures]]
    changed: Counter[ChangedDecision]
    refused: list[Refused]
    messages: int
    unknown: int


async def compare(
    connection: Connection,
    tenant_id: str,
    owner: Owner | None,
    policy: Policy,
    keys: Mapping[str, Any],
    now: datetime,
    progress: Progress,
) -> AsyncIterator[Compared]:
    """Each group of accounts of a tenant, or one owner's group, decided again; in a snapshot at `now`."""
    async for group in read_groups(connection, tenant_id, owner):
        yield compare_group(group, policy, keys, now, progress)


def compare_group(
    group: Group, policy: Policy, keys: Mapping[str, Any], now: datetime, progress: Progress
) -> Compared:
    """Decide a group's history again, with some policy keys set for everybody."""
    simulation = Simulation(policy=policy, keys=keys)
    changed: Counter[ChangedDecision] = Counter()
    refused = []
    for n, recorded in enumerate(group.history, 1):
        decision = simulation.decide(recorded.message, recorded.recorded_at, recorded.policy).decision
        would_be = (decision.outcome, decision.reason)
        if would_be != (recorded.outcome, recorded.reason):
            changed[
                ChangedDecision(recorded.message.topic, (recorded.outcome, recorded.reason), would_be)
            ] += 1
        if reason := _why_refused(recorded, decision):
            about = f"{decision.subject_kind} {decision.subject_id}"
            refused.append(Refused(recorded.message.topic, recorded.message.event_id, about, reason))
        if n % REPORT_EVERY == 0 and n < group.own:
            progress(REPORT_EVERY)
    progress(group.own - (group.own - 1) // REPORT_EVERY * REPORT_EVERY if group.own else 0)
    simulation.pass_time(now)
    would_be_figures = simulation.figures()
    both = {
        key: (group.accounts.get(key, Figures()), would_be_figures.get(key, Figures()))
        for key in sorted(group.accounts.keys() | would_be_figures.keys())
    }
    return Compared(both, changed, refused, group.own, group.unknown)


def _why_refused(recorded: RecordedMessage, decision: Decision) -> str | None:
    if isinstance(recorded.message.body, Command | ApplicationRejected):
        is_refused = decision.outcome == "declined" and recorded.outcome != "declined"
        return decision.reason if is_refused else None
    has_unknown_lines = "lines_of_unknown_credit" in decision.facts and not recorded.unknown_lines
    return "unknown_grant" if has_unknown_lines else None
