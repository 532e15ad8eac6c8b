"""Each reason for which facts give nothing, or not yet: through topics, and as `avoir explain` words it."""

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
class Scenario:
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

SCENARIOS = (
    Scenario("not billed", "declined", "not_billed", (CHANGED,), published=True),
    Scenario(
        "billed after the change",
        "declined",
        "billed_after_change",
        (BILLED, (CANCELLED, "asked", {"occurred_at": "2025-05-15T00:00:00Z"})),
        published=True,
    ),
    Scenario("unpaid", "waiting", "unpaid", (UNPAID, CHANGED)),
    Scenario("free", "declined", "free", (FREE, CHANGED), published=True),
    Scenario(
        "not requested",
        "declined",
        "not_requested",
        (BILLED, (CANCELLED, "asked", {"changed_by": "admin"})),
        published=True,
    ),
    Scenario(
        "already credited",
        "declined",
        "already_credited",
        (BILLED, (CANCELLED, "first", {}), CHANGED),
        published=True,
        available="121.00",
    ),
    Scenario(
        "nothing unused",
        "declined",
        "nothing_unused",
        (BILLED, (SHORTENED, "asked", {"remaining_price": "121.00"})),
        published=True,
    ),
    Scenario(
        "superseded",
        "declined",
        "superseded",
        (BILLED, (SHORTENED, "second", {"revision": 2}), (CANCELLED, "asked", {"revision": 1})),
        published=True,
        available="60.50",
    ),
    Scenario(
        "a fee in another currency",
        "declined",
        "currency_mismatch",
        (BILLED, (CANCELLED, "asked", {"fee": "10.00", "currency": "USD"})),
        published=True,
    ),
    Scenario(
        "a reversal in another currency",
        "declined",
        "currency_mismatch",
        (UNPAID, (PAID, "paid", {}), (REVERSED, "asked", {"currency": "USD"})),
    ),
    Scenario(
        "invoice voided",
        "declined",
        "invoice_voided",
        (UNPAID, (VOIDED, "void", {}), CHANGED),
        published=True,
    ),
    Scenario("a void before its invoice", "waiting", "unknown_invoice", ((VOIDED, "asked", {}),)),
    Scenario("a reversal before its payment", "waiting", "unknown_payment", ((REVERSED, "asked", {}),)),
    Scenario("unknown application", "declined", "unknown_application", ((REJECTED, "asked", {}),)),
    Scenario(
        "the same event again",
        "duplicate",
        "duplicate",
        (BILLED, CHANGED, CHANGED),
        available="121.00",
    ),
    Scenario(
        "the same payment under another event id",
        "duplicate",
        "duplicate",
        (UNPAID, (PAID, "paid", {}), (PAID, "asked", {})),
    ),
    Scenario(
        "the same event id with other contents",
        "conflict",
        "conflict",
        (BILLED, CHANGED, (CANCELLED, "asked", {"changed_by": "admin"})),
        available="121.00",
    ),
    Scenario(
        "the same invoice with other contents",
        "conflict",
        "conflict",
        (BILLED, (INVOICE, "asked", {"amount_paid": "0.00"})),
    ),
    Scenario("malformed", "rejected", "malformed", ((CANCELLED, "asked", {"changed_by": "nobody"}),)),
    Scenario("credit issued", "issued", "booking_cancelled", (BILLED, CHANGED), available="121.00"),
    Scenario(
        "credit that waited comes with the payment",
        "issued",
        "booking_cancelled",
        (UNPAID, (CANCELLED, "changed", {}), (PAID, "asked", {})),
        available="121.00",
    ),
    Scenario(
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
    Scenario("recorded", "recorded", "recorded", ((INVOICE, "asked", {}),)),
    Scenario(
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
def played(service: Service) -> dict[str, Any]:
    """All scenarios, played side by side, and how each last message is explained."""
    for number in range(max(len(scenario.steps) for scenario in SCENARIOS)):
        service.publish(each for scenario in SCENARIOS for each in scenario.step(number))
        service.settle()

    def explain(scenario: Scenario) -> Any:
        return service.ask("explain", scenario.asked, "--tenant", scenario.tenant)

    with ThreadPoolExecutor(max_workers=2) as threads:
        return dict(
            zip((scenario.name for scenario in SCENARIOS), threads.map(explain, SCENARIOS), strict=True)
        )


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_reason(scenario: Scenario, played: dict[str, Any], service: Service) -> None:
    explained = played[scenario.name]
    topic = scenario.steps[-1][0]
    decision = [each for each in explained["decisions"] if each["topic"] == topic][-1]
    assert (decision["outcome"], decision["reason"]) == (scenario.outcome, scenario.reason)
    assert explained["words"]["decided"]
    gave_nothing = scenario.outcome in ("declined", "waiting", "conflict", "rejected")
    assert bool(decision["would_change_it"]) == gave_nothing
    events = service.events.of(scenario.tenant)
    assert declined(events) == ([(scenario.asked, scenario.reason)] if scenario.published else [])
    held = [str(account.available) for account in checked_accounts(events).values()]
    assert (held or ["0.00"]) == [scenario.available]


@pytest.mark.usefixtures("played")
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
    scenario = Scenario("never", "declined", "unpaid", (UNPAID, CHANGED, (PAID, "paid", {})))
    for number in range(len(scenario.steps)):
        service.publish(scenario.step(number))
        service.settle()
    events = service.events.of(scenario.tenant)
    assert declined(events) == [("asked", "unpaid")]
    assert not service.events.of(scenario.tenant, "credit-issued")
    (decision,) = service.ask("explain", "asked", "--tenant", scenario.tenant)["decisions"]
    assert (decision["outcome"], decision["reason"]) == ("declined", "unpaid")
    assert decision["policy"]["unpaid_change"] == "never"
