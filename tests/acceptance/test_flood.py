"""A flood of records that are no messages: it leaves little, and the messages around it are handled."""

import json
import time

from avoir.batch.floods import MAX_DEAD_LETTERS
from tests.acceptance.facts import body, fact
from tests.acceptance.packing import ZSTD, batch, publish
from tests.acceptance.service import Deploy, Service

INVOICE, CANCELLED = "invoice-finalized", "booking-cancelled"
TENANT = "flooded"
RECORDS = 60_000
MOST_TIMES, LEAST_S = 20, 10
"""Others wait so many times as long beside the flood as without it, or so long, whichever is more."""


def waited(service: Service, tenant: str) -> float:
    """How long a cancellation waits for its credit, in seconds."""
    begun = time.monotonic()
    service.publish([fact(CANCELLED, tenant, "c")])
    service.events.until(lambda: service.events.of(tenant, "credit-issued"), f"credit of {tenant}", 100)
    return time.monotonic() - begun


def test_sixty_thousand_records_of_one_byte_leave_a_thousand_dead_letters_a_minute(deploy: Deploy) -> None:
    service = deploy()
    begun = time.monotonic()
    service.deployment.serve()
    cancelled = [json.dumps(body(CANCELLED, f"{TENANT}-{n}", "c")).encode() for n in range(3)]
    others = [f"{TENANT}-{name}" for name in ("first", "before", "beside")]
    service.publish(fact(INVOICE, tenant, "i") for tenant in [*(f"{TENANT}-{n}" for n in range(3)), *others])
    waited(service, others[0])
    undisturbed = waited(service, others[1])
    flood = batch([cancelled[0], *[b"x"] * RECORDS, cancelled[1]], ZSTD)
    topic = service.prefix + CANCELLED
    first, _ = publish(service.kafka, topic, [(0, flood), (0, batch([cancelled[2]], ZSTD))])
    disturbed = waited(service, others[2])
    assert disturbed < max(LEAST_S, MOST_TIMES * undisturbed), (disturbed, undisturbed)
    service.settle(100)
    for n in range(3):
        assert len(service.events.of(f"{TENANT}-{n}", "credit-issued")) == 1
    minutes = 2 + int(time.monotonic() - begun) // 60
    counts = service.ask("status")["dead_letters"]
    assert sum(each["messages"] for each in counts) == RECORDS
    dead_letters = service.ask("dead-letters", "list", "--limit", "100000")["dead_letters"]
    kept = [each for each in dead_letters if each["outcome"] == "rejected"]
    floods = [each for each in dead_letters if each["outcome"] == "summarised"]
    assert MAX_DEAD_LETTERS <= len(kept) <= MAX_DEAD_LETTERS * minutes
    assert len(service.events.dead_letters()) == len(kept)
    assert 1 <= len(floods) <= minutes
    assert sum(each["messages"] for each in floods) == RECORDS - len(kept)
    assert max(each["offset"] for each in floods) == first + RECORDS
    refused = service.deployment.fault("dead-letters", "replay", floods[0]["dead_letter_id"], code=1)
    assert f"{CANCELLED}/0@{floods[0]['first_offset']} to {floods[0]['offset']}" in refused
    listed = service.deployment.call("dead-letters", "list", "--outcome", "summarised")
    assert f"{floods[0]['messages']} messages" in listed
    service.deployment.call("verify")
