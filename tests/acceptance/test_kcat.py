"""kcat, a client that shares no code with Avoir, on either side of the service."""

import json
import shutil
import subprocess

import pytest

from tests.acceptance.facts import body
from tests.acceptance.service import Service

KCAT = shutil.which("kcat") or shutil.which("kafkacat")
needs_kcat = pytest.mark.skipif(KCAT is None, reason="kcat is not installed (Debian: apt-get install kcat)")
HEADERS = {"ce_id": "c", "ce_time": "2025-06-02T00:00:00Z", "ce_type": "booking.cancelled", "trace": "4711"}


def kcat(service: Service, *arguments: str, given: bytes = b"") -> bytes:
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
