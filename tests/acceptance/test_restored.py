"""The database is restored to an earlier moment: the service waits for a new epoch, and readers add up right."""

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import httpx
import pytest

from deploy.local.harness.databases import execute
from deploy.local.harness.service import ServiceProcess
from tests.acceptance.downstream import in_the_ledger, sums
from tests.acceptance.facts import JUNE_5, body, owner
from tests.acceptance.publishing import Sending, sending
from tests.acceptance.service import Deploy, Service

pytestmark = pytest.mark.timeout(400)

GRANT, DRAW = "grant-credit", "draw-credit"
TENANT, BESIDE = "restored", "beside"
OWNERS, NEW = 24, 6


def grants(tenant: str, numbers: range, event: str, amount: str) -> Iterator[Sending]:
    for number in numbers:
        yield sending(GRANT, body(GRANT, tenant, f"{event}{number}", owner=owner(number), amount=amount))


def draws(tenant: str, numbers: range, event: str, amount: str) -> Iterator[Sending]:
    for number in numbers:
        fields = {"owner": owner(number), "amount": amount, "occurred_at": JUNE_5}
        yield sending(DRAW, body(DRAW, tenant, f"{event}{number}", **fields))


def on(service: Service, name: str, *statements: str) -> None:
    """Run statements on a database of the service's server."""
    server = service.deployment.environment["AVOIR_POSTGRES_DSN"].rsplit("/", 1)[0]
    with ThreadPoolExecutor(max_workers=1) as thread:
        for statement in statements:
            thread.submit(asyncio.run, execute(f"{server}/{name}", statement)).result()


def database(service: Service) -> str:
    return service.deployment.environment["AVOIR_POSTGRES_DSN"].rsplit("/", 1)[1]


def back_up(service: Service) -> None:
    name = database(service)
    on(service, "postgres", f'CREATE DATABASE "{name}-backup" TEMPLATE "{name}"')


def restore(service: Service) -> None:
    """The database as it was backed up; what was published to Avoir since then is gone from its topics."""
    ends = service.ask("offsets", "list")["offsets"]
    name = database(service)
    on(
        service,
        "postgres",
        f'DROP DATABASE "{name}" WITH (FORCE)',
        f'ALTER DATABASE "{name}-backup" RENAME TO "{name}"',
    )
    places = ", ".join(f"('{each['topic']}', {each['partition']}, {each['end']})" for each in ends)
    on(
        service,
        name,
        f"UPDATE avoir.consumer_offsets o SET next_offset = v.at FROM (VALUES {places}) v (topic, partition, at)"
        " WHERE o.topic = v.topic AND o.partition = v.partition",
    )


def until_it_refuses(process: ServiceProcess, within_s: float = 60) -> None:
    end = time.monotonic() + within_s
    while True:
        said = [each for each in process.lines() if "ahead of the ledger" in each["event"]]
        if said:
            assert said[0]["level"] == "critical"
            assert said[0]["command"].startswith("avoir epoch raise")
            return
        process.check()
        assert time.monotonic() < end, process.tail()
        time.sleep(0.05)


def until_handled(service: Service, within_s: float = 60) -> dict[str, Any]:
    end = time.monotonic() + within_s
    while True:
        status: dict[str, Any] = service.ask("status")
        if not any(each["lag"] for each in status["topics"]):
            return status
        assert time.monotonic() < end, status
        time.sleep(0.1)


def published(service: Service) -> int:
    service.events.catch_up()
    return sum(len(service.events.of(tenant)) for tenant in (TENANT, BESIDE))


def check(service: Service) -> None:
    """Who adds amounts up has what the ledger has, of every account that was ever heard of."""
    for tenant in service.events.tenants():
        heard, ledger = service.events.of(tenant), in_the_ledger(service, tenant)
        reader = sums(heard)
        keys = {each.key for each in heard if each.key is not None} | ledger.keys()
        assert {key: reader.holds(key) for key in keys} == {key: ledger.get(key, Decimal(0)) for key in keys}
    service.deployment.call("verify")


def test_a_service_on_a_restored_ledger_waits_for_a_new_epoch_and_readers_add_up_right(
    deploy: Deploy,
) -> None:
    service = deploy()
    process = service.deployment.serve()
    known, new = range(OWNERS), range(OWNERS, OWNERS + NEW)
    service.publish(grants(TENANT, known, "g", "100.00"))
    service.publish(grants(BESIDE, known, "g", "50.00"))
    service.settle()
    assert process.stop() == 0
    back_up(service)

    process = service.deployment.serve()
    service.publish(draws(TENANT, range(0, OWNERS, 2), "lost", "10.00"))
    service.publish(draws(TENANT, range(0, OWNERS, 4), "lost again", "1.00"))
    service.publish(grants(TENANT, new, "lost", "7.00"))
    service.settle()
    assert process.stop() == 0
    restore(service)

    before = published(service)
    process = service.deployment.serve()
    until_it_refuses(process)
    answer = httpx.get(f"http://127.0.0.1:{process.port}/readyz", timeout=10)
    assert answer.status_code == 503
    assert "credit-balance is ahead of the ledger" in answer.json()["checks"]["relay"]
    assert "avoir_ledger_behind 1.0" in httpx.get(f"http://127.0.0.1:{process.port}/metrics", timeout=10).text
    service.publish(draws(TENANT, range(0, OWNERS, 3), "then", "2.50"))
    service.publish(grants(TENANT, range(OWNERS, OWNERS + 2), "then", "3.00"))
    service.publish(draws(BESIDE, range(1, OWNERS, 2), "then", "5.00"))
    status = until_handled(service)
    assert status["outbox"]["waiting"] > 0
    assert status["ahead_of_ledger"]
    assert published(service) == before, "events came out under the old epoch"

    raised = service.ask("epoch", "raise", "--reason", "restored")
    assert (raised["epoch"], raised["lost"]) == (2, NEW - 2)
    service.publish(draws(TENANT, range(0, OWNERS, 6), "after", "0.75"))
    service.settle()
    check(service)
    assert "avoir_ledger_behind 0.0" in httpx.get(f"http://127.0.0.1:{process.port}/metrics", timeout=10).text
    for each in service.events.of(TENANT):
        assert (each.body["voids_from"] is None) == (each.body["epoch"] == 1)


def test_an_epoch_is_not_raised_while_a_process_publishes(deploy: Deploy) -> None:
    service = deploy()
    service.deployment.serve()
    service.publish(grants(TENANT, range(1), "g", "100.00"))
    service.settle()
    service.deployment.call("epoch", "raise", "--reason", "restored", code=1)
    assert service.ask("status")["epoch"] == 1


def test_a_database_restored_twice_never_has_an_epoch_again(deploy: Deploy) -> None:
    service = deploy()
    process = service.deployment.serve()
    service.publish(grants(TENANT, range(OWNERS), "g", "100.00"))
    service.settle()
    assert process.stop() == 0
    for number in (1, 2):
        back_up(service)
        if number == 2:
            assert service.ask("epoch", "raise", "--reason", "restored")["epoch"] == 2
        process = service.deployment.serve()
        service.publish(draws(TENANT, range(number, OWNERS), f"lost {number}-", "10.00"))
        service.settle()
        assert process.stop() == 0
        # Each time to the moment before the epoch was raised.
        restore(service)
    assert service.ask("epoch", "raise", "--reason", "restored again")["epoch"] == 3
    service.deployment.serve()
    service.publish(draws(TENANT, range(OWNERS), "end", "2.00"))
    service.settle()
    check(service)
