"""Movements of credit since then, in dated sentences: one per message, and one per day's draws."""

from collections.abc import Iterable, Iterator
from datetime import datetime

from avoir.cli.base.words import CAUSES, MOVED, date_words, invoice_words, moved_words
from avoir.cli.explain.prose.decisions import money
from avoir.cli.explain.view import Explanation, GrantEntry, GrantState
from avoir.core.model.rows import Grant

IN_DECISION = frozenset({"issued", "drawn", "refunded", "voided"})
"""Movements whose amount is in the paragraph on their message."""

COMMANDED = frozenset({"draw-credit", "refund-credit", "void-credit", "grant-credit"})


def movements(explanation: Explanation) -> list[tuple[datetime, str]]:
    """Movements of an explanation's grants, with the time of recording; for an event only later ones."""
    mentioned = {(each.topic, each.event_id) for each in (*explanation.decisions, *explanation.later)}
    return [
        movement
        for each in explanation.grants
        for movement in _movements(
            each.grant,
            _steps(explanation, each, mentioned),
            of="it" if len(explanation.grants) == 1 else _grant_name(each.grant),
        )
    ]


def _grant_name(grant: Grant) -> str:
    return f"the {money(grant.amount, grant.account.currency)} of {date_words(grant.effective_at)}"


def _steps(
    explanation: Explanation, state: GrantState, mentioned: set[tuple[str, str]]
) -> Iterator[GrantEntry]:
    """Select the entries to mention: for a message those since then, for an application its own."""
    subject, since = explanation.subject, None
    if subject.kind == "event" and explanation.decisions:
        since = explanation.decisions[0].recorded_at
    for entry in state.entries:
        is_about = subject.kind != "application" or str(entry.application_id) == subject.id.lower()
        is_since = since is None or entry.recorded_at >= since
        if (
            is_about
            and is_since
            and not _is_other_side(entry)
            and not _is_mentioned(entry, mentioned, subject.kind)
        ):
            yield entry


def _is_mentioned(entry: GrantEntry, mentioned: set[tuple[str, str]], kind: str) -> bool:
    if (entry.topic, entry.event_id) not in mentioned:
        return False
    with_decision = entry.event in IN_DECISION and entry.topic in COMMANDED
    return entry.event == "issued" or with_decision or kind == "application"


def _movements(grant: Grant, mentioned: Iterable[GrantEntry], *, of: str) -> Iterator[tuple[datetime, str]]:
    for entries in _grouped(mentioned):
        entry = entries[0]
        amount = money(abs(sum(each.amount for each in entries)), grant.account.currency)
        times = f", in {len(entries)} draws" if entry.event == "drawn" and len(entries) > 1 else ""
        yield entry.recorded_at, f"On {date_words(entry.occurred_at)} {_movement(entry, amount, of, times)}"


def _is_other_side(entry: GrantEntry) -> bool:
    """A movement between available and reserved has an entry on either side; return one of them."""
    return entry.ledger_account == "available" and entry.counter_account == "reserved"


def _grouped(entries: Iterable[GrantEntry]) -> list[list[GrantEntry]]:
    groups: list[list[GrantEntry]] = []
    for entry in entries:
        if groups and _kind(groups[-1][0]) == _kind(entry):
            groups[-1].append(entry)
        else:
            groups.append([entry])
    return groups


def _kind(entry: GrantEntry) -> tuple[object, ...]:
    if entry.event == "drawn":
        return entry.event, entry.occurred_at.date()
    message = (entry.recorded_at, entry.topic, entry.event_id)
    return entry.event, entry.counter_account, entry.invoice_id, *message


def _movement(entry: GrantEntry, amount: str, of: str, times: str) -> str:
    invoice = invoice_words(entry.invoice_id)
    words = MOVED.get(_key(entry), "{amount} moved ({event})")
    words = words.format(amount=amount, of=of, invoice=invoice, event=entry.event) + times
    match entry.event:
        case "issued":
            return f"{words}{CAUSES.get(entry.topic, '')}."
        case "voided" | "reinstated":
            why = moved_words(entry.reason)
            return f"{words}: {why[:1].lower()}{why[1:]}"
        case "refunded":
            return f"{words} ({entry.reason})."
        case _:
            return f"{words}."


def _key(entry: GrantEntry) -> str:
    if entry.event == "voided":
        return entry.counter_account
    return "released" if entry.event == "reinstated" and entry.ledger_account == "reserved" else entry.event
