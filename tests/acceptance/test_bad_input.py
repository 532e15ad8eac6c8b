"""What is no message: each kind goes to the dead letters as it came, and its neighbours are handled."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import pytest

from avoir_events import CreditDeadLetter
from tests.acceptance.events import Heard
from tests.acceptance.facts import EXAMPLES, body, fact, line, owner
from tests.acceptance.publishing import Headers, Place, Sending
from tests.acceptance.service import Service

INVOICE, CANCELLED, PAID = "invoice-finalized", "booking-cancelled", "payment-recorded"
PARTITION = 1
ADDED = ("avoir-reason", "avoir-topic", "avoir-partition", "avoir-offset")
TOMORROW = (datetime.now(UTC) + timedelta(hours=25)).isoformat()
LIMIT = 900 * 1024


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of bad input, and what the reason must name."""

    name: str
    says: tuple[str, ...]
    topic: str = CANCELLED
    fields: Mapping[str, Any] | None = None
    value: bytes | None = b""
    headers: Headers = ()

    @property
    def tenant(self) -> str:
        """The tenant in which the neighbours are, and as far as it is readable the bad one."""
        return f"bad-{self.name.replace(' ', '-')}"

    def sending(self) -> Sending:
        """The bad record, in one partition with its neighbours."""
        value = self.value
        if self.fields is not None:
            value = json.dumps(body(self.topic, self.tenant, "bad", **self.fields)).encode()
        headers = (*self.headers, ("trace", b"\xff\x00"), ("empty", None), ("trace", b"again"))
        return Sending(self.topic, value, b"key \xfe", headers, PARTITION)


def _edited(topic: str, was: str, becomes: str) -> bytes:
    text = json.dumps(body(topic, "bad-edited", "bad"))
    assert was in text
    return text.replace(was, becomes).encode()


PERIOD = {"start": "2025-07-02T00:00:00Z", "end": "2025-07-01T00:00:00Z"}
LARGE = json.dumps({**body(CANCELLED, "bad-large", "bad"), "note": "x" * LIMIT}).encode()

KINDS = (
    Kind("no json", ("JSON",), value=b"{not json"),
    Kind("no utf-8", ("JSON",), value=b'{"event_id": "\xff"}'),
    Kind("no object", ("object",), value=b"[1, 2]"),
    Kind("empty", ("JSON",), value=b""),
    Kind("too deep", ("JSON",), value=b'{"a":' * 5000 + b"1" + b"}" * 5000),
    Kind("a tombstone", ("tombstone",), value=None),
    Kind("too large", ("large", str(LIMIT)), value=LARGE),
    Kind("NaN", ("JSON",), PAID, value=_edited(PAID, '"121.00"', "NaN")),
    Kind("infinity", ("JSON",), PAID, value=_edited(PAID, '"121.00"', "Infinity")),
    Kind("an amount that is a number", ("amount", "string"), PAID, {"amount": 121.0}),
    Kind("a negative amount", ("amount", "above zero"), PAID, {"amount": "-1.00"}),
    Kind("an amount of nothing", ("amount", "above zero"), PAID, {"amount": "0.00"}),
    Kind("an over-precise amount", ("amount", "decimals", "EUR"), PAID, {"amount": "1.005"}),
    Kind("yen with decimals", ("amount", "decimals", "JPY"), PAID, {"amount": "1.5", "currency": "JPY"}),
    Kind("an exponent", ("amount",), PAID, {"amount": "1e3"}),
    Kind("a total that is not the sum", ("total", "sum"), INVOICE, {"total": "120.00"}),
    Kind("more paid than total", ("amount_paid", "total"), INVOICE, {"amount_paid": "121.01"}),
    Kind(
        "two lines with one id",
        ("lines.1.line_id", "unique"),
        INVOICE,
        {"lines": [line("b1", "100.00"), line("b2", "21.00")]},
    ),
    Kind("an unknown currency", ("currency", "ISO 4217"), PAID, {"currency": "EUX"}),
    Kind("a wrong type", ("revision", "integer"), fields={"revision": "three"}),
    Kind("a missing field", ("booking_id", "missing"), value=_edited(CANCELLED, '"booking_id"', '"booking"')),
    Kind("a word that is none", ("changed_by",), fields={"changed_by": "nobody"}),
    Kind("an id that is too long", ("booking_id", "200"), fields={"booking_id": "b" * 201}),
    Kind("a NUL", ("booking_id",), fields={"booking_id": "b\0"}),
    Kind("a lone surrogate", ("JSON",), value=_edited(CANCELLED, '"b1"', r'"\ud800"')),
    Kind("a time without offset", ("occurred_at",), fields={"occurred_at": "2025-06-02T00:00:00"}),
    Kind("a time too far ahead", ("occurred_at", "ahead"), fields={"occurred_at": TOMORROW}),
    Kind(
        "a period that ends before it starts",
        ("lines.0.period", "after start"),
        INVOICE,
        {"lines": [line("b1", "121.00") | {"period": PERIOD}]},
    ),
    Kind("another id in the header", ("ce_id", "event_id"), fields={}, headers=(("ce_id", b"other"),)),
    Kind(
        "another time in the header",
        ("ce_time", "occurred_at"),
        fields={},
        headers=(("ce_time", b"2025-06-03T00:00:00Z"),),
    ),
    Kind("a header that is not UTF-8", ("ce_id", "UTF-8"), fields={}, headers=(("ce_id", b"\xff\xfe"),)),
    Kind(
        "the machine's time zone",
        ("policy.time_zone", "IANA", "localtime"),
        "set-credit-policy",
        {"policy": {"time_zone": "localtime"}},
    ),
    Kind(
        "an envelope without data",
        ("data", "missing"),
        value=b'{"specversion": "1.0", "id": "bad"}',
        headers=(("content-type", b"application/cloudevents+json"),),
    ),
)


@pytest.fixture(scope="module")
def places(service: Service) -> dict[str, Place]:
    """A good invoice for each kind, then each bad one with a good cancellation behind it; where the bad ones lie."""
    neighbours = [_neighbours(kind) for kind in KINDS]
    service.publish(before for before, _ in neighbours)
    bad = [kind.sending() for kind in KINDS]
    sent = [each for pair in zip(bad, (after for _, after in neighbours), strict=True) for each in pair]
    found = service.publish(sent)[::2]
    service.settle()
    return {kind.name: place for kind, place in zip(KINDS, found, strict=True)}


def _neighbours(kind: Kind) -> tuple[Sending, Sending]:
    other, more = owner("neighbour"), {"booking_id": "neighbour"}
    lines = [EXAMPLES[INVOICE]["lines"][0] | more]
    before = fact(INVOICE, kind.tenant, "before", owner=other, lines=lines, invoice_id="neighbour")
    after = fact(CANCELLED, kind.tenant, "after", owner=other, **more)
    return replace(before, partition=PARTITION), replace(after, partition=PARTITION)


def _dead_letter(service: Service, place: Place) -> Heard:
    wanted = (place.topic, str(place.partition), str(place.offset))
    found = []
    for dead_letter in service.events.dead_letters():
        headers = {name: value for name, value in dead_letter.headers if name.startswith("avoir-") and value}
        said = CreditDeadLetter.model_validate({name: value.decode() for name, value in headers.items()})
        if (said.topic, said.partition, said.offset) == wanted:
            found.append(dead_letter)
    assert len(found) == 1
    return found[0]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_it_is_dead_lettered_as_it_came_and_its_neighbours_are_handled(
    kind: Kind, places: dict[str, Place], service: Service
) -> None:
    dead_letter = _dead_letter(service, places[kind.name])
    sent = kind.sending()
    added = dead_letter.headers[len(sent.headers) :]
    assert (dead_letter.key, dead_letter.headers[: len(sent.headers)]) == (sent.key, sent.headers)
    assert [name for name, _ in added[:4]] == list(ADDED)
    reason = (added[0][1] or b"").decode()
    assert all(word in reason for word in kind.says), reason
    if sent.value is not None and len(sent.value) > LIMIT:
        assert dead_letter.value is None
        assert dict(added)["avoir-sha256"] == sha256(sent.value).hexdigest().encode()
    else:
        assert (dead_letter.value, len(added)) == (sent.value, 4)
    issued = service.events.of(kind.tenant, "credit-issued")
    assert [each.body["caused_by"]["event_id"] for each in issued] == ["after"]


def test_the_table_keeps_all_bytes_of_what_is_too_large_for_the_topic(
    places: dict[str, Place], service: Service
) -> None:
    dead_letter = _dead_letter(service, places["too large"])
    dead_letter_id = (dict(dead_letter.headers)["avoir-dead-letter-id"] or b"").decode()
    shown = service.ask("dead-letters", "show", dead_letter_id)
    assert bytes.fromhex(shown["value"]["hex"]) == LARGE
    assert bytes.fromhex(shown["key"]["hex"]) == b"key \xfe"
    assert [each["name"] for each in shown["headers"]] == ["trace", "empty", "trace"]
    assert [each["value"] and each["value"]["hex"] for each in shown["headers"]] == [
        "ff00",
        None,
        b"again".hex(),
    ]


def test_every_one_is_listed_with_what_is_wrong(places: dict[str, Place], service: Service) -> None:
    listed = service.ask("dead-letters", "list", "--outcome", "rejected", "--all", "--limit", "1000")
    found = {(each["topic"], each["partition"], each["offset"]): each for each in listed["dead_letters"]}
    for kind in KINDS:
        dead_letter = found[places[kind.name]]
        assert all(word in dead_letter["reason"] for word in kind.says)
        # Where nothing can be read the letter lies under the empty tenant.
        assert dead_letter["tenant_id"] in (kind.tenant if kind.fields is not None else "", "", "bad-edited")
