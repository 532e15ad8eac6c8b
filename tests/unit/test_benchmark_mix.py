"""The benchmark's messages: as many of each kind as it says, in time order, and each what it claims to be."""

import json
from collections import Counter
from datetime import UTC, datetime

import pytest

from avoir.core.decide import decide
from avoir.core.model.policy import Policy
from avoir.core.state.draft import Moment
from avoir.core.state.state import State
from avoir.record import Record
from avoir.wire.incoming import ParsedRecord, UnreadableRecord, parse
from benchmarks.mix import SHARES, TENANTS, Wire, mix, of_some_customers

COUNT = 4_000


@pytest.fixture(scope="module")
def messages() -> list[Wire]:
    return mix(COUNT, customers=100)


def read(message: Wire) -> ParsedRecord | UnreadableRecord:
    return parse(Record(message.topic, 0, 0, 0, message.key, message.value), 900 * 1024)


def test_every_kind_has_its_share(messages: list[Wire]) -> None:
    counts = Counter(message.kind for message in messages)
    assert counts == {kind: COUNT * share for kind, share in SHARES.items()}


@pytest.mark.slow
def test_the_same_seed_gives_the_same_messages(messages: list[Wire]) -> None:
    assert mix(COUNT, customers=100) == messages
    assert mix(COUNT, customers=100, seed=2) != messages


def test_only_the_rejected_ones_cannot_be_read(messages: list[Wire]) -> None:
    for message in messages:
        assert isinstance(read(message), UnreadableRecord) == (message.kind == "rejected"), message


def test_they_come_in_time_order_over_tenants_and_customers(messages: list[Wire]) -> None:
    new = [json.loads(message.value) for message in messages if message.kind in ("billing", "change")]
    times = [message["occurred_at"] for message in new]
    assert times == sorted(times)
    assert len({message["tenant_id"] for message in new}) == TENANTS
    assert len({message.key for message in messages}) == 100


def test_a_repeat_is_an_earlier_message_byte_by_byte(messages: list[Wire]) -> None:
    seen: set[tuple[str, bytes, bytes]] = set()
    for message in messages:
        record = (message.topic, message.key, message.value)
        assert (record in seen) == (message.kind == "repeat")
        seen.add(record)


def test_some_customers_have_all_their_messages_in_order_and_about_the_same_shares(
    messages: list[Wire],
) -> None:
    some = of_some_customers(messages, 1_000)
    assert 900 < len(some) <= 1_000
    customers = {message.key for message in some}
    assert some == [message for message in messages if message.key in customers]
    counts = Counter(message.kind for message in some)
    assert all(abs(counts[kind] / len(some) - share) < 0.05 for kind, share in SHARES.items())


@pytest.mark.slow
def test_in_order_most_changes_give_credit_and_none_is_a_conflict(messages: list[Wire]) -> None:
    state, moment = State.empty(), Moment(datetime.now(UTC), 1, Policy())
    outcomes: Counter[str] = Counter()
    for message in messages:
        found = read(message)
        if isinstance(found, ParsedRecord):
            decided = decide(state, found.message, moment)
            outcomes[f"{message.kind} {decided.decision.outcome}"] += 1
    assert outcomes["repeat duplicate"] == COUNT * SHARES["repeat"]
    assert not any(outcome.endswith("conflict") for outcome in outcomes)
    changes = COUNT * SHARES["change"]
    assert outcomes["change issued"] + outcomes["change waiting"] > 0.7 * changes
    assert outcomes["change declined"] < 0.1 * changes
