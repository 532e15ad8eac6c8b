"""Ten thousand draws and applications race for one account, from several producers through four processes."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

from tests.acceptance.accounts import checked_accounts, once
from tests.acceptance.facts import JULY_1, JUNE_1, OWNER, fact, line
from tests.acceptance.group import until_shared
from tests.acceptance.publishing import Publisher, Sending
from tests.acceptance.service import Deploy

TENANT = "race"
PROCESSES, PRODUCERS = 4, 4
COMMANDS = 10_000
INVOICES = 50
CREDIT = Decimal("600.00")
DRAW, USE = Decimal("0.10"), Decimal("1.00")


def given() -> Iterator[Sending]:
    """600.00 of credit, and invoices of 20.00 that take none by themselves."""
    yield fact("set-credit-policy", TENANT, "manual")
    for n in range(6):
        yield fact("grant-credit", TENANT, f"g{n}", amount="100.00", priority=n)
    for n in range(INVOICES):
        said = {"invoice_id": f"i{n}", "number": f"N-{n}", "lines": [line(f"b{n}", "20.00")]}
        said |= {"total": "20.00", "amount_paid": "0.00", "finalization": "manual", "occurred_at": JUNE_1}
        yield fact("invoice-finalized", TENANT, f"f{n}", **said)


def commands(producer: int) -> Iterator[Sending]:
    """Every tenth an application, the others draws; together they ask for far more than there is."""
    for n in range(producer, COMMANDS, PRODUCERS):
        tens, units = divmod(n // PRODUCERS, 10)
        if units == 0:
            invoice = (tens * PRODUCERS + producer) % INVOICES
            fields = {"invoice_id": f"i{invoice}", "amount": str(USE), "occurred_at": JULY_1}
            yield fact("apply-credit", TENANT, f"u{n}", **fields)
        else:
            yield fact("draw-credit", TENANT, f"d{n}", amount=str(DRAW), occurred_at=JULY_1)


def test_whatever_races_an_account_ends_at_exactly_zero(deploy: Deploy) -> None:
    service = deploy()
    processes = [service.deployment.serve() for _ in range(PROCESSES)]
    service.publish(given())
    service.settle()
    until_shared(service, PROCESSES)
    with ThreadPoolExecutor(PRODUCERS) as threads:
        done = [
            threads.submit(Publisher(service.kafka, service.prefix).publish, commands(producer))
            for producer in range(PRODUCERS)
        ]
        assert sum(len(each.result()) for each in done) == COMMANDS
    service.settle(within_s=90)
    events = service.events.of(TENANT)
    (account,) = checked_accounts(events).values()
    assert account.available == account.reserved == 0
    used = [each for each in once(events) if each.topic in ("credit-drawn", "credit-applied")]
    assert sum(Decimal(each.body["amount"]) for each in used) == CREDIT
    refused = [each for each in once(events) if each.topic == "credit-declined"]
    assert len(used) + len(refused) == COMMANDS
    assert {each.body["reason"] for each in refused} == {"insufficient_credit"}
    assert {each.topic for each in used} == {"credit-drawn", "credit-applied"}
    (balance,) = service.ask("balance", f"{OWNER['type']}/{OWNER['id']}", "--tenant", TENANT)["accounts"]
    assert (balance["available"], balance["seq"]) == ("0.00", account.events[-1].body["seq"])
    assert service.ask("verify")["differences"] == 0
    assert not service.events.dead_letters()
    assert [process.stop() for process in processes] == [0] * PROCESSES
