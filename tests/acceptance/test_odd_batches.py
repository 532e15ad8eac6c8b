"""Batches that the broker takes as they should not be: all that is good in them is handled."""

import struct
from collections.abc import Callable

import cramjam
import lz4.frame
import pytest
import zstandard
from aiokafka.codec import gzip_encode

from tests.acceptance.packing import GZIP, LZ4, NONE, SNAPPY, ZSTD, batch, batch_of, hash_of, publish, records
from tests.acceptance.service import Service
from tests.acceptance.test_large_records import CANCELLED, PARTITION, bills, cancels

Pack = Callable[[bytes], bytes]
WRONG = {"odd-header-zstd": ZSTD, "odd-header-plain": NONE}


def lz4_with_a_wrong_checksum(data: bytes) -> bytes:
    """A frame that ends with a checksum of something else."""
    packed: bytes = lz4.frame.compress(data, content_checksum=True)
    return packed[:-1] + bytes([packed[-1] ^ 1])


def xerial(data: bytes) -> bytes:
    """One block of snappy."""
    block = bytes(cramjam.snappy.compress_raw(data))
    return b"\x82SNAPPY\0" + struct.pack(">iii", 1, 1, len(block)) + block


ODD: dict[str, tuple[int, Pack]] = {
    "lz4-checksum": (LZ4, lz4_with_a_wrong_checksum),
    "lz4-behind": (LZ4, lambda data: lz4.frame.compress(data) + b"garbage"),
    "lz4-frames": (LZ4, lambda data: lz4.frame.compress(data) + lz4.frame.compress(data)),
    "gzip-behind": (GZIP, lambda data: gzip_encode(data) + b"garbage"),
    "gzip-members": (GZIP, lambda data: gzip_encode(data[:50]) + gzip_encode(data[50:])),
    "snappy-behind": (SNAPPY, lambda data: xerial(data) + b"\0\0"),
    "zstd-frames": (ZSTD, lambda data: zstandard.compress(data[:50]) + zstandard.compress(data[50:])),
}
BAD_HEADER = b"\x16\0\0\x02\x01\x02x\x02\x02\xff\x02v"
"""A second record whose header has a name that is not UTF-8."""


@pytest.fixture(scope="module")
def offsets(service: Service) -> dict[str, int]:
    """All batches are handled, in one partition and with others between them; returns where each bad record lies."""
    tenants = [f"odd-{name}" for name in ODD]
    others = [f"{tenant}-others" for tenant in tenants]
    service.publish(bills(tenant, n) for tenant in [*tenants, *others, *WRONG] for n in range(2))
    batches = []
    for tenant, other, (codec, pack) in zip(tenants, others, ODD.values(), strict=True):
        data = pack(records([cancels(tenant, 0), cancels(tenant, 1)]))
        batches += [batch_of(data, codec, 2), batch([cancels(other, 0), cancels(other, 1)], codec)]
    for tenant, codec in WRONG.items():
        bad = records([cancels(tenant, 0)]) + BAD_HEADER + records([cancels(tenant, 1)], 2)
        batches.append(batch_of(bad if codec == NONE else zstandard.compress(bad), codec, 3))
    places = publish(service.kafka, service.prefix + CANCELLED, [(PARTITION, each) for each in batches])
    service.settle(100)
    return {tenant: place + 1 for tenant, place in zip(WRONG, places[-len(WRONG) :], strict=True)}


@pytest.mark.parametrize("name", ODD)
def test_every_message_of_it_is_handled_and_those_of_others_around_it(
    name: str, offsets: dict[str, int], service: Service
) -> None:
    for tenant in (f"odd-{name}", f"odd-{name}-others"):
        issued = service.events.of(tenant, "credit-issued")
        # Whichever came last caused the credit: the cancellation c0, or the invoice i0.
        assert sorted(each.body["caused_by"]["event_id"][1:] for each in issued) == ["0", "1"]


@pytest.mark.parametrize("tenant", WRONG)
def test_a_record_that_no_client_reads_is_dead_lettered_and_its_neighbours_are_handled(
    tenant: str, offsets: dict[str, int], service: Service
) -> None:
    assert len(service.events.of(tenant, "credit-issued")) == 2
    offset = offsets[tenant]
    listed = service.ask("dead-letters", "list", "--topic", CANCELLED, "--limit", "10000")["dead_letters"]
    (letter,) = (each for each in listed if (each["partition"], each["offset"]) == (PARTITION, offset))
    assert (letter["outcome"], letter["messages"], letter["first_offset"]) == ("rejected", 1, None)
    assert letter["reason"] == f"unreadable: a record of {len(BAD_HEADER)} bytes: UnicodeDecodeError"
    assert (letter["value_length"], letter["sha256"]) == (len(BAD_HEADER), hash_of(BAD_HEADER))
    shown = service.ask("dead-letters", "show", letter["dead_letter_id"])
    assert bytes.fromhex(shown["value"]["hex"]) == BAD_HEADER
    refused = service.deployment.fault("dead-letters", "replay", letter["dead_letter_id"], code=1)
    assert f"{CANCELLED}/{PARTITION}@{offset}" in refused
