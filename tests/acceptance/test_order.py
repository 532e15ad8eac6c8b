"""The order in which a backlog counts: a file in its own order, messages of one millisecond by what depends on what."""

import asyncio
import json
import random
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaProducer

from avoir_events import COMMANDS
from tests.acceptance.facts import body
from tests.acceptance.service import Deploy

LINES, CUSTOMERS, PAIRS = 1_000, 12, 1_000
BEGIN = datetime(2025, 6, 1, tzinfo=UTC)


def customer(number: int) -> dict[str, str]:
    return {"type": "user", "id": f"u{number}"}


def shuffled(tenant: str) -> Iterator[dict[str, Any]]:
    """Lines of all kinds whose order matters: credit is given, spent and taken back, and policies change meanwhile."""
    chance, booked = random.Random(7), [("b-1", customer(0))]
    for n in range(LINES):
        owner, amount = customer(chance.randrange(CUSTOMERS)), f"{chance.randrange(1, 40)}.00"
        kinds = ["grant", "draw", "apply", "bill", "bill", "cancel", "cancel", "pay", "policy"]
        topic: str
        fields: dict[str, Any]
        match chance.choice(kinds):
            case "grant":
                topic, fields = "grant-credit", {"amount": amount, "reason": "goodwill"}
            case "draw":
                topic = "draw-credit"
                fields = {"amount": amount, "allow_partial": False, "reference": f"r{n}"}
            case "apply":
                topic = "apply-credit"
                fields = {"invoice_id": f"i{n - 1}", "amount": None, "grant_id": None}
            case "bill":
                booked.append((f"b{n}", owner))
                line = {"line_id": "l1", "kind": "booking", "booking_id": f"b{n}", "amount": amount}
                topic, fields = "invoice-finalized", {"lines": [line], "total": amount}
                fields |= {"invoice_id": f"i{n}", "number": f"N-{n}", "finalization": "automatic"}
                fields |= {"amount_paid": chance.choice(["0.00", amount])}
            case "cancel":
                topic, (booking_id, owner) = "booking-cancelled", booked[-1]
                fields = {"booking_id": booking_id, "changed_by": "customer"}
            case "pay":
                topic = "payment-recorded"
                fields = {"payment_id": f"p{n}", "amount": amount, "method": "card", "invoice_ids": []}
            case _:
                keys = {"credit_as": chance.choice(["balance", "line_item"]), "auto_apply": n % 3 > 0}
                topic, fields = "set-credit-policy", {"scope": {"tenant": True}, "policy": keys}
        fields |= {"event_id": f"e{n}", "tenant_id": tenant}
        fields |= {"occurred_at": (BEGIN + timedelta(hours=n)).isoformat()}
        if topic != "set-credit-policy":
            fields |= {"owner": owner}
        if topic in COMMANDS:
            fields |= {"actor": {"type": "admin", "id": "a1"}}
        if topic not in ("set-credit-policy", "booking-cancelled"):
            fields |= {"currency": "EUR"}
        yield {"topic": topic, "value": fields}


def test_a_file_that_was_sent_counts_in_its_own_order(deploy: Deploy, tmp_path: Path) -> None:
    service, file = deploy(), tmp_path / "shuffled.jsonl"
    file.write_text("".join(json.dumps(each) + "\n" for each in shuffled("shuffled")))
    simulated = service.ask("simulate", str(file))
    assert service.ask("send", "-", str(file))["sent"] == LINES
    service.deployment.serve()
    service.settle()
    accounts = service.ask("balance", "--tenant", "shuffled")["accounts"]
    assert balances(accounts) == balances(simulated["accounts"])
    declined = [
        each.body["caused_by"]["event_id"] for each in service.events.of("shuffled", "credit-declined")
    ]
    decided = [each["event_id"] for each in simulated["messages"] if each["outcome"] == "declined"]
    assert sorted(declined) == sorted(decided)


def balances(accounts: Iterable[dict[str, Any]]) -> dict[str, tuple[str, str]]:
    return {each["owner"]["id"]: (each["available"], each["reserved"]) for each in accounts}


def test_of_one_millisecond_invoices_come_before_what_changes_their_bookings(deploy: Deploy) -> None:
    service = deploy()
    pairs = [each for n in range(PAIRS) for each in pair("pairs", n)]
    asyncio.run(published(service.kafka, service.prefix, pairs))
    service.deployment.serve()
    service.settle()
    assert service.events.of("pairs", "credit-declined") == []
    assert len(service.events.of("pairs", "credit-issued")) == PAIRS


def pair(tenant: str, n: int) -> list[tuple[str, dict[str, Any]]]:
    """An invoice and the cancellation of what it bills."""
    cancelled = body("booking-cancelled", tenant, f"c{n}", booking_id=f"b{n}")
    invoice = body("invoice-finalized", tenant, f"f{n}", invoice_id=f"i{n}", number=f"N-{n}")
    invoice["lines"] = [invoice["lines"][0] | {"booking_id": f"b{n}"}]
    return [("invoice-finalized", invoice), ("booking-cancelled", cancelled)]


async def published(kafka: str, prefix: str, messages: Iterable[tuple[str, dict[str, Any]]]) -> None:
    """Publish messages, ten to a millisecond."""
    stamp = int(datetime.now(UTC).timestamp() * 1000) - 10_000
    async with AIOKafkaProducer(bootstrap_servers=kafka, acks="all") as producer:
        sent = [
            await producer.send(prefix + topic, json.dumps(value).encode(), timestamp_ms=stamp + n // 10)
            for n, (topic, value) in enumerate(messages)
        ]
        await asyncio.gather(*sent)
