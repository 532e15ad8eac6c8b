"""Topics out are lost: what they should hold comes again, and readers end as they would have."""

import pytest
from confluent_kafka.admin import AdminClient

from avoir_events import EVENTS
from tests.acceptance.accounts import checked_accounts
from tests.acceptance.downstream import in_the_ledger, sums
from tests.acceptance.events import Events
from tests.acceptance.facts import EXAMPLES, JULY_1, body, line, owner
from tests.acceptance.publishing import Sending, sending
from tests.acceptance.service import Deploy, Service

pytestmark = pytest.mark.timeout(400)

INVOICE, CANCELLED, GRANT, DRAW, APPLY = (
    "invoice-finalized",
    "booking-cancelled",
    "grant-credit",
    "draw-credit",
    "apply-credit",
)
TENANTS = ("one", "two")
OWNERS = 12


def scenario(tenant: str, number: int) -> list[Sending]:
    """A paid booking that is cancelled, credit by hand, some of both used and drawn, and a draw that is refused."""
    who, lines = owner(number), [EXAMPLES[INVOICE]["lines"][0] | {"booking_id": f"b{number}"}]
    later = {"lines": [line(f"later{number}", "30.00")], "total": "30.00", "amount_paid": "0.00"}
    messages = (
        (INVOICE, {"invoice_id": f"i{number}", "lines": lines}),
        (CANCELLED, {"booking_id": f"b{number}"}),
        (GRANT, {"amount": "5.00"}),
        (DRAW, {"amount": "0.25"}),
        (DRAW, {"amount": "999.00", "event_id": f"too much {number}"}),
        (APPLY, {"invoice_id": f"to come {number}", "amount": "2.00"}),
        (INVOICE, {"event_id": f"j{number}", "invoice_id": f"j{number}", **later, "occurred_at": JULY_1}),
        (CANCELLED, {"booking_id": f"never billed {number}", "event_id": f"n{number}"}),
    )
    return [
        sending(topic, body(topic, tenant, f"{topic}{number}", owner=who) | fields)
        for topic, fields in messages
    ]


def publish(service: Service, numbers: range) -> None:
    service.publish(each for tenant in TENANTS for number in numbers for each in scenario(tenant, number))


def lose(service: Service, topics: tuple[str, ...]) -> None:
    """Delete topics, and make them again."""
    admin = AdminClient({"bootstrap.servers": service.kafka, "log_level": 0})
    deleted = admin.delete_topics([service.prefix + topic for topic in topics], operation_timeout=20)
    for each in deleted.values():
        each.result()
    service.ask("topics", "create")


def check(service: Service, before: Events, after: Events) -> None:
    """Who begins anew and who goes on both have what the ledger has; the records are as the contract says."""
    after.catch_up()
    for tenant in TENANTS:
        ledger = in_the_ledger(service, tenant)
        for heard in (after.of(tenant), before.of(tenant) + after.of(tenant)):
            reader = sums(heard)
            assert {key: reader.holds(key) for key in ledger} == ledger
        checked_accounts(after.of(tenant))


def test_all_that_was_lost_comes_again_and_readers_end_in_the_same_state(deploy: Deploy) -> None:
    service = deploy()
    process = service.deployment.serve()
    publish(service, range(OWNERS))
    service.publish([Sending(CANCELLED, b"{", b"k")])
    service.settle()
    held = {tenant: service.events.of(tenant) for tenant in TENANTS}
    dead_letters = [(each.key, each.value, each.headers) for each in service.events.dead_letters()]
    service.deployment.call("events", "rebuild", code=1)
    assert process.stop() == 0

    lose(service, tuple(EVENTS))
    done = service.ask("events", "rebuild", "--reason", "topics deleted")
    assert (done["epoch"], done["dead_letters"]) == (2, 1)
    service.deployment.serve()
    publish(service, range(OWNERS, OWNERS + 2))
    service.deployment.settled()
    after = Events(service.kafka, service.prefix)
    try:
        check(service, service.events, after)
        for tenant in TENANTS:
            old = {(each.topic, each.key, each.body["seq"]) for each in held[tenant]}
            new = {(each.topic, each.key, each.body["seq"]) for each in after.of(tenant)}
            assert {each for each in old if each[0] != "credit-balance"} <= new
        assert [(each.key, each.value, each.headers) for each in after.dead_letters()] == dead_letters
    finally:
        after.close()


def test_one_topic_comes_again_beside_the_others(deploy: Deploy) -> None:
    service = deploy()
    process = service.deployment.serve()
    publish(service, range(OWNERS))
    service.settle()
    assert process.stop() == 0
    lost = "credit-applied"
    service.deployment.call("events", "rebuild", "--topic", "invoice-finalized", code=2)
    lose(service, (lost,))
    done = service.ask("events", "rebuild", "--topic", lost)
    assert done["events"] == sum(len(service.events.of(tenant, lost)) for tenant in TENANTS)
    service.deployment.serve()
    publish(service, range(OWNERS, OWNERS + 2))
    service.deployment.settled()
    after = Events(service.kafka, service.prefix)
    try:
        after.catch_up()
        for tenant in TENANTS:
            ledger = in_the_ledger(service, tenant)
            reader, going_on = sums(after.of(tenant)), sums(service.events.of(tenant) + after.of(tenant))
            assert {key: reader.holds(key) for key in ledger} == ledger
            assert {key: going_on.holds(key) for key in ledger} == ledger
            before, again = (
                {(each.key, each.body["seq"]): each.body["slices"] for each in events.of(tenant, lost)}
                for events in (service.events, after)
            )
            assert before.items() <= again.items()
    finally:
        after.close()
