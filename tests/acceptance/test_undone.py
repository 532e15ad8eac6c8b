"""What has a way back: applications, invoices, payments, and credit whose time is over."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from tests.acceptance.accounts import Account, applied, checked_accounts, credited
from tests.acceptance.facts import JULY_1, JUNE_1, body, line
from tests.acceptance.publishing import sending
from tests.acceptance.service import Service

INVOICE, CANCELLED, SHORTENED = "invoice-finalized", "booking-cancelled", "booking-shortened"
PAID, REVERSED, VOIDED = "payment-recorded", "payment-reversed", "invoice-voided"
REJECTED = "credit-application-rejected"
Step = tuple[str, str, dict[str, Any]]
"""Topic, event id, and the fields that are not the example's."""

CREDIT: tuple[Step, ...] = ((INVOICE, "billed", {}), (CANCELLED, "changed", {}))
USED: Step = (
    INVOICE,
    "used",
    {
        "invoice_id": "i2",
        "lines": [line("b2", "100.00")],
        "total": "100.00",
        "amount_paid": "0.00",
        "occurred_at": JULY_1,
    },
)
ON_ACCOUNT: Step = (
    PAID,
    "late",
    {"payment_id": "late", "amount": "30.00", "invoice_ids": [], "occurred_at": JUNE_1},
)
OWED = {"amount_paid": "0.00", "finalization": "manual"}

SCENARIOS: dict[str, tuple[Step, ...]] = {
    "undone-rejected": (*CREDIT, USED, (REJECTED, "undo", {"application_id": "?"}), ON_ACCOUNT),
    "undone-voided-use": (*CREDIT, USED, (VOIDED, "undo", {"invoice_id": "i2"})),
    "undone-voided-source": (*CREDIT, USED, (VOIDED, "undo", {})),
    "undone-voided-unused": (*CREDIT, (VOIDED, "undo", {})),
    "undone-reversed": ((INVOICE, "billed", OWED), (PAID, "paid", {}), CREDIT[1], (REVERSED, "undo", {})),
    "undone-short": (
        (INVOICE, "billed", OWED),
        (PAID, "paid", {}),
        CREDIT[1],
        USED,
        (REVERSED, "undo", {}),
    ),
    "undone-lengthened": (
        CREDIT[0],
        (SHORTENED, "less", {"revision": 1}),
        (SHORTENED, "more", {"revision": 2, "remaining_price": "90.75"}),
    ),
}


@pytest.fixture(scope="module")
def played(service: Service) -> None:
    """All scenarios, played side by side, each message handled before the next."""
    for number in range(max(map(len, SCENARIOS.values()))):
        service.publish(
            sending(topic, body(topic, tenant, event_id, **_known(service, tenant, fields)))
            for tenant, steps in SCENARIOS.items()
            for topic, event_id, fields in steps[number : number + 1]
        )
        service.settle()


def _known(service: Service, tenant: str, fields: dict[str, Any]) -> dict[str, Any]:
    """The fields, with the id of the application that is rejected."""
    if "application_id" not in fields:
        return fields
    (used,) = service.events.of(tenant, "credit-applied")
    return {**fields, "application_id": used.body["application_id"]}


def account(service: Service, tenant: str) -> Account:
    """The one account of a tenant, checked."""
    (found,) = checked_accounts(service.events.of(tenant)).values()
    return found


def due(service: Service, tenant: str, invoice_id: str) -> str:
    """What is due on an invoice, as the command line shows it."""
    (invoice,) = service.ask("explain", "--invoice", invoice_id, "--tenant", tenant)["invoices"]
    return str(invoice["due"])


@pytest.mark.usefixtures("played")
def test_after_a_rejection_the_amount_is_due_and_the_invoice_takes_no_credit_by_itself(
    service: Service,
) -> None:
    tenant = "undone-rejected"
    (back,) = service.events.of(tenant, "credit-reinstated")
    assert (back.body["amount"], back.body["amount_due"]) == ("100.00", "100.00")
    assert back.body["reason"] == "invoice already closed"
    assert applied(service.events.of(tenant), "i2") == 0
    assert account(service, tenant).available == Decimal("151.00")
    assert due(service, tenant, "i2") == "100.00"


@pytest.mark.usefixtures("played")
def test_voiding_an_invoice_reinstates_what_was_applied_to_it(service: Service) -> None:
    tenant = "undone-voided-use"
    (back,) = service.events.of(tenant, "credit-reinstated")
    assert (back.body["amount"], back.body["reason"]) == ("100.00", "invoice_voided")
    assert account(service, tenant).available == Decimal("121.00")


@pytest.mark.usefixtures("played")
def test_voiding_an_invoice_takes_back_its_credit_and_gives_back_what_was_paid(service: Service) -> None:
    spent, unused = "undone-voided-source", "undone-voided-unused"
    for tenant in (spent, unused):
        sources = [each.body["source"] for each in service.events.of(tenant, "credit-issued")]
        assert sources == ["booking_cancelled", "overpayment"]
    assert credited(service.events.of(unused), "i1", "l1") == 0
    assert account(service, unused).available == Decimal("121.00")
    # 100.00 of the credit paid another invoice: that much of the money stays, so nothing is short.
    assert account(service, spent).available == Decimal("21.00")
    assert not service.events.of(spent, "credit-shortfall")


@pytest.mark.usefixtures("played")
def test_a_reversed_payment_takes_back_the_credit_that_it_had_released(service: Service) -> None:
    tenant = "undone-reversed"
    (taken,) = service.events.of(tenant, "credit-voided")
    assert (taken.body["amount"], taken.body["reason"]) == ("121.00", "payment_reversed")
    assert account(service, tenant).available == 0
    assert due(service, tenant, "i1") == "121.00"


@pytest.mark.usefixtures("played")
def test_what_was_spent_and_cannot_be_taken_back_is_a_shortfall(service: Service) -> None:
    tenant = "undone-short"
    (taken,) = service.events.of(tenant, "credit-voided")
    assert (taken.body["amount"], taken.body["reason"]) == ("21.00", "payment_reversed")
    (short,) = service.events.of(tenant, "credit-shortfall")
    assert (short.body["amount"], short.body["outstanding"]) == ("100.00", "100.00")
    assert short.body["reason"] == "payment_reversed"
    assert short.body["for"]["booking_id"] == "b1"
    assert account(service, tenant).available == 0
    assert applied(service.events.of(tenant), "i2") == Decimal("100.00")


@pytest.mark.usefixtures("played")
def test_a_booking_lengthened_again_keeps_the_credit_of_the_last_revision(service: Service) -> None:
    tenant = "undone-lengthened"
    (taken,) = service.events.of(tenant, "credit-voided")
    assert (taken.body["amount"], taken.body["reason"]) == ("30.25", "changed")
    assert credited(service.events.of(tenant), "i1", "l1") == Decimal("30.25")


def test_credit_expires_to_the_second(service: Service) -> None:
    tenant = "undone-expired"
    ends = (datetime.now(UTC) + timedelta(seconds=4)).replace(microsecond=0)
    sold = {"line_id": "l1", "kind": "prepaid", "amount": "121.00", "expires_at": ends.isoformat()}
    service.publish([sending(INVOICE, body(INVOICE, tenant, "sold", lines=[sold]))])
    (issued,) = service.events.until(lambda: service.events.of(tenant, "credit-issued"), "the credit")
    assert (issued.body["source"], issued.body["balance"]["available"]) == ("prepaid", "121.00")
    (over,) = service.events.until(lambda: service.events.of(tenant, "credit-expired"), "its end")
    assert datetime.fromisoformat(over.body["occurred_at"]) == ends
    recorded = datetime.fromisoformat(over.body["recorded_at"])
    assert timedelta(0) <= recorded - ends < timedelta(seconds=5)
    assert (over.body["caused_by"], over.body["amount"]) == (None, "121.00")
    assert over.body["balance"]["available"] == "0.00"
