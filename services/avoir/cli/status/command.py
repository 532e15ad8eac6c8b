"""`avoir status`: whether the service keeps up, and how it stands."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from avoir.cli.base.access import (
    BROKERS,
    DSN,
    connected,
    kafka_client,
    load_settings,
    names_of,
    words_of,
)
from avoir.cli.base.exits import Exit, unreachable
from avoir.cli.base.options import AsJson
from avoir.cli.base.output import add_rows, console, print_json, rfc3339, say, short_time, span, table
from avoir.cli.status.query import StandingCredit, Status, read_status
from avoir.postgres.connect import Connection
from avoir.process.flow import limits_of, sentence
from avoir.settings import Settings

if TYPE_CHECKING:
    from avoir.cli.base.lag import OnBroker, TopicLag
    from avoir.cli.status.output import Output


async def status(*, json: AsJson = False) -> int:
    """Say whether the service keeps up, and show how it stands: lag, outbox, lease, dead letters, epoch.

    Example: `avoir status`
    """
    settings = load_settings(DSN, BROKERS)
    async with connected(settings) as connection:
        found = await read_status(connection, settings.kafka_group_id)
        there, output, broken = await _on_broker(settings, found, connection)
    lags, says = _judged(settings, found, there, output.behind(), broken)
    if json:
        print_json(status_json(found, lags, output, says))
    else:
        say(says)
        _print_status(found, lags, output)
    if broken:
        unreachable(broken)
    return Exit.OK


async def _on_broker(
    settings: Settings, found: Status, connection: Connection
) -> tuple["OnBroker | None", "Output", str | None]:
    """What the broker tells of the topics in and of the output, or why it cannot."""
    from aiokafka.errors import KafkaError

    from avoir.cli.base.lag import on_broker
    from avoir.cli.status.output import Output, read_output

    client, names = kafka_client(settings), names_of(settings)
    try:
        output = await read_output(connection, client, names, found.used, settings.ce_source)
        return await on_broker(client, names, limits_of(settings)), output, None
    except (KafkaError, OSError, TimeoutError) as error:
        return (
            None,
            Output(),
            f"Kafka at {settings.kafka_bootstrap_servers} cannot be used ({words_of(error)}): check {BROKERS}.",
        )


def _judged(
    settings: Settings, found: Status, there: "OnBroker | None", behind: Sequence[str], broken: str | None
) -> tuple[tuple["TopicLag", ...], str]:
    """The lag of each topic, as far as the broker told, and in one sentence whether the service keeps up."""
    from avoir.cli.base.lag import lag_by_topic
    from avoir.cli.status.flow import flow_of

    limits = limits_of(settings)
    unknown = None if broken is None else broken.rstrip(".")
    says = sentence(flow_of(found, there, limits, unknown), limits, behind)
    return () if there is None else lag_by_topic(there.has, found.positions), says


def status_json(found: Status, lags: tuple["TopicLag", ...], output: "Output", says: str) -> dict[str, Any]:
    """The documented shape of `avoir status --json`."""
    return {
        "says": says,
        "as_of": rfc3339(found.as_of),
        "schema": {"version": found.schema, "needed": found.schema_needed},
        "epoch": found.epoch,
        "topics": [
            {
                "topic": each.topic,
                "partitions": each.partitions,
                "messages": each.messages,
                "lag": each.lag,
                "outside": list(each.outside),
            }
            for each in lags
        ],
        "topics_out": [each._asdict() for each in output.topics],
        "ahead_of_ledger": list(output.ahead),
        "outbox": {
            "waiting": found.waiting,
            "oldest_s": _age_s(found.oldest, found.as_of),
            "refused": found.refused,
        },
        "leases": [
            {"name": each.name, "holder": each.holder, "held": each.held, "until": _until(each.held_until)}
            for each in found.leases
        ],
        "dead_letters": [
            {
                "outcome": each.outcome,
                "topic": each.topic,
                "messages": each.messages,
                "newest": rfc3339(each.newest),
            }
            for each in found.dead_letters
        ],
        "pending_grants": {
            "grants": found.standing.pending,
            "overdue": found.standing.overdue,
            "next_at": rfc3339(found.standing.next_at),
        },
        "refills_asked": found.standing.refills,
        "deferred": {
            "messages": found.deferred.messages,
            "oldest_s": _age_s(found.deferred.oldest, found.as_of),
            "waits_for": list(found.deferred.waits_for),
        },
    }


def _until(moment: datetime) -> str | None:
    return rfc3339(moment) if moment.year > 1 else None


def _age_s(moment: datetime | None, now: datetime) -> float | None:
    return None if moment is None else max(0.0, round((now - moment).total_seconds(), 3))


def _coming(standing: StandingCredit) -> str:
    if not standing.pending:
        return "none"
    overdue = f", {standing.overdue} of them overdue" if standing.overdue else ""
    return f"{standing.pending} grant(s), the next on {short_time(standing.next_at)} UTC{overdue}"


def _set_aside(found: Status) -> list[tuple[str, str]]:
    if not found.deferred.messages:
        return []
    age = _age_s(found.deferred.oldest, found.as_of) or 0.0
    rows = ", ".join(found.deferred.waits_for)
    what = f"{found.deferred.messages} message(s), the oldest for {span(age)}: somebody keeps locked {rows}"
    return [("Set aside", what)]


def _print_status(found: Status, lags: tuple["TopicLag", ...], output: "Output") -> None:
    made = table("Topic", "Partitions", "Messages", "Lag", right=("Partitions", "Messages", "Lag"))
    rows = ((each.topic, str(each.partitions), str(each.messages), str(each.lag)) for each in lags)
    console().print(add_rows(made, rows))
    for each in lags:
        for partition in each.outside:
            say(
                f"{each.topic}/{partition} stands still: its position is not in the topic. "
                "`avoir offsets list` shows it, `avoir offsets set` moves it."
            )
    for fault in output.faults():
        say(fault)
    age = _age_s(found.oldest, found.as_of)
    oldest = f", the oldest for {span(age)}" if age is not None else ""
    refused = (
        f"; {found.refused} refused by the broker: `avoir outbox list` shows them" if found.refused else ""
    )
    counts = [f"{each.messages} {each.outcome} from {each.topic}" for each in found.dead_letters]
    facts = table("", "")
    add_rows(
        facts,
        [
            ("Outbox", f"{found.waiting} waiting{oldest}{refused}"),
            *(
                (f"Lease {each.name}", each.holder if each.held else "held by nobody")
                for each in found.leases
            ),
            ("Dead letters", ", ".join(counts) or "none that were not replayed"),
            *_set_aside(found),
            ("Credit to come", _coming(found.standing)),
            ("Refills", f"{found.standing.refills} account(s) wait for one that was asked for"),
            ("Epoch", str(found.epoch)),
            ("Schema", f"{found.schema} (this program needs {found.schema_needed})"),
            ("As of", f"{short_time(found.as_of)} UTC"),
        ],
    )
    facts.show_header = False
    console().print(facts, markup=False)
