"""A fixed run of the real handler: messages of every kind in one order, by a clock of its own, and what they leave."""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice, zip_longest
from typing import Any

import asyncpg

from avoir.batch.batch import Rules
from avoir.batch.handle import Handler
from avoir_events import COMMANDS, EVENTS, FACTS
from benchmarks.mix import mix
from deploy.local.harness.databases import connection_to
from tests.acceptance import test_command_reasons, test_commands, test_reasons
from tests.acceptance.cases import HELP_PAGES, NAMED, Case, Run, filled, load_cases, runs_of
from tests.acceptance.events import Heard
from tests.integration.delivery import GROUP, delivering

MESSAGES, CUSTOMERS, BATCH = 3_000, 150, 250
ORDERS_OF_A_CASE = 4
MORE_THAN_A_FLOOD = 1_010

BY_TOPIC = {"outbox": [*EVENTS], "decisions": [*FACTS, *COMMANDS]}
"""Tables that are dumped topic by topic, so that a difference says where it is."""

LEFT_OUT = ["deferred", "epochs", "leases", "migrations", "topics_out"]
"""Tables that handling does not write, but for what waits for a row that somebody keeps locked."""

PREPARED = """
-- Whatever calls the clock by its name gets what the run set: later than all that happens, and in months that have no
-- partition whenever this runs.
ALTER FUNCTION pg_catalog.clock_timestamp() RENAME TO clock_timestamp_of_the_machine;
CREATE TABLE public.clock AS SELECT timestamptz '2026-01-01 00:00Z' AS now;
GRANT SELECT ON public.clock TO PUBLIC;
CREATE FUNCTION pg_catalog.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS 'SELECT now FROM public.clock';
-- One message is parked.
ALTER TABLE avoir.payments ADD CONSTRAINT refused CHECK (payment_id <> 'refused');
"""
AN_HOUR_LATER = "UPDATE public.clock SET now = now + interval '1 hour'"
A_CENTURY_LATER = "UPDATE public.clock SET now = now + interval '100 years'"

Values = list[tuple[str, bytes]]
Dump = dict[str, list[str]]
"""Lines by the table that they are the rows of, or the topic in it."""


async def run(dsn: str) -> Dump:
    """Handle everything in a migrated, empty database, each batch an hour after the last, and dump what is stored."""
    rules = Rules(GROUP, decide_s=60)  # as much as a slow machine needs: batches are not cut
    async with connection_to(dsn) as owner, delivering(dsn, rules) as (deliverer, kept):
        await owner.execute(PREPARED)

        async def deliver(values: Values) -> None:
            await owner.execute(AN_HOUR_LATER)
            report = await deliverer.deliver_values(values)
            assert report.messages == len(values) and report.complete

        runs = _runs()
        for waves in zip_longest(*(each.waves for each in runs), fillvalue=()):
            heard = await _heard(owner)
            steps = [(each.tenant, step) for each, wave in zip(runs, waves, strict=True) for step in wave]
            await deliver([_value(step, tenant, heard[tenant]) for tenant, step in steps])
        for values in _batches():
            await deliver(values)
        await owner.execute(A_CENTURY_LATER)
        assert (await Handler(kept, rules).expire(10_000)).messages
        return await _dump(owner)


def _runs() -> list[Run]:
    """The help pages' cases in some orders, and a scenario for each command and each reason; a tenant for each."""
    pages = [
        islice(runs_of(case, f"case-{n}"), ORDERS_OF_A_CASE) for n, case in enumerate(load_cases(HELP_PAGES))
    ]
    scenarios = {f"commands-{n}": each.steps for n, each in enumerate(test_commands.CASES)}
    scenarios |= {each.tenant: each.steps for each in test_command_reasons.SCENARIOS}
    for scenario in test_reasons.SCENARIOS:
        scenarios[scenario.tenant] = tuple(
            test_commands.step(*names, **fields) for *names, fields in scenario.steps
        )
    return [each for runs in pages for each in runs] + [
        Run(
            Case(tenant, "given", steps, (), {}),
            tenant,
            tuple((each,) for each in steps),
            in_given_order=True,
        )
        for tenant, steps in scenarios.items()
    ]


def _batches() -> Iterator[Values]:
    """A month's messages, among them one that the database refuses, and a flood of what nobody can read."""
    month = [(each.topic, each.value) for each in mix(MESSAGES, customers=CUSTOMERS)]
    month.insert(
        BATCH, _value(test_commands.step("payment-recorded", "refused", payment_id="refused"), "t1", ())
    )
    for n in range(0, len(month), BATCH):
        yield month[n : n + BATCH]
    yield [("draw-credit", b"{")] * MORE_THAN_A_FLOOD


def _value(step: Mapping[str, Any], tenant: str, heard: Sequence[Heard]) -> tuple[str, bytes]:
    return step["topic"], json.dumps(filled(heard, tenant, step["value"])).encode()


async def _heard(owner: asyncpg.Connection) -> Mapping[str, Sequence[Heard]]:
    """By tenant the events that gave something an id which later messages name."""
    found = defaultdict[str, list[Heard]](list)
    topics = [topic for naming, _ in NAMED.values() for topic in naming]
    for row in await owner.fetch("SELECT * FROM outbox WHERE topic = ANY ($1) ORDER BY outbox_id", topics):
        body = json.loads(row["value"])
        found[row["tenant_id"]].append(Heard(row["topic"], 0, 0, row["key"], row["value"], (), body))
    return found


async def _dump(owner: asyncpg.Connection) -> Dump:
    dump: Dump = {f"{table}-{topic}": [] for table, topics in BY_TOPIC.items() for topic in topics}
    tables = await owner.fetch(
        "SELECT relname FROM pg_class WHERE relnamespace = 'avoir'::regnamespace AND relkind IN ('r', 'p')"
        " AND NOT relispartition AND relname <> ALL ($1) ORDER BY relname",
        LEFT_OUT,
    )
    for (table,) in tables:
        rows = [dict(row) for row in await owner.fetch(f"SELECT * FROM {table}")]
        if table == "outbox":
            rows.sort(key=lambda row: row["outbox_id"])
            dump["outbox"] = [f"{row.pop('outbox_id')} {row['topic']} {row['key']}" for row in rows]
        lines = [(f"{table}-{row['topic']}" if table in BY_TOPIC else table, _line(row)) for row in rows]
        for group, line in lines if table == "outbox" else sorted(lines):
            dump.setdefault(group, []).append(line)
    return dump


def _line(row: Mapping[str, Any]) -> str:
    return "  ".join(f"{name}={_shown(value)}" for name, value in row.items())


def _shown(value: Any) -> str:
    return repr(value) if isinstance(value, str | bytes | list) else str(value)
