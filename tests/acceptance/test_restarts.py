"""The service is stopped and killed in the middle of many messages: nothing is lost and nothing doubled."""

import time
from collections import Counter
from collections.abc import Iterator

from tests.acceptance.accounts import checked_accounts, once
from tests.acceptance.facts import EXAMPLES, JULY_1, JUNE_5, body, line, owner
from tests.acceptance.publishing import Sending, sending
from tests.acceptance.service import Deploy, Service

INVOICE, CANCELLED, PAID = "invoice-finalized", "booking-cancelled", "payment-recorded"
OWNERS = 1_000
EACH = 5
TENANT = "restarts"
SMALL_BATCHES = "100"
MOST_S_TO_END = 10


def scenario(number: int) -> Iterator[Sending]:
    """A paid booking, cancelled, published twice; money on account; an invoice that both pay: 31.00 is left."""
    who = owner(number)
    lines = [EXAMPLES[INVOICE]["lines"][0] | {"booking_id": f"b{number}"}]
    later = [line(f"later{number}", "100.00")]
    cancelled = (CANCELLED, "c", {"booking_id": f"b{number}"})
    for topic, event_id, fields in (
        (INVOICE, "i", {"invoice_id": f"i{number}", "lines": lines}),
        cancelled,
        (
            PAID,
            "p",
            {"payment_id": f"p{number}", "amount": "10.00", "invoice_ids": [], "occurred_at": JUNE_5},
        ),
        (
            INVOICE,
            "j",
            {
                "invoice_id": f"j{number}",
                "lines": later,
                "total": "100.00",
                "amount_paid": "0.00",
                "occurred_at": JULY_1,
            },
        ),
        cancelled,
    ):
        yield sending(topic, body(topic, TENANT, f"{event_id}{number}", owner=who, **fields))


def lag(service: Service) -> int:
    """How many messages wait to be handled."""
    return sum(topic["lag"] for topic in service.ask("status")["topics"])


def until_issued(service: Service, count: int) -> None:
    """Wait until so many credits were heard of."""
    service.events.until(
        lambda: len(service.events.of(TENANT, "credit-issued")) >= count, f"{count} credits", within_s=60
    )


def test_nothing_is_lost_or_doubled(deploy: Deploy) -> None:
    service = deploy(AVOIR_KAFKA_MAX_RECORDS=SMALL_BATCHES)
    service.publish(sent for number in range(OWNERS) for sent in scenario(number))
    stopped = service.deployment.serve()
    until_issued(service, 100)
    begun = time.monotonic()
    assert stopped.stop() == 0, stopped.tail()
    assert time.monotonic() - begun < MOST_S_TO_END
    left = lag(service)
    assert 0 < left < OWNERS * EACH, "it was not stopped in the middle"
    killed = service.deployment.serve()
    until_issued(service, len(service.events.of(TENANT, "credit-issued")) + 300)
    killed.kill()
    assert 0 < lag(service) < left, "it was not killed in the middle"
    last = service.deployment.serve()
    service.settle()
    check(service)
    assert last.stop() == 0, last.tail()


def check(service: Service) -> None:
    """Every owner has what the scenario leaves, by the events and by the database."""
    events = service.events.of(TENANT)
    accounts = checked_accounts(events)
    assert len(accounts) == OWNERS
    assert Counter(str(account.available) for account in accounts.values()) == {"31.00": OWNERS}
    kept = once(events)
    issued = Counter(each.body["source"] for each in kept if each.topic == "credit-issued")
    assert issued == {"booking_cancelled": OWNERS, "overpayment": OWNERS}
    assert Counter(each.topic for each in kept)["credit-declined"] <= OWNERS
    accounts = service.ask("balance", "--tenant", TENANT, "--limit", str(OWNERS))["accounts"]
    assert Counter(each["available"] for each in accounts) == {"31.00": OWNERS}
    proved = service.ask("verify")
    assert (proved["tenants"], proved["differences"]) == (1, 0)
    assert not service.events.dead_letters()
