"""Each reason for which facts give nothing, or not yet: through topics, and as `avoir explain` tells it."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from tests.acceptance.accounts import checked_accounts, declined
from tests.acceptance.facts import JULY_1, JUNE_1, JUNE_5, body, line
from tests.acceptance.publishing import Sending, sending
from tests.acceptance.service import Deploy, Service

INVOICE, CANCELLED, SHORTENED = "invoice-finalized", "booking-cancelled", "booking-shortened"
PAID, REVERSED, VOIDED = "payment-recorded", "payment-reversed", "invoice-voided"
REJECTED = "credit-application-rejected"
Step = tuple[str, str, dict[str, Any]]
"""Topic, event id, and the fields that are not the example's."""


@dataclass(frozen=True, slots=True)
class Story:
    """Messages, each handled before the next; the last one, `asked`, is decided as said here."""

    name: str
    outcome: str
    reason: str
    steps: tuple[Step, ...]
    published: bool = False
    available: str = "0.00"
    asked: str = "asked"

    @property
    def tenant(self) -> str:
        """The tenant in which it happens."""
        return f"why-{self.name.replace(' ', '-')}"

    def step(self, number: int) -> Iterable[Sending]:
        """The message of a step, if there are so many."""
        for topic, event_id, fields in self.steps[number : number + 1]:
            yield sending(topic, body(topic, self.tenant, event_id, **fields))


BILLED: Step = (INVOICE, "billed", {})
UNPAID: Step = (INVOICE, "billed", {"amount_paid": "0.00"})
FREE: Step = (INVOICE, "billed", {"lines": [line("b1", "0.00")], "total": "0.00", "amount_paid": "0.00"})
CHANGED: Step = (CANCELLED, "asked", {})

STORIES = (
    Story("not billed", "declined", "not_billed", (CHANGED,), published=True),
    Story(
        "billed after the change",
        "declined",
        "billed_after_change",
        (BILLED, (CANCELLED, "asked", {"occurred_at": "2025-05-15T00:00:00Z"})),
        published=True,
    ),
    Story("unpaid", "waiting", "unpaid", (UNPAID, CHANGED)),
    Story("free", "declined", "free", (FREE, CHANGED), published=True),
    Story(
        "not requested",
        "declined",
        "not_requested",
        (BILLED, (CANCELLED, "asked", {"changed_by": "admin"})),
        published=True,
    ),
    Story(
        "already credited",
        "declined",
        "already_credited",
        (BILLED, (CANCELLED, "first", {}), CHANGED),
        published=True,
        available="121.00",
    ),
    Story(
        "nothing unused",
        "declined",
        "nothing_unused",
        (BILLED, (SHORTENED, "asked", {"remaining_price": "121.00"})),
        published=True,
    ),
    Story(
        "superseded",
        "declined",
        "superseded",
        (BILLED, (SHORTENED, "second", {"revision": 2}), (CANCELLED, "asked", {"revision": 1})),
        published=True,
        available="60.50",
    ),
    Story(
        "a fee in another currency",
        "declined",
        "currency_mismatch",
        (BILLED, (CANCELLED, "asked", {"fee": "10.00", "currency": "USD"})),
        published=True,
    ),
    Story(
        "a reversal in another currency",
        "declined",
        "currency_mismatch",
        (UNPAID, (PAID, "paid", {}), (REVERSED, "asked", {"currency": "USD"})),
    ),
    Story(
        "invoice voided",
        "declined",
        "invoice_voided",
        (UNPAID, (VOIDED, "void", {}), CHANGED),
        published=True,
    ),
    Story("a void before its invoice", "waiting", "unknown_invoice", ((VOIDED, "asked", {}),)),
    Story("a reversal before its payment", "waiting", "unknown_payment", ((REVERSED, "asked", {}),)),
    Story("unknown application", "declined", "unknown_application", ((REJECTED, "asked", {}),)),
    Story(
        "the same event again",
        "duplicate",
        "duplicate",
        (BILLED, CHANGED, CHANGED),
        available="121.00",
    ),
    Story(
        "the same payment under another event id",
        "duplicate",
        "duplicate",
        (UNPAID, (PAID, "paid", {}), (PAID, "asked", {})),
    ),
    Story(
        "the same event id with other contents",
        "conflict",
        "conflict",
        (BILLED, CHANGED, (CANCELLED, "asked", {"changed_by": "admin"})),
        available="121.00",
    ),
    Story(
        "the same invoice with other contents",
        "conflict",
        "conflict",
        (BILLED, (INVOICE, "asked", {"amount_paid": "0.00"})),
    ),
    Story("malformed", "rejected", "malformed", ((CANCELLED, "asked", {"changed_by": "nobody"}),)),
    Story("credit issued", "issued", "booking_cancelled", (BILLED, CHANGED), available="121.00"),
    Story(
        "credit that waited comes with the payment",
        "issued",
        "booking_cancelled",
        (UNPAID, (CANCELLED, "changed", {}), (PAID, "asked", {})),
        available="121.00",
    ),
    Story(
        "credit applied",
        "applied",
        "auto",
        (
            (PAID, "paid", {"occurred_at": JUNE_1, "amount": "50.00", "invoice_ids": []}),
            (
                INVOICE,
                "asked",
                {"occurred_at": JULY_1, "amount_paid": "0.00"},
            ),
        ),
    ),
    Story("recorded", "recorded", "recorded", ((INVOICE, "asked", {}),)),
    Story(
        "a change that takes credit back",
        "recorded",
        "changed",
        (
            BILLED,
            (CANCELLED, "first", {"revision": 1}),
            (SHORTENED, "asked", {"revision": 2, "occurred_at": JUNE_5}),
        ),
        available="60.50",
    ),
)


@pytest.fixture(scope="module")
def told(service: Service) -> dict[str, Any]:
    """All stories, told side by side, and how each last message is explained."""
    for number in range(max(len(story.steps) for story in STORIES)):
        service.publish(each for story in STORIES for each in story.step(number))
        service.settle()

    def explain(story: Story) -> Any:
        return service.ask("explain", story.asked, "--tenant", story.tenant)

    with ThreadPoolExecutor(max_workers=2) as threads:
        return dict(zip((story.name for story in STORIES), threads.map(explain, STORIES), strict=True))


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
def test_reason(story: Story, told: dict[str, Any], service: Service) -> None:
    explained = told[story.name]
    topic = story.steps[-1][0]
    decision = [each for each in explained["decisions"] if each["topic"] == topic][-1]
    assert (decision["outcome"], decision["reason"]) == (story.outcome, story.reason)
    assert explained["words"]["decided"]
    gave_nothing = story.outcome in ("declined", "waiting", "conflict", "rejected")
    assert bool(decision["would_change_it"]) == gave_nothing
    events = service.events.of(story.tenant)
    assert declined(events) == ([(story.asked, story.reason)] if story.published else [])
    held = [str(account.available) for account in checked_accounts(events).values()]
    assert (held or ["0.00"]) == [story.available]


@pytest.mark.usefixtures("told")
def test_people_ask_by_booking_invoice_plan_payment_and_grant(service: Service) -> None:
    tenant = "why-credit-issued"
    (issued,) = service.events.of(tenant, "credit-issued")
    for named in (("--booking", "b1"), ("--invoice", "i1"), ("--grant", issued.body["grant_id"])):
        explained = service.ask("explain", *named, "--tenant", tenant)
        assert [grant["amount"] for grant in explained["grants"]] == ["121.00"]
        assert explained["words"]["now"]
    tenant = "why-credit-applied"
    explained = service.ask("explain", "--payment", "pay1", "--tenant", tenant)
    assert [each["amount"] for each in explained["payments"]] == ["50.00"]
    service.ask("explain", "--plan", "p1", "--tenant", tenant, code=1)


def test_a_change_to_something_unpaid_is_declined_for_good_where_the_policy_says_never(
    deploy: Deploy,
) -> None:
    service = deploy(AVOIR_POLICY_UNPAID_CHANGE="never")
    service.deployment.serve()
    story = Story("never", "declined", "unpaid", (UNPAID, CHANGED, (PAID, "paid", {})))
    for number in range(len(story.steps)):
        service.publish(story.step(number))
        service.settle()
    events = service.events.of(story.tenant)
    assert declined(events) == [("asked", "unpaid")]
    assert not service.events.of(story.tenant, "credit-issued")
    (decision,) = service.ask("explain", "asked", "--tenant", story.tenant)["decisions"]
    assert (decision["outcome"], decision["reason"]) == ("declined", "unpaid")
    assert decision["policy"]["unpaid_change"] == "never"
