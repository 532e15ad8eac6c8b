"""`avoir simulate`: what Avoir would decide, without changing anything."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, NamedTuple

import msgspec
from cyclopts import Parameter
from rich.padding import Padding
from rich.text import Text

from avoir.cli.base.access import load_settings
from avoir.cli.base.exits import Exit, not_found, refuse
from avoir.cli.base.options import AsJson, Moment, OwnerArgument
from avoir.cli.base.output import console, hint, print_json, rfc3339, say, short_time, show
from avoir.cli.base.words import (
    HAPPENED,
    REFUSED,
    UNHANDLED,
    outcome_words,
    reason_words,
    recorded_words,
    refusal_words,
)
from avoir.cli.simulate.comparing import compare
from avoir.cli.simulate.event_words import event_words
from avoir.cli.simulate.figures import account_json, account_name, figures_json, figures_table
from avoir.core.model.decision import Decision
from avoir.core.model.events import Event
from avoir.core.model.message import Message
from avoir.core.simulate import BEGINNING, Simulation, with_keys
from avoir.settings import Settings, policy_of
from avoir_events import COMMANDS

if TYPE_CHECKING:
    from avoir.cli.base.messages import PolicyGiven

MAX_PROBLEMS = 20


class SimulatedMessage(NamedTuple):
    """One message of a file: effects of time before it, its decision, and the events it publishes."""

    line: int
    message: Message
    by_time: Sequence[Event]
    decision: Decision
    events: Sequence[Event]


async def simulate(
    file: Annotated[
        str | None,
        Parameter(
            help='Messages, one {"topic": ..., "value": ...} per line; - for standard input.',
            allow_leading_hyphen=True,
        ),
    ] = None,
    *,
    tenant: Annotated[
        str | None, Parameter(name=["--tenant", "-t"], help="Instead of a file: this tenant's history.")
    ] = None,
    owner: Annotated[OwnerArgument | None, Parameter(help="Only this owner: user/u1.")] = None,
    policy: Annotated[
        tuple[str, ...],
        Parameter(help="A policy key and value that apply to everybody; may be repeated.", negative=()),
    ] = (),
    now: Annotated[
        Moment | None,
        Parameter(
            help="Time up to which grants begin and expire after the last message; default: the last message's time."
        ),
    ] = None,
    all_: Annotated[
        bool, Parameter(name="--all", negative=(), help="Also show accounts that do not differ.")
    ] = False,
    json: AsJson = False,
) -> int:
    """Show what Avoir would decide, without writing to the database or the broker.

    With a file, its messages are decided in order, starting empty, and each decision is shown with the credit it gives
    and uses. With a tenant, its history is decided again under another policy and compared with what happened, for each
    account. A key given with --policy applies to everybody, whatever a tenant or an owner has set.

    Example: `avoir simulate messages.jsonl --policy expires_after_days=365`

    Example: `avoir simulate --tenant t1 --policy unpaid_change=never`
    """
    from avoir.cli.base.messages import read_policy

    if (file is None) == (tenant is None):
        refuse("Give either a file of messages or --tenant.")
    given = read_policy(policy)
    if tenant is not None:
        if now is not None:
            refuse("--now needs a file: a history is decided at its original times.")
        return await compare(tenant, owner, given, all_=all_, json=json)
    if owner is not None or all_:
        refuse("--owner and --all need --tenant.")
    return _simulate_file(str(file), given, now, json=json)


def _simulate_file(file: str, given: "PolicyGiven", now: datetime | None, *, json: bool) -> int:
    from avoir.cli.base.messages import open_messages

    settings = load_settings()
    with open_messages(file) as opened:
        messages = _read_all(opened, settings)
    if not messages:
        not_found(f"{file} contains no message.")
    last = max(message.occurred_at for _, message in messages)
    until = now or last
    if until < last:
        refuse(f"--now is before the last message, which occurred at {rfc3339(last)}.")
    simulation = Simulation(policy=with_keys(policy_of(settings), given.keys), keys=given.keys)
    simulated = _simulate_messages(simulation, messages)
    if json:
        documents = [_message_json(each, settings) for each in simulated]
        by_time = [_event_json(event, settings) for event in simulation.pass_time(until)]
        print_json(
            {
                "now": rfc3339(until),
                "policy": dict(given.fields),
                "messages": documents,
                "by_time": by_time,
                "accounts": _accounts_json(simulation),
            }
        )
        return Exit.OK
    for each in simulated:
        _print_message(each)
    _print_by_time(simulation.pass_time(until))
    _print_end(simulation, until)
    return Exit.OK


def _read_all(opened: BinaryIO, settings: Settings) -> list[tuple[int, Message]]:
    """Parse every line; if any are invalid, list them all and simulate nothing."""
    from avoir.cli.base.messages import Outgoing, Problem, lines_of
    from avoir.record import Record
    from avoir.wire.incoming import UnreadableRecord, parse

    messages: list[tuple[int, Message]] = []
    problems: list[Problem] = []
    for each in lines_of(opened, None, raw=False):
        if isinstance(each, Outgoing):
            record = Record(each.topic, 0, each.line, 0, each.key, each.value)
            read = parse(record, settings.kafka_max_message_bytes)
            if isinstance(read, UnreadableRecord):
                problems.append(Problem(each.line, read.problem))
            else:
                messages.append((each.line, read.message))
        else:
            problems.append(each)
    for problem in problems[:MAX_PROBLEMS]:
        hint(f"line {problem.line}: {problem.problem}")
    if problems:
        not_found(f"{len(problems)} line(s) are invalid, so nothing was simulated.")
    return messages


def _simulate_messages(
    simulation: Simulation, messages: Iterable[tuple[int, Message]]
) -> Iterator[SimulatedMessage]:
    """Decide each message at the latest `occurred_at` so far."""
    clock = BEGINNING
    for line, message in messages:
        clock = max(clock, message.occurred_at)
        by_time = simulation.pass_time(clock)
        decided = simulation.decide(message, clock)
        yield SimulatedMessage(line, message, by_time, decided.decision, decided.events)


def _print_message(each: SimulatedMessage) -> None:
    _print_by_time(each.by_time)
    say(f"{each.line:>3}  {each.message.topic} {each.message.event_id}: {each.decision.outcome}")
    _print_indented(decision_words(each.decision))
    for event in each.events:
        if words := event_words(event):
            _print_indented(f"-> {words}")


def _print_by_time(events: Iterable[Event]) -> None:
    for event in events:
        if words := event_words(event):
            say(f"  -  time: {short_time(event.occurred_at)}")
            _print_indented(f"-> {words}")


def _print_indented(words: str) -> None:
    console().print(Padding(Text(words), (0, 0, 0, 5)))


def decision_words(decision: Decision) -> str:
    """A decision in plain words: event, outcome, reason and remedy."""
    sentences = []
    happened = HAPPENED[decision.topic].format(id=decision.subject_id)
    if decision.outcome in UNHANDLED:
        sentences.append(f"The message says that {happened}.")
    else:
        sentences.append(f"{happened[0].upper()}{happened[1:]}.")
    is_refused = decision.outcome == "declined" and decision.topic in COMMANDS
    if decision.outcome == "recorded":
        sentences.append(recorded_words(decision.topic, decision.reason))
    else:
        sentences.append(REFUSED if is_refused else outcome_words(decision.outcome))
    if decision.outcome in ("issued", "applied", "waiting", "declined"):
        sentences.append(refusal_words(decision.reason) if is_refused else reason_words(decision.reason))
    if decision.would_change_it:
        sentences.append(f"What would change it: {decision.would_change_it}")
    return " ".join(sentences)


def _print_end(simulation: Simulation, until: datetime) -> None:
    accounts = sorted(simulation.figures().items())
    tenants = {key.tenant_id for key, _ in accounts}
    rows = (
        (
            f"{key.tenant_id} {account_name(key)}" if len(tenants) > 1 else account_name(key),
            key.currency,
            each,
        )
        for key, each in accounts
    )
    show(figures_table(rows))
    say(f"As of {short_time(until)} UTC. Nothing was written or sent.")


def _accounts_json(simulation: Simulation) -> list[dict[str, Any]]:
    return [
        {"tenant_id": key.tenant_id, **account_json(key), **figures_json(each, key.currency)}
        for key, each in sorted(simulation.figures().items())
    ]


def _message_json(each: SimulatedMessage, settings: Settings) -> dict[str, Any]:
    decision = each.decision
    return {
        "line": each.line,
        "tenant_id": decision.tenant_id,
        "topic": decision.topic,
        "event_id": decision.event_id,
        "occurred_at": rfc3339(decision.occurred_at),
        "outcome": decision.outcome,
        "reason": decision.reason,
        "facts": dict(decision.facts),
        "policy": dict(decision.policy),
        "would_change_it": decision.would_change_it,
        "words": decision_words(decision),
        "by_time": [_event_json(event, settings) for event in each.by_time],
        "events": [_event_json(event, settings) for event in each.events],
    }


def _event_json(event: Event, settings: Settings) -> dict[str, Any]:
    """An event as it would be published."""
    from avoir.wire.outgoing import event_record

    record = event_record(event, settings.ce_source)
    return {"topic": record.topic, "value": msgspec.json.decode(record.value or b"null")}
