"""Dead letters: shown, replayed once the situation is another, and their event ids free to use again."""

import time
from datetime import UTC, datetime, timedelta

from tests.acceptance.accounts import checked_accounts
from tests.acceptance.facts import fact
from tests.acceptance.service import Service

INVOICE, CANCELLED = "invoice-finalized", "booking-cancelled"
MOST_AHEAD = timedelta(hours=24)


def letters_of(service: Service, tenant: str, *arguments: str) -> list[dict[str, str]]:
    """The dead letters of a tenant, the newest first."""
    listed = service.ask("dead-letters", "list", "--tenant", tenant, *arguments)
    found: list[dict[str, str]] = listed["dead_letters"]
    return found


def test_a_replay_is_handled_as_new_once_the_situation_is_another(service: Service) -> None:
    tenant = "replayed"
    soon = datetime.now(UTC) + timedelta(seconds=8)
    too_early = fact(CANCELLED, tenant, "early", occurred_at=(soon + MOST_AHEAD).isoformat())
    service.publish([fact(INVOICE, tenant, "billed"), too_early])
    service.settle()
    (letter,) = letters_of(service, tenant)
    assert (letter["outcome"], letter["event_id"]) == ("rejected", "early")
    assert "occurred_at" in letter["reason"]
    while datetime.now(UTC) < soon:
        time.sleep(0.05)
    assert service.ask("dead-letters", "replay", letter["dead_letter_id"])["replayed"] == [
        letter["dead_letter_id"]
    ]
    service.settle()
    (issued,) = service.events.of(tenant, "credit-issued")
    assert issued.body["caused_by"] == {"topic": CANCELLED, "event_id": "early"}
    decisions = service.ask("explain", "early", "--tenant", tenant)["decisions"]
    assert [each["outcome"] for each in decisions] == ["rejected", "issued"]
    assert letters_of(service, tenant) == []
    assert letters_of(service, tenant, "--all")[0]["replayed_at"]
    again = service.ask("dead-letters", "replay", letter["dead_letter_id"], code=1)
    assert again["replayed"] == []


def test_a_replay_of_the_same_fault_is_refused_again(service: Service) -> None:
    tenant = "replayed-in-vain"
    service.publish([fact(CANCELLED, tenant, "bad", changed_by="nobody")])
    service.settle()
    (letter,) = letters_of(service, tenant)
    service.ask("dead-letters", "replay", letter["dead_letter_id"])
    service.settle()
    (newer,) = letters_of(service, tenant)
    assert newer["reason"] == letter["reason"]
    assert newer["dead_letter_id"] != letter["dead_letter_id"]


def test_the_corrected_message_may_have_the_same_event_id(service: Service) -> None:
    tenant = "corrected"
    service.publish([fact(INVOICE, tenant, "billed"), fact(CANCELLED, tenant, "bad", changed_by="nobody")])
    service.settle()
    service.publish([fact(CANCELLED, tenant, "bad")])
    service.settle()
    (issued,) = service.events.of(tenant, "credit-issued")
    assert issued.body["caused_by"]["event_id"] == "bad"


def test_a_conflict_changes_nothing_and_is_kept_as_it_came(service: Service) -> None:
    tenant = "conflict"
    first, other = fact(CANCELLED, tenant, "c"), fact(CANCELLED, tenant, "c", fee="10.00", currency="EUR")
    service.publish([fact(INVOICE, tenant, "billed"), first])
    service.settle()
    headers = (("trace", b"\xff"), ("ce_id", b"c"))
    (place,) = service.publish([type(other)(other.topic, other.value, b"\xfe", headers)])
    service.settle()
    (letter,) = [
        each for each in service.events.dead_letters() if (each.key, each.value) == (b"\xfe", other.value)
    ]
    assert letter.headers == (
        *headers,
        ("avoir-reason", b"conflict"),
        ("avoir-topic", CANCELLED.encode()),
        ("avoir-partition", str(place.partition).encode()),
        ("avoir-offset", str(place.offset).encode()),
    )
    (kept,) = letters_of(service, tenant, "--outcome", "conflict")
    shown = service.ask("dead-letters", "show", kept["dead_letter_id"])
    assert bytes.fromhex(shown["value"]["hex"]) == other.value
    (account,) = checked_accounts(service.events.of(tenant)).values()
    assert (str(account.available), len(account.events)) == ("121.00", 1)
