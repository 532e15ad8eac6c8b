"""kcat, a client that shares no code with Avoir, on either side of the service."""

import json
import shutil
import subprocess
from dataclasses import replace

import pytest

from tests.acceptance.facts import EXAMPLES, body, fact
from tests.acceptance.service import Service

PARTITION = 2
KCAT = shutil.which("kcat") or shutil.which("kafkacat")
needs_kcat = pytest.mark.skipif(KCAT is None, reason="kcat is not installed (Debian: apt-get install kcat)")
HEADERS = {"ce_id": "c", "ce_time": "2025-06-02T00:00:00Z", "ce_type": "booking.cancelled", "trace": "4711"}


def kcat(service: Service, *arguments: str | bytes, given: bytes = b"") -> bytes:
    """What kcat prints."""
    assert KCAT is not None
    done = subprocess.run(
        [KCAT, "-b", service.kafka, *arguments], input=given, capture_output=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


@needs_kcat
def test_a_fact_published_with_kcat_gives_an_event_read_with_kcat(service: Service) -> None:
    tenant = "kcat"
    invoice = json.dumps(body("invoice-finalized", tenant, "i")).encode()
    kcat(service, "-P", "-t", f"{service.prefix}invoice-finalized", "-k", "i1", given=invoice)
    change = body("booking-cancelled", tenant, "c")
    del change["event_id"], change["occurred_at"]
    headers = [part for name, value in HEADERS.items() for part in ("-H", f"{name}={value}")]
    topic = f"{service.prefix}booking-cancelled"
    kcat(service, "-P", "-t", topic, "-k", "b1", *headers, given=json.dumps(change).encode())
    service.settle()
    printed = kcat(service, "-C", "-t", f"{service.prefix}credit-issued", "-e", "-q", "-J")
    heard = [json.loads(line) for line in printed.splitlines()]
    (record,) = [each for each in heard if each["key"] == f"{tenant}/user/u1/EUR"]
    event = json.loads(record["payload"])
    assert (event["amount"], event["caused_by"]["event_id"]) == ("121.00", "c")
    said = dict(zip(record["headers"][::2], record["headers"][1::2], strict=True))
    assert said["ce_type"] == "avoir.credit-issued.v1"
    assert said["ce_id"] == event["event_id"]


@needs_kcat
def test_commands_published_with_kcat_give_events_read_with_kcat(service: Service) -> None:
    tenant = "kcat-commands"
    for topic in ("grant-credit", "draw-credit"):
        command = json.dumps(body(topic, tenant, topic)).encode()
        kcat(service, "-P", "-t", service.prefix + topic, "-k", "u1", given=command)
        service.settle()
    printed = {
        topic: kcat(service, "-C", "-t", service.prefix + topic, "-e", "-q", "-J")
        for topic in ("credit-issued", "credit-drawn")
    }
    events = {
        topic: [json.loads(record["payload"]) for record in map(json.loads, lines.splitlines())]
        for topic, lines in printed.items()
    }
    (issued,) = [each for each in events["credit-issued"] if each["tenant_id"] == tenant]
    (drawn,) = [each for each in events["credit-drawn"] if each["tenant_id"] == tenant]
    assert (issued["amount"], issued["source"], issued["reason"]) == ("100.00", "granted", "goodwill")
    assert (drawn["amount"], drawn["reference"]) == ("10.00", "usage 17")
    assert drawn["slices"] == [{"grant_id": issued["grant_id"], "amount": "10.00", "source": "granted"}]
    assert drawn["balance"] == {"available": "90.00", "reserved": "0.00"}


@needs_kcat
def test_a_record_that_no_client_can_read_becomes_a_dead_letter(service: Service) -> None:
    tenant, topic = "unreadable", "booking-cancelled"
    bills = [[EXAMPLES["invoice-finalized"]["lines"][0] | {"booking_id": booking}] for booking in "ab"]
    service.publish(
        fact("invoice-finalized", tenant, f"i{n}", invoice_id=f"i{n}", lines=lines)
        for n, lines in enumerate(bills)
    )
    before, after = (
        replace(fact(topic, tenant, booking, booking_id=booking), partition=PARTITION) for booking in "ab"
    )
    (place,) = service.publish([before])
    header = b"no \xff utf-8=1"
    kcat(service, "-P", "-t", service.prefix + topic, "-p", str(PARTITION), "-H", header, given=b"{}")
    service.publish([after])
    service.events.until(
        lambda: len(service.events.of(tenant, "credit-issued")) == 2, "its neighbours are handled"
    )
    listed = service.ask("dead-letters", "list", "--topic", topic)["dead_letters"]
    (dead_letter,) = (each for each in listed if each["offset"] == place.offset + 1)
    assert dead_letter["reason"].startswith("unreadable: a record of ")
