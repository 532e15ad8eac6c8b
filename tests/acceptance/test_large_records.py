"""Records that are too large, compressed so that they are small: their neighbours are handled, in bounded memory."""

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.local.harness.service import ServiceProcess
from deploy.local.harness.topics import configure
from tests.acceptance.deployment import PARTITIONS
from tests.acceptance.events import Heard
from tests.acceptance.facts import EXAMPLES, body, fact, owner
from tests.acceptance.packing import (
    GZIP,
    LZ4,
    SNAPPY,
    ZSTD,
    Pack,
    Value,
    batch,
    hash_of,
    lz4_of_the_largest_blocks,
    publish,
    snappy_of_one_block,
    zstd_of_the_largest_window,
)
from tests.acceptance.publishing import Place, Publisher, Sending
from tests.acceptance.service import Deploy, Service, deployed

INVOICE, CANCELLED, PAID = "invoice-finalized", "booking-cancelled", "payment-recorded"
MOST_MB = 400
KEPT_BYTES = 1024
POLL_S = 0.1
PARTITION = 2
OTHER_PARTITION = 1
SETTLED_S = 100
GIANTS: dict[str, tuple[int, int]] = {
    "zstd": (ZSTD, 1_080_000_000),
    "gzip": (GZIP, 300_000_000),
    "lz4": (LZ4, 200_000_000),
    "snappy": (SNAPPY, 15_000_000),
}
LARGEST = b'{"note": "' + b"x" * 900_000 + b'"}'


@pytest.fixture(scope="module")
def large(
    kafka: str, postgres: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Service, ServiceProcess]]:
    """A service of these tests' own, whose memory they look at."""
    with deployed(kafka, postgres, tmp_path_factory.mktemp("large")) as service:
        process = service.deployment.serve()
        yield service, process
        process.check()
        assert process.stop() == 0, process.tail()


def peak_mb(process: ServiceProcess) -> int:
    """The most memory that a process has had, in megabytes."""
    if sys.platform != "linux":
        return 0
    lines = Path(f"/proc/{process.process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) // 1024


def bills(tenant: str, number: int) -> Sending:
    """A paid invoice that bills a booking."""
    lines = [EXAMPLES[INVOICE]["lines"][0] | {"booking_id": f"b{number}"}]
    return fact(INVOICE, tenant, f"i{number}", owner=owner(number), lines=lines, invoice_id=f"i{number}")


def cancels(tenant: str, number: int) -> bytes:
    """The cancellation of that booking, as it lies in a batch."""
    return json.dumps(
        body(CANCELLED, tenant, f"c{number}", owner=owner(number), booking_id=f"b{number}")
    ).encode()


def publish_among_others(service: Service, tenant: str, codec: int, giants: list[Value]) -> list[int]:
    """Giants between cancellations in one batch, and another tenant's messages beside them; the giants' offsets."""
    others = f"{tenant}-others"
    service.publish([*(bills(tenant, n) for n in range(len(giants) + 1)), bills(others, 0), bills(others, 1)])
    values: list[Value] = [cancels(tenant, 0)]
    for number, giant in enumerate(giants, 1):
        values += [giant, cancels(tenant, number)]
    topic = service.prefix + CANCELLED
    before, after = (batch([cancels(others, n)], codec) for n in range(2))
    first, *_ = publish(
        service.kafka,
        topic,
        [(PARTITION, batch(values, codec)), (PARTITION, after), (OTHER_PARTITION, before)],
    )
    service.settle(SETTLED_S)
    return [first + 1 + 2 * n for n in range(len(giants))]


def until_all_are_handled(service: Service, tenant: str, count: int) -> None:
    """Every cancellation of both tenants has given its credit, once."""
    assert len(service.events.of(tenant, "credit-issued")) == count
    assert len(service.events.of(f"{tenant}-others", "credit-issued")) == 2


def dead_letters_at(service: Service, offsets: list[int]) -> list[dict[str, Any]]:
    """The dead letters at these places, in their order."""
    listed = service.ask("dead-letters", "list", "--topic", CANCELLED, "--limit", "1000")["dead_letters"]
    by_place = {(each["partition"], each["offset"]): each for each in listed}
    return [by_place[PARTITION, offset] for offset in offsets]


def heard_at(service: Service, offset: int) -> Heard:
    """What the topic of dead letters has of a place."""
    place = {("avoir-offset", str(offset).encode()), ("avoir-partition", str(PARTITION).encode())}
    (dead_letter,) = (each for each in service.events.dead_letters() if place <= set(each.headers))
    return dead_letter


@pytest.mark.parametrize(("codec", "length"), GIANTS.values(), ids=GIANTS)
def test_a_giant_is_dead_lettered_by_length_and_hash_and_all_around_it_is_handled(
    large: tuple[Service, ServiceProcess], codec: int, length: int
) -> None:
    service, process = large
    tenant = f"giant-{codec}"
    giants: list[Value] = [length, b"begin" + b"y" * 1_000_000]
    offsets = publish_among_others(service, tenant, codec, giants)
    until_all_are_handled(service, tenant, 3)
    for dead_letter, giant, offset in zip(dead_letters_at(service, offsets), giants, offsets, strict=True):
        size = giant if isinstance(giant, int) else len(giant)
        assert (dead_letter["outcome"], dead_letter["messages"], dead_letter["first_offset"]) == (
            "rejected",
            1,
            None,
        )
        assert (dead_letter["value_length"], dead_letter["sha256"]) == (size, hash_of(giant))
        assert "too large" in dead_letter["reason"] and "1000000" in dead_letter["reason"]
        shown = service.ask("dead-letters", "show", dead_letter["dead_letter_id"])
        kept = bytes(KEPT_BYTES) if isinstance(giant, int) else giant[:KEPT_BYTES]
        assert bytes.fromhex(shown["value"]["hex"]) == kept
        headers = dict(heard_at(service, offset).headers)
        assert heard_at(service, offset).value is None
        assert headers["avoir-sha256"] == hash_of(giant).encode()
        assert headers["avoir-length"] == str(size).encode()
    assert service.ask("status")["topics"]
    assert peak_mb(process) < MOST_MB


@pytest.mark.parametrize(("codec", "count"), [(ZSTD, 400), (GZIP, 150), (LZ4, 100), (SNAPPY, 15)])
def test_many_records_just_below_the_limit_are_held_in_bounded_memory(
    large: tuple[Service, ServiceProcess], codec: int, count: int
) -> None:
    service, process = large
    data = batch([LARGEST] * count, codec)
    publish(service.kafka, service.prefix + INVOICE, [(partition, data) for partition in range(4)])
    tenant = f"many-{codec}"
    offsets = publish_among_others(service, tenant, codec, [])
    assert offsets == []
    until_all_are_handled(service, tenant, 1)
    assert peak_mb(process) < MOST_MB


def lag(service: Service, topic: str) -> int:
    """How many messages of a topic are not handled yet."""
    return next(int(each["lag"]) for each in service.ask("status")["topics"] if each["topic"] == topic)


@pytest.mark.timeout(300)
def test_batches_with_the_largest_windows_do_not_keep_others_waiting(deploy: Deploy) -> None:
    service, others = deploy(), "beside-windows"
    process = service.deployment.serve()
    service.publish([bills(others, 0), bills(others, 1)])
    service.settle(SETTLED_S)
    wide = batch([LARGEST] * 1_500, ZSTD, pack=zstd_of_the_largest_window)
    publish(service.kafka, service.prefix + INVOICE, [(partition, wide) for partition in range(2)])
    # Both have unpacked more than all others may have together.
    while lag(service, INVOICE) > 2_700:
        time.sleep(POLL_S)
    small = batch([cancels(others, 0), cancels(others, 1)], ZSTD)
    publish(service.kafka, service.prefix + CANCELLED, [(PARTITION, small)])
    while lag(service, CANCELLED):
        time.sleep(POLL_S)
    assert lag(service, INVOICE) > 0
    assert peak_mb(process) < MOST_MB


WORST: dict[str, tuple[int, int, Pack]] = {
    "zstd": (ZSTD, 12, zstd_of_the_largest_window),
    "lz4": (LZ4, 12, lz4_of_the_largest_blocks),
    "snappy": (SNAPPY, 20, snappy_of_one_block),
}


@pytest.mark.parametrize(("codec", "count", "pack"), WORST.values(), ids=WORST)
def test_what_takes_most_memory_on_every_partition_at_once(
    large: tuple[Service, ServiceProcess], codec: int, count: int, pack: Pack
) -> None:
    service, process = large
    wide = batch([LARGEST] * 160, ZSTD, pack=zstd_of_the_largest_window)
    publish(service.kafka, service.prefix + INVOICE, [(0, wide)])
    data = batch([LARGEST] * count, codec, pack=pack)
    for topic in (CANCELLED, PAID):
        publish(service.kafka, service.prefix + topic, [(partition, data) for partition in range(PARTITIONS)])
    service.settle(2 * SETTLED_S)
    assert peak_mb(process) < MOST_MB


def test_what_is_cut_is_shown_so_and_cannot_be_replayed(large: tuple[Service, ServiceProcess]) -> None:
    service, _ = large
    (offset,) = publish_among_others(service, "cut", ZSTD, [2_000_000])
    (dead_letter,) = dead_letters_at(service, [offset])
    where = f"{CANCELLED}/{PARTITION}@{offset}"
    refused = service.deployment.fault("dead-letters", "replay", dead_letter["dead_letter_id"], code=1)
    assert where in refused and "2000000" in refused
    shown = service.deployment.call("dead-letters", "show", dead_letter["dead_letter_id"])
    assert dead_letter["sha256"] in shown and "2000000" in shown


def test_a_batch_is_followed_so_far_and_the_rest_of_it_is_one_dead_letter(
    large: tuple[Service, ServiceProcess],
) -> None:
    service, process = large
    tenant = "followed"
    service.publish([bills(tenant, 0), bills(tenant, 1)])
    values: list[Value] = [cancels(tenant, 0), 1_080_000_000, 1_080_000_000, cancels(tenant, 2)]
    data = batch(values, ZSTD)
    topic = service.prefix + CANCELLED
    first, _ = publish(
        service.kafka, topic, [(PARTITION, data), (PARTITION, batch([cancels(tenant, 1)], ZSTD))]
    )
    service.settle(SETTLED_S)
    assert len(service.events.of(tenant, "credit-issued")) == 2
    giant, rest = dead_letters_at(service, [first + 1, first + 3])
    assert (giant["messages"], giant["value_length"]) == (1, 1_080_000_000)
    assert (rest["first_offset"], rest["messages"]) == (first + 2, 2)
    assert (rest["value_length"], rest["sha256"]) == (len(data) - 61, hash_of(data[61:]))
    assert peak_mb(process) < MOST_MB


def until_taken(service: Service, big: Sending, within_s: float = 30) -> Place:
    """Publish a record once the broker has heard that its topic takes it."""
    end = time.monotonic() + within_s
    while True:
        try:
            return Publisher(service.kafka, service.prefix, most_bytes=6_000_000).publish([big])[0]
        except AssertionError:
            if time.monotonic() > end:
                raise
            time.sleep(POLL_S)


def test_what_is_too_large_uncompressed_is_cut_too(large: tuple[Service, ServiceProcess]) -> None:
    service, process = large
    asyncio.run(configure(service.kafka, service.prefix + PAID, {"max.message.bytes": "6000000"}))
    value = b'{"note": "' + b"z" * 4_000_000 + b'"}'
    big = Sending(PAID, value, b"k" * 2_000, (("h", b"v" * 5_000),), PARTITION)
    place = until_taken(service, big)
    service.settle(SETTLED_S)
    listed = service.ask("dead-letters", "list", "--topic", PAID, "--limit", "1000")["dead_letters"]
    (dead_letter,) = (
        each for each in listed if (each["partition"], each["offset"]) == (PARTITION, place.offset)
    )
    assert (dead_letter["value_length"], dead_letter["sha256"]) == (len(value), hash_of(value))
    shown = service.ask("dead-letters", "show", dead_letter["dead_letter_id"])
    assert bytes.fromhex(shown["value"]["hex"]) == value[:KEPT_BYTES]
    assert bytes.fromhex(shown["key"]["hex"]) == b"k" * KEPT_BYTES
    assert shown["headers"] == []
    assert peak_mb(process) < MOST_MB
