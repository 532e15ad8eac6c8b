"""Two processes of one group, which handle the halves of one scenario at the same moment."""

from collections.abc import Iterator
from dataclasses import replace

from tests.acceptance.accounts import checked_accounts, once
from tests.acceptance.facts import EXAMPLES, JUNE_1, body, owner
from tests.acceptance.group import Places, until_shared
from tests.acceptance.publishing import Sending, sending
from tests.acceptance.service import Deploy

INVOICE, CANCELLED, PAID = "invoice-finalized", "booking-cancelled", "payment-recorded"
PAIRS = 400
BURST = 20
TENANT = "pairs"


def scenario(number: int) -> tuple[Sending, Sending, Sending]:
    """An unpaid invoice, its payment and the cancellation of what it bills."""
    ids = {"invoice_id": f"i{number}", "owner": owner(number)}
    lines = [EXAMPLES[INVOICE]["lines"][0] | {"booking_id": f"b{number}"}]
    messages = (
        (INVOICE, {**ids, "number": f"N-{number}", "lines": lines, "amount_paid": "0.00"}),
        (
            PAID,
            {
                "payment_id": f"p{number}",
                "owner": ids["owner"],
                "invoice_ids": [ids["invoice_id"]],
                "occurred_at": JUNE_1,
            },
        ),
        (CANCELLED, {"booking_id": f"b{number}", "owner": ids["owner"]}),
    )
    invoice, paid, cancelled = (
        sending(topic, body(topic, TENANT, f"{topic[0]}{number}", **fields)) for topic, fields in messages
    )
    return invoice, paid, cancelled


def across(number: int, halves: tuple[Places, Places]) -> Iterator[Sending]:
    """A scenario whose invoice one process reads, and payment and cancellation the other."""
    for sent in scenario(number):
        side = number % 2 if sent.topic == INVOICE else 1 - number % 2
        partitions = sorted(partition for topic, partition in halves[side] if topic == sent.topic)
        yield replace(sent, partition=partitions[number // 2 % len(partitions)])


def test_a_cancellation_its_invoice_and_its_payment_do_not_miss_each_other(deploy: Deploy) -> None:
    service = deploy()
    processes = [service.deployment.serve(), service.deployment.serve()]
    shared = until_shared(service, 2)
    first, second = shared.values()
    assert {topic for topic, _ in first} == {topic for topic, _ in second}
    for begin in range(0, PAIRS, BURST):
        numbers = range(begin, begin + BURST)
        service.publish(sent for number in numbers for sent in across(number, (first, second)))
    service.settle()
    assert until_shared(service, 2) == shared, "the group was rebalanced: nothing was proved"
    events = service.events.of(TENANT)
    accounts = checked_accounts(events)
    assert len(accounts) == PAIRS
    assert {str(account.available) for account in accounts.values()} == {"121.00"}
    # A payment that arrives before its invoice is money on account until then.
    given = [each.body["line_item"] for each in once(events) if each.topic == "credit-issued"]
    bookings = [item["for"]["booking_id"] for item in given if item is not None]
    assert sorted(bookings) == sorted(f"b{number}" for number in range(PAIRS))
    assert service.ask("verify")["differences"] == 0
    assert not service.events.dead_letters()
    assert [process.stop() for process in processes] == [0, 0]
