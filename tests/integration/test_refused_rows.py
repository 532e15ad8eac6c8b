"""Rows that the database refuses: the messages behind them are found by name, and what held is not done again."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from unittest.mock import patch

import pytest

import avoir.batch.batch
from avoir.batch.batch import Rules
from avoir.core.decide import Decided, decide
from avoir.core.model.facts import Owner
from avoir.core.model.message import Message
from avoir.core.state.draft import Moment
from avoir.core.state.state import State
from avoir.postgres.session import Session
from deploy.local.harness.databases import connection_to
from tests.integration.delivery import GROUP, delivering
from tests.unit.core.world import invoice, line, message, payment

CHECKED = "ALTER TABLE avoir.payments ADD CHECK (payment_id NOT LIKE 'bad%')"
RAISED = """
CREATE FUNCTION avoir.refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'no such payment'; END $$;
CREATE TRIGGER refuse BEFORE INSERT ON avoir.payments FOR EACH ROW WHEN (NEW.payment_id LIKE 'bad%')
EXECUTE FUNCTION avoir.refuse()
"""
RAISED_LATER = RAISED.replace("BEFORE INSERT", "AFTER INSERT")
OF_THE_OUTBOX = """
CREATE FUNCTION avoir.named(value bytea) RETURNS boolean LANGUAGE sql IMMUTABLE
AS $$ SELECT position('"bad-'::bytea IN value) > 0 $$;
ALTER TABLE avoir.outbox ADD CHECK (topic = 'credit-dead-letter' OR NOT avoir.named(value))
"""
OF_KEYS = """
CREATE TABLE avoir.allowed (payment_id text PRIMARY KEY);
INSERT INTO avoir.allowed SELECT letter || n FROM generate_series(0, 500) AS n, unnest('{p,i}'::text[]) AS letter;
ALTER TABLE avoir.payments ADD FOREIGN KEY (payment_id) REFERENCES avoir.allowed
"""
OF_ENTRIES = "ALTER TABLE avoir.entries ADD CHECK (event_id NOT LIKE 'bad%')"
OF_ACCOUNTS = "ALTER TABLE avoir.accounts ADD CHECK (owner_id NOT LIKE 'bad%' OR available = 0)"
OF_DECISIONS = "ALTER TABLE avoir.decisions ADD CHECK (outcome = 'parked' OR event_id NOT LIKE 'bad%')"


@dataclass
class Work:
    """How often messages were decided, and statements sent."""

    decisions: int = 0
    statements: int = 0


@contextmanager
def counted() -> Iterator[Work]:
    work = Work()

    def deciding(state: State, each: Message, moment: Moment) -> Decided:
        work.decisions += 1
        return decide(state, each, moment)

    class Counted(Session):
        def __setattr__(self, name: str, value: object) -> None:
            work.statements += name == "statements" and value != 0
            super().__setattr__(name, value)

    with patch.object(avoir.batch.batch, "decide", deciding), patch("avoir.batch.handle.Session", Counted):
        yield work


def mixed(count: int, every: int) -> list[Message]:
    """Facts of many owners; every so many a payment that is bad."""
    messages = []
    for n in range(count):
        owner = Owner("user", f"u{n % 40}")
        if n % every == every // 2:
            alone = Owner("user", f"bad-{n}")
            messages.append(message(f"bad-{n}", "06-03", payment(f"bad-{n}", "10", owner=alone)))
        elif n % 2:
            bill = invoice(f"i{n}", line("l1", "100", booking=f"b{n}"), paid="100", owner=owner)
            messages.append(message(f"f{n}", "06-01", bill))
        else:
            messages.append(message(f"p{n}", "06-03", payment(f"p{n}", "10", owner=owner)))
    return messages


@pytest.mark.parametrize(
    "refusing",
    [
        CHECKED,
        RAISED,
        OF_THE_OUTBOX,
        OF_ENTRIES,
        OF_DECISIONS,
        OF_ACCOUNTS,
        OF_KEYS,
        RAISED_LATER,
    ],
    ids=[
        "a check",
        "a trigger",
        "a check of the outbox",
        "a check of entries",
        "a check of decisions",
        "a check of a known row",
        "a foreign key",
        "a trigger at the end",
    ],
)
async def test_four_of_a_hundred_refused_cost_little_more_than_none(refusing: str, database: str) -> None:
    async with connection_to(database) as superuser:
        await superuser.execute(refusing)
    count, every = 500, 25
    messages = mixed(count, every)
    # However slow the machine is: what is counted here is not to be cut by time.
    async with delivering(database, Rules(GROUP, decide_s=60.0)) as (deliverer, kept):
        with counted() as first:
            report = await deliverer.deliver(messages[: count // 2])
        with counted() as second:
            again = await deliverer.deliver(messages[count // 2 :])
        assert report.complete and again.complete and not report.halted and not again.halted
        found = Counter(report.decisions) + Counter(again.decisions)
        assert found["payment-recorded", "parked"] == count // every
        assert sum(found.values()) == count
        assert (
            found["invoice-finalized", "recorded"] + found["payment-recorded", "issued"]
            == count - count // every
        )
        async with kept.use() as connection:
            assert await connection.fetchval("SELECT sum(next_offset) FROM consumer_offsets") == count
            parked = {row["event_id"] for row in await connection.fetch("SELECT event_id FROM dead_letters")}
        assert parked == {each.event_id for each in messages if each.event_id.startswith("bad")}
    # What was written before is not decided again; where the error names nobody it is the part that is halved.
    assert first.decisions <= 2.5 * count / 2
    assert second.decisions <= 1.5 * count / 2
    assert second.statements <= 3 * count / 2


async def test_a_batch_that_takes_long_is_reported_in_between(database: str) -> None:
    """The consumer has to be back in its loop long before the group takes it for dead."""
    async with delivering(database, Rules(GROUP, decide_s=0.0)) as (deliverer, kept):
        with patch("avoir.batch.handle.MAX_BATCH_S", 0.0):
            report = await deliverer.deliver(mixed(10, 25))
        assert report.messages == 1 and not report.complete
        async with kept.use() as connection:
            assert await connection.fetchval("SELECT sum(next_offset) FROM consumer_offsets") == 1
