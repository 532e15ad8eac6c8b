"""What commands do, through real topics: what the help pages do not tell, each rule as a case of its own."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.acceptance.accounts import once
from tests.acceptance.cases import Case, Run, check, play
from tests.acceptance.facts import EXAMPLES, JULY_1, JUNE_2, JUNE_5, OWNER, fact
from tests.acceptance.service import Service

Step = dict[str, Any]
TEAM = {"type": "team", "id": "u1"}
IN_2100 = "2100-01-01T00:00:00Z"
IN_2090 = "2090-01-01T00:00:00Z"


def step(topic: str, event_id: str, **fields: Any) -> Step:
    return {"topic": topic, "value": {"event_id": event_id, **EXAMPLES[topic], **fields}}


def grant(event_id: str, amount: str, **fields: Any) -> Step:
    return step("grant-credit", event_id, amount=amount, **fields)


def invoice(invoice_id: str, amount: str, *credit_lines: Step, **fields: Any) -> Step:
    """An unpaid invoice of one line, and credit lines."""
    lines = [{"line_id": "l1", "kind": "other", "amount": amount}, *credit_lines]
    total = sum(round(float(each["amount"]) * 100) for each in lines)
    said = {"invoice_id": invoice_id, "number": f"N-{invoice_id}", "lines": lines, "amount_paid": "0.00"}
    sign = "-" if total < 0 else ""
    said["total"] = f"{sign}{abs(total) // 100}.{abs(total) % 100:02d}"
    return step("invoice-finalized", f"f-{invoice_id}", **{**said, "occurred_at": JUNE_5, **fields})


def credit_line(amount: str, of: str, line_id: str = "credit") -> Step:
    return {"line_id": line_id, "kind": "credit", "amount": amount, "credit_line_id": of}


def use(event_id: str, invoice_id: str, **fields: Any) -> Step:
    return step("apply-credit", event_id, invoice_id=invoice_id, **fields)


def undo(event_id: str, of: str) -> Step:
    return step("reinstate-credit", event_id, application_id=f"$application:{of}")


def void(invoice_id: str) -> Step:
    return step("invoice-voided", f"v-{invoice_id}", invoice_id=invoice_id)


def has(available: str, reserved: str = "0", owner: Step = OWNER, currency: str = "EUR") -> Step:
    return {"owner": owner, "currency": currency, "available": available, "reserved": reserved}


def used(**amounts: str) -> list[Step]:
    return [{"invoice_id": invoice_id, "amount": amount} for invoice_id, amount in amounts.items()]


def refused(**reasons: str) -> list[Step]:
    return [{"event_id": event_id, "reason": reason} for event_id, reason in reasons.items()]


MANUAL = step("set-credit-policy", "manual")
LINE_ITEMS = step("set-credit-policy", "line-items", policy={"credit_as": "line_item"})
LINE_ITEM = (LINE_ITEMS, step("invoice-finalized", "billed"), step("booking-cancelled", "c"))
"""121.00 of a booking, set aside for the next invoice."""


def case(name: str, *steps: Step, **expect: Any) -> Case:
    return Case(name, "given", steps, (1,) * len(steps), expect)


CASES = (
    case(
        "one reference gives credit once",
        grant("g1", "50.00", reference="order 1"),
        grant("g2", "50.00", reference="order 1"),
        grant("g3", "60.00", reference="order 1"),
        accounts=[has("50.00")],
    ),
    case(
        "a voided grant cannot be used and a refund takes what was paid for first",
        grant("bought", "30.00", reason="purchase"),
        grant("given", "50.00", priority=0),
        grant("wrong", "70.00"),
        step("void-credit", "void", grant_id="$grant:wrong"),
        step("refund-credit", "refund", amount="30.00"),
        step("refund-credit", "more", amount="1.00", grant_id="$grant:bought"),
        accounts=[has("50.00")],
        declined=refused(more="insufficient_credit"),
    ),
    case(
        "a named grant is used out of order and the rest in order",
        MANUAL,
        grant("first", "30.00", priority=0),
        grant("second", "50.00"),
        invoice("i1", "100.00"),
        use("named", "i1", amount="50.00", grant_id="$grant:second"),
        use("unnamed", "i1", amount="20.00"),
        step("void-credit", "nothing-left", grant_id="$grant:second"),
        accounts=[has("10.00")],
        applied=used(i1="70.00"),
        declined=refused(**{"nothing-left": "insufficient_credit"}),
    ),
    case(
        "an amount above what is due is lowered to it on a manual invoice too",
        grant("g", "150.00"),
        invoice("i1", "100.00", finalization="manual"),
        use("u", "i1", amount="140.00"),
        accounts=[has("50.00")],
        applied=used(i1="100.00"),
    ),
    case(
        "credit for an invoice to come is set aside, used first, and what is not needed released",
        grant("g", "100.00"),
        use("r", "i9", amount="80.00"),
        invoice("i1", "20.00"),
        invoice("i9", "70.00", finalization="manual"),
        accounts=[has("10.00")],
        applied=used(i1="20.00", i9="70.00"),
    ),
    case(
        "another owner's invoice releases what was set aside for it",
        MANUAL,
        grant("g", "100.00"),
        use("r", "i9", amount="80.00"),
        invoice("i9", "70.00", owner=TEAM),
        accounts=[has("100.00")],
        applied=used(i9="0"),
    ),
    case(
        "voiding an invoice to come releases what was set aside for it",
        grant("g", "100.00"),
        use("r", "i9", amount="80.00"),
        void("i9"),
        use("late", "i9", amount="1.00"),
        accounts=[has("100.00")],
        declined=refused(late="invoice_voided"),
    ),
    case(
        "an application is undone exactly once and the invoice takes no credit by itself again",
        grant("g", "40.00"),
        invoice("i1", "100.00"),
        undo("x", "f-i1"),
        undo("again", "f-i1"),
        grant("more", "30.00"),
        accounts=[has("70.00")],
        applied=used(i1="0"),
        declined=refused(again="unknown_application"),
    ),
    case(
        "what is set aside is released by reinstate-credit",
        grant("g", "100.00"),
        use("r", "i9", amount="80.00"),
        undo("x", "r"),
        accounts=[has("100.00")],
    ),
    case(
        "a smaller credit line leaves the rest set aside",
        *LINE_ITEM,
        invoice("i2", "150.00", credit_line("-100.00", "$grant:c")),
        accounts=[has("0", "21.00")],
        applied=used(i2="100.00"),
    ),
    case(
        "a line twice, larger than its grant, is short and touches nothing else",
        *LINE_ITEM,
        grant("other", "500.00"),
        invoice("i2", "150.00", credit_line("-121.00", "$grant:c"), finalization="manual"),
        invoice("i3", "150.00", credit_line("-121.00", "$grant:c"), finalization="manual"),
        accounts=[has("500.00")],
        applied=used(i2="121.00", i3="0"),
    ),
    case(
        "a line of unknown credit and one on another owner's invoice touch no grant",
        *LINE_ITEM,
        invoice("i2", "150.00", credit_line("-121.00", "nobody's")),
        invoice("i3", "150.00", credit_line("-121.00", "$grant:c"), owner=TEAM),
        accounts=[has("0", "121.00")],
        applied=used(i2="0", i3="0"),
    ),
    case(
        "a line is moved to an invoice to come and what that does not need stays set aside",
        *LINE_ITEM,
        use("move", "i9", amount="100.00", grant_id="$grant:c"),
        invoice("i9", "60.00"),
        invoice("i2", "10.00"),
        accounts=[has("0", "61.00")],
        applied=used(i9="60.00", i2="0"),
    ),
    case(
        "a line that was moved to an invoice to come is set aside again when that is voided",
        *LINE_ITEM,
        use("move", "i9", amount="100.00", grant_id="$grant:c"),
        invoice("i9", "60.00"),
        void("i9"),
        invoice("i2", "10.00"),
        accounts=[has("0", "121.00")],
        applied=used(i9="0", i2="0"),
    ),
    case(
        "voiding the invoice sets its line aside again",
        *LINE_ITEM,
        invoice("i2", "150.00", credit_line("-121.00", "$grant:c")),
        void("i2"),
        accounts=[has("0", "121.00")],
        applied=used(i2="0"),
    ),
    case(
        "a credit note is undone by voiding it",
        *LINE_ITEM,
        invoice("i2", "21.00", credit_line("-121.00", "$grant:c")),
        step("draw-credit", "d", amount="10.00"),
        void("i2"),
        accounts=[has("0", "121.00")],
        credit_notes=[{"credit_note": "N-i2-CN1", "invoice_id": "i2", "amount": "100.00"}],
    ),
    case(
        "an application of a credit line that is undone is due again",
        *LINE_ITEM,
        invoice("i2", "150.00", credit_line("-121.00", "$grant:c")),
        undo("x", "c"),
        use("u", "i2", grant_id="$grant:c"),
        accounts=[has("0")],
        applied=used(i2="121.00"),
    ),
    case(
        "the policy of its own time counts for a late fact, and null goes back",
        grant("g", "100.00"),
        step("set-credit-policy", "off", occurred_at=JUNE_5),
        step("set-credit-policy", "on", occurred_at=JULY_1, policy={"auto_apply": None}),
        invoice("i1", "10.00", occurred_at=JUNE_2),
        invoice("i2", "10.00", occurred_at=JUNE_5),
        invoice("i3", "10.00", occurred_at=JULY_1),
        accounts=[has("80.00")],
        applied=used(i1="10.00", i2="0", i3="10.00"),
    ),
    case(
        "an invoice's policy counts over its owner's, and that over the tenant's",
        grant("g", "100.00"),
        MANUAL,
        step("set-credit-policy", "owner", scope={"owner": OWNER}, policy={"auto_apply": True}),
        step("set-credit-policy", "invoice", scope={"invoice_id": "i2"}),
        invoice("i1", "10.00"),
        invoice("i2", "10.00"),
        accounts=[has("90.00")],
        applied=used(i1="10.00", i2="0"),
    ),
)


@pytest.fixture(scope="module")
def played(service: Service) -> dict[str, Run]:
    """All cases, each in a tenant of its own, played side by side."""
    runs = {
        each.name: Run(each, f"commands-{number}", tuple((one,) for one in each.steps), in_given_order=True)
        for number, each in enumerate(CASES)
    }
    play(service, list(runs.values()))
    return runs


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_command(case: Case, played: dict[str, Run], service: Service) -> None:
    run = played[case.name]
    check(run, service.events.of(run.tenant))


def test_a_shortfall_of_a_credit_line_is_told(played: dict[str, Run], service: Service) -> None:
    run = played["a line twice, larger than its grant, is short and touches nothing else"]
    (short,) = service.events.of(run.tenant, "credit-shortfall")
    assert (short.body["amount"], short.body["reason"]) == ("121.00", "credit_line")
    assert (short.body["for"]["invoice_id"], short.body["for"]["line_id"]) == ("i3", "credit")


def test_what_was_spent_of_a_voided_credit_note_is_told(played: dict[str, Run], service: Service) -> None:
    run = played["a credit note is undone by voiding it"]
    (short,) = service.events.of(run.tenant, "credit-shortfall")
    assert (short.body["amount"], short.body["reason"]) == ("10.00", "invoice_voided")


def test_the_decision_names_the_policy_that_counted(played: dict[str, Run], service: Service) -> None:
    run = played["the policy of its own time counts for a late fact, and null goes back"]
    (decision,) = service.ask("explain", "f-i2", "--tenant", run.tenant)["decisions"]
    assert decision["policy"] == {"auto_apply": False, "set_by": {"auto_apply": "off"}}


def test_a_credit_note_expires_with_the_first_of_the_credit_lines_it_used(service: Service) -> None:
    tenant = "commands-note"
    steps = (
        grant("a", "20.00", expires_at=IN_2100),
        grant("b", "20.00", expires_at=IN_2090),
        invoice(
            "i1", "10.00", credit_line("-20.00", "$grant:a", "a"), credit_line("-20.00", "$grant:b", "b")
        ),
    )
    play(service, [Run(case("note", *steps), tenant, tuple((each,) for each in steps), in_given_order=True)])
    issued = once(service.events.of(tenant, "credit-issued"))[-1].body
    assert (issued["amount"], issued["source"], issued["expires_at"]) == (
        "30.00",
        "negative_invoice",
        IN_2090,
    )


def test_a_grant_that_is_to_come_begins_and_ends_by_time_alone(service: Service) -> None:
    tenant = "commands-to-come"
    begins = (datetime.now(UTC) + timedelta(seconds=5)).replace(microsecond=0)
    ends = begins + timedelta(seconds=2)
    times = {"effective_at": begins.isoformat(), "expires_at": ends.isoformat()}
    service.publish([fact("grant-credit", tenant, "g", **times)])
    service.publish([fact("draw-credit", tenant, "early", occurred_at=datetime.now(UTC).isoformat())])
    service.settle()
    (waits,) = service.ask("explain", "g", "--tenant", tenant)["decisions"]
    assert (waits["outcome"], waits["reason"]) == ("waiting", "not_effective")
    assert [each.body["reason"] for each in service.events.of(tenant, "credit-declined")] == [
        "insufficient_credit"
    ]
    (issued,) = service.events.until(lambda: service.events.of(tenant, "credit-issued"), "its beginning")
    assert issued.body["caused_by"] == {
        "topic": "grant-credit",
        "event_id": "g",
        "by": {"type": "admin", "id": "a1"},
    }
    assert datetime.fromisoformat(issued.body["occurred_at"]) == begins
    assert datetime.fromisoformat(issued.body["recorded_at"]) >= begins
    (over,) = service.events.until(lambda: service.events.of(tenant, "credit-expired"), "its end")
    assert datetime.fromisoformat(over.body["occurred_at"]) == ends
    assert over.body["balance"] == {"available": "0.00", "reserved": "0.00"}
