"""After all other tests that share the service (this file is the last by name): everything they did holds."""

from decimal import Decimal

import pytest

from tests.acceptance.accounts import Account, checked_accounts
from tests.acceptance.facts import fact
from tests.acceptance.group import until_lag_monitors_see_none
from tests.acceptance.service import Service

TENANT = "whole"


@pytest.fixture(scope="module")
def accounts(service: Service) -> dict[str, Account]:
    """Every account of the run by its key, checked."""
    service.publish([fact("invoice-finalized", TENANT, "i")])
    service.publish([fact("booking-cancelled", TENANT, "c")])
    service.settle()
    found: dict[str, Account] = {}
    for tenant in service.events.tenants():
        found |= checked_accounts(service.events.of(tenant))
    return found


def test_the_whole_traffic_is_proved(accounts: dict[str, Account], service: Service) -> None:
    proved = service.ask("verify")
    assert (proved["differences"], proved["found"]) == (0, [])
    assert proved["tenants"] >= len({key.partition("/")[0] for key in accounts})
    assert service.deployment.call("verify").strip().endswith("no differences.")


def test_the_service_is_at_rest(accounts: dict[str, Account], service: Service) -> None:
    status = service.ask("status")
    assert len(status["topics"]) == 15
    assert not any(topic["lag"] for topic in status["topics"])
    assert (status["outbox"]["waiting"], status["outbox"]["refused"]) == (0, 0)
    (relay,) = [lease for lease in status["leases"] if lease["name"] == "relay"]
    assert relay["held"]
    assert status["epoch"] == 1
    assert status["schema"]["version"] >= status["schema"]["needed"]
    assert not any(each["outcome"] == "parked" for each in status["dead_letters"])


def test_monitors_that_ask_the_broker_see_no_lag(accounts: dict[str, Account], service: Service) -> None:
    until_lag_monitors_see_none(service)


def test_a_balance_is_what_the_events_say(accounts: dict[str, Account], service: Service) -> None:
    balances = service.ask("balance", "--tenant", TENANT)
    (account,) = balances["accounts"]
    heard = accounts[f"{TENANT}/user/u1/EUR"]
    assert (account["owner"], account["currency"]) == ({"type": "user", "id": "u1"}, "EUR")
    assert Decimal(account["available"]) == heard.available == Decimal("121.00")
    assert Decimal(account["reserved"]) == heard.reserved == 0
    assert account["seq"] == heard.events[-1].body["seq"]
    (balance,) = service.events.of(TENANT, "credit-balance")
    assert account["head"] == balance.body["head"]
    service.ask("balance", "user/nobody", "--tenant", TENANT, code=1)


def test_a_statement_adds_up(accounts: dict[str, Account], service: Service) -> None:
    (account,) = service.ask("statement", "user/u1", "--tenant", TENANT)["accounts"]
    assert account["adds_up"]
    assert account["opening"] == {"available": "0.00", "reserved": "0.00"}
    assert account["closing"] == {"available": "121.00", "reserved": "0.00"}
    assert sum(Decimal(each["amount"]) for each in account["movements"]) == Decimal("121.00")
    assert {each["event"] for each in account["movements"]} == {"issued"}


def test_an_explanation_tells_what_was_given(accounts: dict[str, Account], service: Service) -> None:
    explained = service.ask("explain", "c", "--tenant", TENANT)
    (decision,) = explained["decisions"]
    assert (decision["outcome"], decision["subject"]) == ("issued", {"kind": "booking", "id": "b1"})
    (line,) = explained["lines"]
    assert (line["cost"], line["target"], line["given"]) == ("121.00", "121.00", "121.00")
    assert "121.00" in " ".join(explained["words"]["decided"] + explained["words"]["now"])


def test_commands_that_end_with_a_reason(service: Service) -> None:
    service.deployment.call("explain", "nothing", "--tenant", TENANT, code=1)
    service.deployment.call("explain", "--tenant", TENANT, code=2)
    service.deployment.call("dead-letters", "show", "no-id", code=2)
