"""One message on which every batch fails, whatever the reason, is found and parked; an outage parks nothing."""

from unittest.mock import patch

import pytest

from avoir.core.decide import HANDLERS
from avoir.core.handlers import payments
from avoir.core.handlers.outcome import Conclusion
from avoir.core.model.facts import PaymentRecorded
from avoir.core.model.message import Message
from avoir.core.state.draft import Draft
from avoir.settings import Settings
from deploy.local.harness.databases import connection_to
from deploy.local.harness.service import settings_for
from deploy.local.harness.topics import make_all_topics
from deploy.local.harness.waiting import until
from tests.integration.running import decided, publish, serving, until_decided
from tests.unit.core.world import invoice, line, message, payment

FAULT = """
CREATE FUNCTION avoir.fault() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN {} RETURN NEW; END $$;
GRANT EXECUTE ON FUNCTION avoir.fault() TO avoir_service;
"""
OF_ONE = (
    FAULT
    + """
CREATE TRIGGER fault BEFORE INSERT ON avoir.payments FOR EACH ROW WHEN (NEW.payment_id = 'bad')
EXECUTE FUNCTION avoir.fault()
"""
)
OF_ALL = (
    FAULT
    + """
DO $$
DECLARE name text;
BEGIN
    FOR name IN SELECT relname FROM pg_class WHERE relnamespace = 'avoir'::regnamespace AND relkind IN ('r', 'p') LOOP
        EXECUTE format('CREATE TRIGGER fault BEFORE INSERT OR UPDATE ON avoir.%I FOR EACH STATEMENT'
                       ' EXECUTE FUNCTION avoir.fault()', name);
    END LOOP;
END $$
"""
)
FAULTS = {
    "time": "PERFORM pg_sleep(60);",
    "the connection": "PERFORM pg_terminate_backend(pg_backend_pid()); PERFORM pg_sleep(60);",
    "memory": "RAISE EXCEPTION 'out of memory' USING ERRCODE = '53200';",
    "a limit of the program": "RAISE EXCEPTION 'invalid message length' USING ERRCODE = '54000';",
    "a disk full of one temporary file": "RAISE EXCEPTION 'no space left' USING ERRCODE = '53100';",
    "a bad block under one row": "RAISE EXCEPTION 'could not read block' USING ERRCODE = '58030';",
    "an internal error": "RAISE EXCEPTION 'corrupt' USING ERRCODE = 'XX001';",
}


@pytest.fixture
async def settings(kafka: str, database: str, topic_prefix: str) -> Settings:
    settings = settings_for(
        kafka,
        database,
        topic_prefix,
        postgres_idle_in_transaction_s=2.5,
        postgres_lock_timeout_s=2.8,
        postgres_statement_timeout_s=3.0,
        postgres_command_timeout_s=6.0,
    )
    await make_all_topics(settings)
    return settings


def history(tenants: int = 6, each: int = 10) -> list[Message]:
    """Invoices and payments of several tenants, a bad payment in the middle of them."""
    messages = []
    for tenant in (f"t{n}" for n in range(1, tenants + 1)):
        for n in range(each):
            bill = invoice(f"i{n}", line("l1", "100", booking=f"b{n}"), paid="0")
            messages += [
                message(f"f-{tenant}-{n}", "06-01", bill, tenant),
                message(f"p-{tenant}-{n}", "06-02", payment(f"p{n}", "100", f"i{n}"), tenant),
            ]
    messages.insert(len(messages) // 2, message("bad", "06-02", payment("bad", "7"), "t3"))
    return messages


async def check_only_the_bad_one_is_parked(settings: Settings, messages: list[Message]) -> None:
    outcomes = await until_decided(settings, len(messages), 120)
    assert {event for event, outcome in outcomes.items() if outcome == "parked"} == {"bad"}
    assert len(outcomes) == len(messages)
    async with connection_to(settings.postgres_dsn.get_secret_value()) as connection:
        counts = await connection.fetch("SELECT tenant_id, count(*) AS n FROM payments GROUP BY tenant_id")
        assert {row["n"] for row in counts} == {10} and len(counts) == 6


@pytest.mark.parametrize("what", FAULTS)
async def test_a_message_whose_batch_always_fails_is_parked_alone(what: str, settings: Settings) -> None:
    async with connection_to(settings.postgres_dsn.get_secret_value()) as connection:
        await connection.execute(OF_ONE.format(FAULTS[what]))
    messages = history()
    await publish(settings, messages)
    async with serving(settings) as service:
        await check_only_the_bad_one_is_parked(settings, messages)
        assert not service.loop.breaker.open


async def test_a_message_that_takes_too_much_memory_is_parked_alone(settings: Settings) -> None:
    def pay(draft: Draft, each: Message, fact: PaymentRecorded) -> Conclusion:
        if fact.payment_id == "bad":
            raise MemoryError
        return paid(draft, each, fact)

    paid, messages = payments.pay, history()
    await publish(settings, messages)
    with patch.dict(HANDLERS, {PaymentRecorded: pay}):
        async with serving(settings):
            await check_only_the_bad_one_is_parked(settings, messages)


async def test_a_message_that_is_decided_for_too_long_is_parked_alone(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pay(draft: Draft, each: Message, fact: PaymentRecorded) -> Conclusion:
        while fact.payment_id == "bad":
            pass
        return paid(draft, each, fact)

    paid, messages = payments.pay, history()
    monkeypatch.setattr("avoir.postgres.worker_thread.MAX_CPU_S", 2.0)
    await publish(settings, messages)
    with patch.dict(HANDLERS, {PaymentRecorded: pay}):
        async with serving(settings) as service:
            await check_only_the_bad_one_is_parked(settings, messages)
            assert not service.fault
    async with connection_to(settings.postgres_dsn.get_secret_value()) as connection:
        assert "processor time" in await connection.fetchval("SELECT reason FROM dead_letters")


OUTAGES = {
    "a full disk": OF_ALL.format("RAISE EXCEPTION 'no space left' USING ERRCODE = '53100';"),
    "a disk that cannot be read": OF_ALL.format(
        "RAISE EXCEPTION 'input/output error' USING ERRCODE = '58030';"
    ),
    "no memory for anybody": OF_ALL.format("RAISE EXCEPTION 'out of memory' USING ERRCODE = '53200';"),
    "every connection lost": OF_ALL.format(
        "PERFORM pg_terminate_backend(pg_backend_pid()); PERFORM pg_sleep(60);"
    ),
}


@pytest.mark.parametrize("what", OUTAGES)
async def test_an_outage_parks_nothing(what: str, settings: Settings) -> None:
    async with connection_to(settings.postgres_dsn.get_secret_value()) as connection:
        async with serving(settings) as service:
            await until(lambda: service.loop.state.doing == "reading", 30)
            await connection.execute(OUTAGES[what])
            # One message alone, which would be parked soonest, and then the others.
            await publish(settings, [message("first", "06-01", payment("first", "1"), "t1")])
            await until(lambda: service.loop._backoff.failures >= 8, 60, "waited out for long")
            await publish(settings, history())
            assert await decided(settings) == {}
            await connection.execute("DROP FUNCTION avoir.fault CASCADE")
            outcomes = await until_decided(settings, len(history()) + 1)
        assert "parked" not in outcomes.values()
        assert not service.loop.breaker.open
        assert await connection.fetchval("SELECT count(*) FROM dead_letters") == 0
