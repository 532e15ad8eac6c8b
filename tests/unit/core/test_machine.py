"""The whole core under random messages of all kinds, held against a model of a few lines after every one of them."""

import os
from collections import defaultdict
from datetime import timedelta
from random import Random
from typing import Any, Literal
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avoir.core.effects import apply as apply_module
from avoir.core.effects.apply import MAX_SLICES
from avoir.core.model.events import (
    AccountKey,
    CreditApplied,
    CreditDrawn,
    CreditExpired,
    CreditIssued,
    CreditRefunded,
    CreditReinstated,
    CreditVoided,
    Event,
)
from avoir.core.model.facts import Fact
from avoir.core.model.message import Message
from avoir.core.model.policy import Policy
from tests.examples import examples
from tests.unit.core.at_rest import assert_at_rest
from tests.unit.core.random_messages import Somebody
from tests.unit.core.test_worklist import assert_same_both_ways
from tests.unit.core.world import World, at, message, rows

CREDIT_AS: list[Literal["balance", "line_item"]] = ["balance", "line_item"]
EXAMPLES = int(os.environ.get("AVOIR_TEST_EXAMPLES", "25"))


class Consumer:
    """What somebody who reads the events alone knows: what is left of each grant, and of each account in all."""

    def __init__(self) -> None:
        self.left: defaultdict[UUID, int] = defaultdict(int)
        self.accounts: defaultdict[AccountKey, int] = defaultdict(int)
        self.seqs: defaultdict[AccountKey, int] = defaultdict(int)

    def read(self, event: Event) -> None:
        if event.account is None:
            return
        for grant_id, amount in self.moved(event.body):
            self.left[grant_id] += amount
            self.accounts[event.account] += amount
        assert event.seq == self.seqs[event.account] + 1
        self.seqs[event.account] = event.seq
        assert event.available is not None and event.reserved is not None
        assert event.available + event.reserved == self.accounts[event.account]
        assert min(event.available, event.reserved) >= 0

    def moved(self, body: Any) -> list[tuple[UUID, int]]:
        match body:
            case CreditIssued():
                return [(body.grant_id, body.amount)]
            case CreditVoided() | CreditExpired():
                return [(body.grant_id, -body.amount)]
            case CreditApplied() | CreditDrawn() | CreditRefunded():
                assert len(body.slices) <= apply_module.MAX_SLICES
                assert body.amount == sum(part.amount for part in body.slices)
                return [(part.grant_id, -part.amount) for part in body.slices]
            case CreditReinstated(undone="application"):
                return [(part.grant_id, part.amount) for part in body.slices]
        return []


class Play:
    """One tenant whose clock moves on, with messages of every kind."""

    def __init__(self, seed: int) -> None:
        self.chance = Random(seed)
        credit_as = self.chance.choice(CREDIT_AS)
        self.world = World(policy=Policy(credit_as=credit_as), now=at("06-10"))
        self.consumer = Consumer()
        self.delivered: list[Message] = []
        self.heard = 0

    def step(self) -> None:
        dice = self.chance.random()
        if dice < 0.08 and self.delivered:
            self.hear_again(self.chance.choice(self.delivered))
        elif dice < 0.16:
            self.wait(self.chance.randint(1, 4))
        else:
            self.hear()
        self.assert_all_that_holds()

    def hear(self) -> None:
        body = Somebody(self.chance, self.world).anything()
        is_late = isinstance(body, Fact) and self.chance.random() < 0.7
        when = f"06-0{self.chance.randint(1, 9)}" if is_late else f"{self.world.now:%m-%d}"
        delivered = message(f"e{len(self.delivered)}", when, body)
        assert_same_both_ways(self.world, delivered)
        self.world.handle(delivered)
        self.delivered.append(delivered)

    def hear_again(self, again: Message) -> None:
        before = len(self.world.events)
        assert self.world.handle(again).outcome in ("duplicate", "conflict")
        assert len(self.world.events) == before

    def wait(self, days: int) -> None:
        self.world.now += timedelta(days=days)
        self.world.sweep()

    def assert_all_that_holds(self) -> None:
        self.a_consumer_knows_what_is_left()
        self.an_invoice_is_never_paid_above_what_it_charges()
        assert_at_rest(self.world)

    def a_consumer_knows_what_is_left(self) -> None:
        for event in self.world.events[self.heard :]:
            self.consumer.read(event)
        self.heard = len(self.world.events)
        for grant in rows(self.world.state.grants):
            assert self.consumer.left[grant.key.id] == grant.remaining
        for account in rows(self.world.state.accounts):
            assert self.consumer.accounts[account.key] == account.available + account.reserved

    def an_invoice_is_never_paid_above_what_it_charges(self) -> None:
        for bill in rows(self.world.state.invoices):
            keys = self.world.state.applications_of_invoice.get(bill.key) or ()
            standing = [self.world.state.applications[key] for key in keys]
            used = sum(
                each.amount for each in standing if not each.reinstated and each.applied_by != "line_item"
            )
            assert bill.applied == used
            assert bill.due >= 0
            if not bill.voided:
                assert bill.settled + bill.applied <= max(bill.charged, 0)


@pytest.mark.parametrize("most", [1, MAX_SLICES], ids="{} grants an event".format)
@settings(max_examples=examples(EXAMPLES), deadline=None)
@given(st.integers(0, 2**64))
def test_whatever_is_told_the_books_add_up_and_nothing_is_left_to_do(most: int, seed: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(apply_module, "MAX_SLICES", most)
        play = Play(seed)
        for _ in range(40):
            play.step()
    play.world.check_ledger()
