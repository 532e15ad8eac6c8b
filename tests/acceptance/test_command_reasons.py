"""Each reason for which a command is refused, or what it did: through topics, and as `avoir explain` words it."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import pytest

from tests.acceptance.accounts import declined
from tests.acceptance.cases import Case, Run, play
from tests.acceptance.facts import JULY_1, JUNE_1, JUNE_5, OWNER
from tests.acceptance.service import Service
from tests.acceptance.test_commands import (
    LINE_ITEM,
    MANUAL,
    TEAM,
    Step,
    grant,
    invoice,
    step,
    undo,
    use,
    void,
)

NOBODYS = "00000000-0000-0000-0000-000000000001"


class Scenario(NamedTuple):
    """Messages, each handled before the next; the last one is decided as said here."""

    name: str
    outcome: str
    reason: str
    steps: tuple[Step, ...]

    @property
    def asked(self) -> str:
        """The event id of the last message."""
        return str(self.steps[-1]["value"]["event_id"])

    @property
    def tenant(self) -> str:
        return f"asked-{self.name.replace(' ', '-')}"


def refused(reason: str, name: str, *steps: Step) -> Scenario:
    return Scenario(name, "declined", reason, steps)


GRANT = grant("g", "50.00")
OLD = grant("old", "50.00", expires_at=JUNE_5)
DOLLARS = grant("dollars", "50.00", currency="USD")
OPEN = invoice("i1", "100.00")

SCENARIOS = (
    refused("insufficient_credit", "draw", GRANT, step("draw-credit", "asked", amount="50.01")),
    refused("insufficient_credit", "refund", GRANT, step("refund-credit", "asked", amount="50.01")),
    refused("insufficient_credit", "use", MANUAL, GRANT, OPEN, use("asked", "i1", amount="50.01")),
    refused("insufficient_credit", "reserve", GRANT, use("asked", "i9", amount="50.01")),
    refused(
        "insufficient_credit",
        "void of what is spent",
        GRANT,
        step("draw-credit", "d", amount="50.00"),
        step("void-credit", "asked", grant_id="$grant:g"),
    ),
    refused("credit_expired", "use of old", OLD, use("asked", "i9", grant_id="$grant:old")),
    refused("credit_expired", "refund of old", OLD, step("refund-credit", "asked", grant_id="$grant:old")),
    refused("credit_expired", "void of old", OLD, step("void-credit", "asked", grant_id="$grant:old")),
    refused("unknown_grant", "use of nobodys", GRANT, use("asked", "i9", grant_id=NOBODYS)),
    refused(
        "unknown_grant",
        "use of another owners",
        GRANT,
        use("asked", "i9", grant_id="$grant:g", owner=TEAM),
    ),
    refused("unknown_grant", "void of nobodys", step("void-credit", "asked", grant_id=NOBODYS)),
    refused("unknown_grant", "refund of nobodys", step("refund-credit", "asked", grant_id=NOBODYS)),
    refused("unknown_invoice", "another owners invoice", OPEN, use("asked", "i1", owner=TEAM)),
    refused(
        "currency_mismatch", "invoice in another currency", DOLLARS, OPEN, use("asked", "i1", currency="USD")
    ),
    refused(
        "currency_mismatch",
        "grant in another currency",
        DOLLARS,
        use("asked", "i9", grant_id="$grant:dollars"),
    ),
    refused("invoice_settled", "settled", GRANT, step("invoice-finalized", "billed"), use("asked", "i1")),
    refused("invoice_voided", "void invoice", GRANT, OPEN, void("i1"), use("asked", "i1")),
    refused("unknown_application", "nobodys application", step("reinstate-credit", "asked")),
    refused("unknown_application", "undone twice", GRANT, OPEN, undo("first", "f-i1"), undo("asked", "f-i1")),
    Scenario("issued", "issued", "referral", (grant("asked", "50.00", reason="referral"),)),
    Scenario(
        "to come",
        "waiting",
        "not_effective",
        (grant("asked", "50.00", effective_at="2100-01-01T00:00:00Z"),),
    ),
    Scenario("applied", "applied", "command", (MANUAL, GRANT, OPEN, use("asked", "i1"))),
    Scenario("reserved", "recorded", "reserved", (GRANT, use("asked", "i9"))),
    Scenario(
        "used from a reservation",
        "applied",
        "reservation",
        (GRANT, use("r", "i1"), invoice("i1", "100.00", finalization="manual")),
    ),
    Scenario(
        "used as a line",
        "applied",
        "line_item",
        (
            *LINE_ITEM,
            invoice(
                "i2",
                "150.00",
                {"line_id": "c", "kind": "credit", "amount": "-121.00", "credit_line_id": "$grant:c"},
            ),
        ),
    ),
    Scenario("undone", "recorded", "recorded", (GRANT, OPEN, undo("asked", "f-i1"))),
    Scenario("released", "recorded", "released", (GRANT, use("r", "i9"), undo("asked", "r"))),
    Scenario("voided", "recorded", "voided", (GRANT, step("void-credit", "asked", grant_id="$grant:g"))),
    Scenario("refunded", "recorded", "refunded", (GRANT, step("refund-credit", "asked"))),
    Scenario("drawn", "recorded", "drawn", (GRANT, step("draw-credit", "asked", amount="0.000001"))),
    Scenario("policy set", "recorded", "policy_set", (step("set-credit-policy", "asked"),)),
    Scenario("again", "duplicate", "duplicate", (GRANT, GRANT)),
    Scenario(
        "the reference again",
        "duplicate",
        "duplicate",
        (grant("g", "50.00", reference="order 1"), grant("asked", "50.00", reference="order 1")),
    ),
    Scenario("other contents", "conflict", "conflict", (GRANT, grant("g", "60.00"))),
    Scenario(
        "the reference with other contents",
        "conflict",
        "conflict",
        (grant("g", "50.00", reference="order 1"), grant("asked", "60.00", reference="order 1")),
    ),
    Scenario("nothing asked for", "rejected", "malformed", (step("draw-credit", "asked", amount="0"),)),
    Scenario("below the cent", "rejected", "malformed", (step("refund-credit", "asked", amount="0.001"),)),
    Scenario(
        "over before it begins",
        "rejected",
        "malformed",
        (grant("asked", "50.00", effective_at=JULY_1, expires_at=JUNE_1),),
    ),
)


@pytest.fixture(scope="module")
def played(service: Service) -> dict[str, Any]:
    """All scenarios, played side by side, and how each last message is explained."""
    play(
        service,
        [
            Run(
                Case(each.name, "given", each.steps, (), {}),
                each.tenant,
                tuple((one,) for one in each.steps),
                in_given_order=True,
            )
            for each in SCENARIOS
        ],
    )

    def explain(scenario: Scenario) -> Any:
        return service.ask("explain", scenario.asked, "--tenant", scenario.tenant)

    with ThreadPoolExecutor(max_workers=2) as threads:
        return dict(
            zip((scenario.name for scenario in SCENARIOS), threads.map(explain, SCENARIOS), strict=True)
        )


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_reason(scenario: Scenario, played: dict[str, Any], service: Service) -> None:
    explained, topic = played[scenario.name], scenario.steps[-1]["topic"]
    decision = [each for each in explained["decisions"] if each["topic"] == topic][-1]
    assert (decision["outcome"], decision["reason"]) == (scenario.outcome, scenario.reason)
    assert explained["words"]["decided"]
    gave_nothing = scenario.outcome in ("declined", "waiting", "conflict", "rejected")
    assert bool(decision["would_change_it"]) == gave_nothing
    events = service.events.of(scenario.tenant)
    assert declined(events) == ([(scenario.asked, scenario.reason)] if scenario.outcome == "declined" else [])


def test_a_refused_command_tells_what_was_asked_and_how_much_there_is(
    played: dict[str, Any], service: Service
) -> None:
    (event,) = service.events.of("asked-use", "credit-declined")
    assert event.body["asked"] == {
        "command": "apply-credit",
        "invoice_id": "i1",
        "currency": "EUR",
        "amount": "50.01",
        "grant_id": None,
    }
    assert event.body["facts"] == {"available": "50.00", "due_on_invoice": "100.00"}
    assert event.body["account"] == {"owner": OWNER, "currency": "EUR"}
    assert event.body["balance"] == {"available": "50.00", "reserved": "0.00"}
