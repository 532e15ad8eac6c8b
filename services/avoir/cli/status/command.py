"""`avoir status`: whether the service keeps up, and its state."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from avoir.cli.base.access import (
    BROKERS,
    DSN,
    connected,
    error_text,
    kafka_client,
    load_settings,
    names_of,
)
from avoir.cli.base.exits import Exit, unreachable
from avoir.cli.base.options import AsJson
from avoir.cli.base.output import add_rows, console, print_json, rfc3339, say, short_time, span, table
from avoir.cli.status.query import PendingCredit, Status, read_status
from avoir.postgres.connect import Connection
from avoir.process.flow import limits_of, sentence
from avoir.settings import Settings

if TYPE_CHECKING:
    from avoir.cli.base.lag import BrokerState, TopicLag
    from avoir.cli.status.output import Output


async def status(*, json: AsJson = False) -> int:
    """Say whether the service keeps up, and show lag, outbox, leases, dead letters and epoch.

    Example: `avoir status`
    """
    settings = load_settings(DSN, BROKERS)
    async with connected(settings) as connection:
        state = await read_status(connection, settings.kafka_group_id)
        broker, output, broker_error = await _on_broker(settings, state, connection)
    lags, says = _judge(settings, state, broker, output.behind(), broker_error)
    if json:
        print_json(status_json(state, lags, output, says))
    else:
        say(says)
        _print_status(state, lags, output)
    if broker_error:
        unreachable(broker_error)
    return Exit.OK


async def _on_broker(
    settings: Settings, state: Status, connection: Connection
) -> tuple["BrokerState | None", "Output", str | None]:
    """The broker's data on input and output topics, or why it could not be read."""
    from aiokafka.errors import KafkaError

    from avoir.cli.base.lag import read_broker
    from avoir.cli.status.output import Output, read_output

    client, names = kafka_client(settings), names_of(settings)
    try:
        output = await read_output(connection, client, names, state.used, settings.ce_source)
        return await read_broker(client, names, limits_of(settings)), output, None
    except (KafkaError, OSError, TimeoutError) as error:
        return (
            None,
            Output(),
            f"Kafka at {settings.kafka_bootstrap_servers} is not available ({error_text(error)}): check {BROKERS}.",
        )


def _judge(
    settings: Settings,
    state: Status,
    broker: "BrokerState | None",
    behind: Sequence[str],
    broker_error: str | None,
) -> tuple[tuple["TopicLag", ...], str]:
    """The lag of each topic, and in one sentence whether the service keeps up."""
    from avoir.cli.base.lag import lag_by_topic
    from avoir.cli.status.flow import flow_of

    limits = limits_of(settings)
    unknown = None if broker_error is None else broker_error.rstrip(".")
    says = sentence(flow_of(state, broker, limits, unknown), limits, behind)
    return () if broker is None else lag_by_topic(broker.partitions, state.positions), says


def status_json(state: Status, lags: tuple["TopicLag", ...], output: "Output", says: str) -> dict[str, Any]:
    """The documented shape of `avoir status --json`."""
    return {
        "says": says,
        "as_of": rfc3339(state.as_of),
        "schema": {"version": state.schema, "needed": state.schema_needed},
        "epoch": state.epoch,
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
            "waiting": state.waiting,
            "oldest_s": _age_s(state.oldest, state.as_of),
            "refused": state.refused,
        },
        "leases": [
            {"name": each.name, "holder": each.holder, "held": each.held, "until": _until(each.held_until)}
            for each in state.leases
        ],
        "dead_letters": [
            {
                "outcome": each.outcome,
                "topic": each.topic,
                "messages": each.messages,
                "newest": rfc3339(each.newest),
            }
            for each in state.dead_letters
        ],
        "pending_grants": {
            "grants": state.pending_credit.pending,
            "overdue": state.pending_credit.overdue,
            "next_at": rfc3339(state.pending_credit.next_at),
        },
        "refills_asked": state.pending_credit.refills,
        "deferred": {
            "messages": state.deferred.messages,
            "oldest_s": _age_s(state.deferred.oldest, state.as_of),
            "waits_for": list(state.deferred.waits_for),
        },
    }


def _until(moment: datetime) -> str | None:
    # A released lease ends at -infinity, which arrives as the first moment of year 1.
    return rfc3339(moment) if moment.year > 1 else None


def _age_s(moment: datetime | None, now: datetime) -> float | None:
    return None if moment is None else max(0.0, round((now - moment).total_seconds(), 3))


def _pending(pending_credit: PendingCredit) -> str:
    if not pending_credit.pending:
        return "none"
    overdue = f", {pending_credit.overdue} of them overdue" if pending_credit.overdue else ""
    return f"{pending_credit.pending} grant(s), the next on {short_time(pending_credit.next_at)} UTC{overdue}"


def _deferred(state: Status) -> list[tuple[str, str]]:
    if not state.deferred.messages:
        return []
    age = _age_s(state.deferred.oldest, state.as_of) or 0.0
    rows = ", ".join(state.deferred.waits_for)
    what = f"{state.deferred.messages} message(s), the oldest for {span(age)}: another session keeps {rows} locked"
    return [("Deferred", what)]


def _print_status(state: Status, lags: tuple["TopicLag", ...], output: "Output") -> None:
    made = table("Topic", "Partitions", "Messages", "Lag", right=("Partitions", "Messages", "Lag"))
    rows = ((each.topic, str(each.partitions), str(each.messages), str(each.lag)) for each in lags)
    console().print(add_rows(made, rows))
    for each in lags:
        for partition in each.outside:
            say(
                f"{each.topic}/{partition} is stopped: its position is not in the topic. "
                "`avoir offsets list` shows it, `avoir offsets set` moves it."
            )
    for fault in output.faults():
        say(fault)
    age = _age_s(state.oldest, state.as_of)
    oldest = f", the oldest for {span(age)}" if age is not None else ""
    refused = (
        f"; {state.refused} refused by the broker: `avoir outbox list` shows them" if state.refused else ""
    )
    counts = [f"{each.messages} {each.outcome} from {each.topic}" for each in state.dead_letters]
    facts = table("", "")
    add_rows(
        facts,
        [
            ("Outbox", f"{state.waiting} waiting{oldest}{refused}"),
            *((f"Lease {each.name}", each.holder if each.held else "not held") for each in state.leases),
            ("Dead letters", ", ".join(counts) or "none unreplayed"),
            *_deferred(state),
            ("Pending credit", _pending(state.pending_credit)),
            ("Refills", f"{state.pending_credit.refills} account(s) wait for a requested refill"),
            ("Epoch", str(state.epoch)),
            ("Schema", f"{state.schema} (this program needs {state.schema_needed})"),
            ("As of", f"{short_time(state.as_of)} UTC"),
        ],
    )
    facts.show_header = False
    console().print(facts, markup=False)
