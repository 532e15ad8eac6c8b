"""What holds for the events of every account: the contract of a consumer, checked with nothing but the events."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from avoir_events import EVENTS, read
from tests.acceptance.events import BALANCE, Heard

ADDS = {"credit-issued": 1, "credit-reinstated": 1}
TAKES = {
    "credit-applied": -1,
    "credit-voided": -1,
    "credit-expired": -1,
    "credit-refunded": -1,
    "credit-drawn": -1,
}
CHANGES = {**ADDS, **TAKES}
"""How an event's amount changes what an account holds in all; the others change nothing."""

TAKEN_BACK = {"invoice_voided", "payment_reversed", "changed", "payment_settled_invoice"}


@dataclass(frozen=True, slots=True)
class Account:
    """An account as a consumer knows it: its events in sequence."""

    key: str
    events: tuple[Heard, ...]

    @property
    def available(self) -> Decimal:
        """What is free to use after the last event."""
        return Decimal(self.events[-1].body["balance"]["available"])

    @property
    def reserved(self) -> Decimal:
        """What is set aside after the last event."""
        return Decimal(self.events[-1].body["balance"]["reserved"])


def once(heard: Iterable[Heard]) -> list[Heard]:
    """What a consumer keeps: of each account and topic what is above the last (epoch, seq)."""
    last: dict[tuple[str, bytes | None], tuple[int, int]] = {}
    kept = []
    for each in heard:
        if each.topic == BALANCE:
            continue
        if each.body["seq"] is None:
            kept.append(each)
            continue
        place, number = (each.topic, each.key), (each.body["epoch"], each.body["seq"])
        if number > last.get(place, (0, 0)):
            last[place] = number
            kept.append(each)
    return kept


def checked_accounts(heard: Sequence[Heard]) -> dict[str, Account]:
    """The accounts in these events, by key, after everything that must hold for each was checked."""
    for each in heard:
        _check_form(each)
    by_key: defaultdict[str, list[Heard]] = defaultdict(list)
    for each in once(heard):
        if each.body["seq"] is not None and each.key is not None:
            by_key[each.key.decode()].append(each)
    accounts = {key: _checked_account(key, events) for key, events in by_key.items()}
    balances = {each.key: each for each in heard if each.topic == BALANCE and each.key is not None}
    assert {key.decode() for key in balances} == set(accounts)
    for key, balance in balances.items():
        _check_balance(balance, accounts[key.decode()])
    return accounts


def _check_form(each: Heard) -> None:
    assert each.value is not None
    read(EVENTS[each.topic], each.value)
    headers = dict(each.headers)
    assert headers["content-type"] == b"application/json"
    assert headers["ce_type"] == f"avoir.{each.topic}.v1".encode()
    if each.topic != BALANCE:
        assert headers["ce_id"] == each.body["event_id"].encode()


def _checked_account(key: str, events: list[Heard]) -> Account:
    events.sort(key=lambda each: (each.body["epoch"], each.body["seq"]))
    numbers = [each.body["seq"] for each in events]
    assert numbers == list(range(1, len(events) + 1)), f"{key}: seq has gaps: {numbers}"
    held = Decimal(0)
    for each in events:
        available, reserved = (Decimal(each.body["balance"][part]) for part in ("available", "reserved"))
        assert available >= 0 and reserved >= 0, each
        held += _change(each)
        assert available + reserved == held, f"{key}: the balance does not add up at {each.body}"
    return Account(key, tuple(events))


def _change(each: Heard) -> Decimal:
    if each.body.get("from") == "reservation" or each.topic not in CHANGES:
        return Decimal(0)
    return CHANGES[each.topic] * Decimal(each.body["amount"])


def _check_balance(balance: Heard, account: Account) -> None:
    body, last = balance.body, account.events[-1].body
    assert (body["epoch"], body["seq"]) == (last["epoch"], last["seq"]), (
        f"{account.key}: credit-balance is stale"
    )
    assert (body["available"], body["reserved"]) == (
        last["balance"]["available"],
        last["balance"]["reserved"],
    )


def credited(heard: Sequence[Heard], invoice_id: str, line_id: str) -> Decimal:
    """What was given for a line, less what was taken back."""
    given: dict[str, Decimal] = {}
    taken = Decimal(0)
    for each in once(heard):
        item = each.body.get("line_item")
        if item and (item["for"]["invoice_id"], item["for"]["line_id"]) == (invoice_id, line_id):
            given[each.body["grant_id"]] = Decimal(each.body["amount"])
    for each in once(heard):
        if each.topic == "credit-voided" and each.body["grant_id"] in given:
            taken += Decimal(each.body["amount"]) if each.body["reason"] in TAKEN_BACK else 0
    return sum(given.values(), Decimal(0)) - taken


def applied(heard: Sequence[Heard], invoice_id: str) -> Decimal:
    """What was applied to an invoice, less what was reinstated."""
    signs = {"credit-applied": 1, "credit-reinstated": -1}
    return sum(
        (
            signs[each.topic] * Decimal(each.body["amount"])
            for each in once(heard)
            if each.topic in signs
            and each.body["invoice_id"] == invoice_id
            and each.body.get("from") != "reservation"
        ),
        Decimal(0),
    )


def declined(heard: Sequence[Heard]) -> list[tuple[str, str]]:
    """What was declined: the causing event ids and the reasons."""
    return [
        (each.body["caused_by"]["event_id"], each.body["reason"])
        for each in once(heard)
        if each.topic == "credit-declined"
    ]
