"""Dead letters: shown, replayed once the situation is another, and their event ids free to use again."""

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from tests.acceptance.accounts import checked_accounts
from tests.acceptance.events import Heard
from tests.acceptance.facts import fact
from tests.acceptance.publishing import Sending
from tests.acceptance.service import Service

INVOICE, CANCELLED = "invoice-finalized", "booking-cancelled"
MOST_AHEAD = timedelta(hours=24)


def dead_letters_of(service: Service, tenant: str, *arguments: str) -> list[dict[str, str]]:
    """The dead letters of a tenant, the newest first."""
    listed = service.ask("dead-letters", "list", "--tenant", tenant, *arguments)
    found: list[dict[str, str]] = listed["dead_letters"]
    return found


def heard(service: Service, sent: Sending, count: int = 1) -> list[Heard]:
    """Wait until so many dead letters with the bytes of this record arrived."""

    def found() -> list[Heard] | None:
        dead_letters = [each for each in service.events.dead_letters() if each.value == sent.value]
        return dead_letters if len(dead_letters) >= count else None

    return service.events.until(found, f"{count} dead letter(s)")


def until_issued(service: Service, tenant: str) -> Heard:
    """Wait until the one credit of a tenant arrived."""
    (issued,) = service.events.until(lambda: service.events.of(tenant, "credit-issued"), "the credit")
    return issued


def test_a_replay_is_handled_as_new_once_the_situation_is_another(service: Service) -> None:
    tenant = "replayed"
    soon = datetime.now(UTC) + timedelta(seconds=6)
    too_early = fact(CANCELLED, tenant, "early", occurred_at=(soon + MOST_AHEAD).isoformat())
    service.publish([fact(INVOICE, tenant, "billed"), too_early])
    heard(service, too_early)
    (dead_letter,) = dead_letters_of(service, tenant)
    assert (dead_letter["outcome"], dead_letter["event_id"]) == ("rejected", "early")
    assert "occurred_at" in dead_letter["reason"]
    while datetime.now(UTC) < soon:
        time.sleep(0.05)
    replayed = service.ask("dead-letters", "replay", dead_letter["dead_letter_id"])["replayed"]
    assert replayed == [dead_letter["dead_letter_id"]]
    caused_by = {"topic": CANCELLED, "event_id": "early", "by": None}
    assert until_issued(service, tenant).body["caused_by"] == caused_by
    decisions = service.ask("explain", "early", "--tenant", tenant)["decisions"]
    assert [each["outcome"] for each in decisions] == ["rejected", "issued"]
    assert dead_letters_of(service, tenant) == []
    assert dead_letters_of(service, tenant, "--all")[0]["replayed_at"]
    again = service.ask("dead-letters", "replay", dead_letter["dead_letter_id"], code=1)
    assert again["replayed"] == []


def test_a_replay_of_the_same_fault_is_refused_again(service: Service) -> None:
    tenant = "replayed-in-vain"
    bad = fact(CANCELLED, tenant, "bad", changed_by="nobody")
    service.publish([bad])
    heard(service, bad)
    (dead_letter,) = dead_letters_of(service, tenant)
    service.ask("dead-letters", "replay", dead_letter["dead_letter_id"])
    first, second = heard(service, bad, 2)
    assert first.headers[:2] == second.headers[:2]
    (newer,) = dead_letters_of(service, tenant)
    assert newer["reason"] == dead_letter["reason"]
    assert newer["dead_letter_id"] != dead_letter["dead_letter_id"]


def test_the_corrected_message_may_have_the_same_event_id(service: Service) -> None:
    tenant = "corrected"
    bad = fact(CANCELLED, tenant, "bad", changed_by="nobody")
    service.publish([fact(INVOICE, tenant, "billed"), bad])
    heard(service, bad)
    service.publish([fact(CANCELLED, tenant, "bad")])
    assert until_issued(service, tenant).body["caused_by"]["event_id"] == "bad"


def test_a_conflict_changes_nothing_and_is_kept_as_it_came(service: Service) -> None:
    tenant = "conflict"
    service.publish([fact(INVOICE, tenant, "billed"), fact(CANCELLED, tenant, "c")])
    until_issued(service, tenant)
    headers = (("trace", b"\xff"), ("ce_id", b"c"))
    other = replace(fact(CANCELLED, tenant, "c", fee="10.00", currency="EUR"), key=b"\xfe", headers=headers)
    (place,) = service.publish([other])
    (dead_letter,) = heard(service, other)
    assert dead_letter.key == other.key
    assert dead_letter.headers == (
        *headers,
        ("avoir-reason", b"conflict"),
        ("avoir-topic", CANCELLED.encode()),
        ("avoir-partition", str(place.partition).encode()),
        ("avoir-offset", str(place.offset).encode()),
    )
    (kept,) = dead_letters_of(service, tenant, "--outcome", "conflict")
    shown = service.ask("dead-letters", "show", kept["dead_letter_id"])
    assert bytes.fromhex(shown["value"]["hex"]) == other.value
    service.settle()
    (account,) = checked_accounts(service.events.of(tenant)).values()
    assert (str(account.available), len(account.events)) == ("121.00", 1)
