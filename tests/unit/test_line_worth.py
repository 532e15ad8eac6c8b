"""How the worth of a line came about: what each change alone is worth, and which of them counts."""

from datetime import UTC, datetime

from avoir.cli.explain.line_query import ChangeWorth, LineWorth, changes_of
from avoir.cli.explain.prose.line import line_prose
from avoir.core.model.rows import EntitlementKey, InvoiceKey, SubjectKey
from avoir.core.worth.targets import Billed
from tests.unit.core.world import EURO, World, cancelled, invoice, line, plan_cancelled, rows, shortened

NOW = datetime(2025, 12, 31, tzinfo=UTC)
PERIOD = ("06-10T09:00", "06-10T13:00")


def worth_of(world: World, line_id: str = "l1", kind: str = "booking", id_: str = "b1") -> LineWorth:
    """The worth of a line of invoice i1 from what a world knows."""
    key = EntitlementKey("t1", "line", "i1", line_id)
    explained, bill = world.state.lines[key], world.state.invoices[InvoiceKey("t1", "i1")]
    subject = SubjectKey("t1", kind, id_)  # type: ignore[arg-type]
    billed = [
        Billed(world.state.invoices[each.invoice], each)
        for each in world.state.lines_of_subject.get(subject) or ()
    ]
    changes = [each for each in rows(world.state.changes) if each.subject == subject]
    known = world.state.entitlements.get(key)
    return LineWorth(
        "t1",
        NOW,
        bill,
        explained,
        0,
        known.target if known else None,
        changes_of(Billed(bill, explained), billed, changes),
        known.given if known else 0,
        known.covered if known else 0,
        known.shortfall if known else 0,
        known.settle_by if known else None,
    )


def roles(changes: tuple[ChangeWorth, ...]) -> list[tuple[str, str, int | None]]:
    return [
        (each.change.event_id, each.role, None if each.worth is None else each.worth // EURO)
        for each in changes
    ]


def billed(paid: str = "120") -> World:
    world = World()
    world.decide("f1", "06-01", invoice("i1", line("l1", "120", booking="b1", period=PERIOD), paid=paid))
    return world


def test_the_last_change_asked_for_counts_and_those_before_it_are_superseded() -> None:
    world = billed()
    world.decide("c1", "06-02", shortened("b1", billed=PERIOD, remaining=("06-10T09:00", "06-10T12:00")))
    world.decide("c2", "06-03", cancelled("b1", fee="10"))
    assert roles(worth_of(world).changes) == [("c1", "superseded", 30), ("c2", "counts", 110)]


def test_a_last_change_that_nobody_asked_credit_for_lowers_it_or_leaves_it() -> None:
    for remaining, role, worth in (("60", "lowers", 60), ("0", "leaves", 120)):
        world = billed()
        world.decide("c1", "06-02", cancelled("b1", fee="10"))
        world.decide("c2", "06-03", shortened("b1", prices=("120", remaining), by="admin"))
        assert roles(worth_of(world).changes) == [("c1", "counts", 110), ("c2", role, worth)]


def test_a_change_before_the_invoice_or_in_another_currency_does_not_count() -> None:
    world = billed()
    world.decide("c1", "05-30", cancelled("b1"))
    world.decide("c2", "06-02", cancelled("b1", fee="10", currency="USD"))
    world.decide("c3", "06-03", cancelled("b1", by="admin"))
    assert roles(worth_of(world).changes) == [
        ("c1", "billed_after_change", None),
        ("c2", "currency_mismatch", None),
        ("c3", "not_requested", 120),
    ]


def test_the_share_of_the_period_is_a_fraction() -> None:
    world = billed()
    world.decide("c1", "06-02", shortened("b1", billed=PERIOD, remaining=("06-10T09:00", "06-10T12:00")))
    (only,) = worth_of(world).changes
    assert only.share == (1, 4)
    assert line_prose(worth_of(world))[2:] == [
        "Change 1: shortened by the customer on 2 June 2025 (message c1). 2025-06-10 09:00 to 2025-06-10 12:00 UTC "
        "remains: 1/4 of the period is unused, so on its own it is worth 30.00 EUR. This change counts.",
        "So the line is worth 30.00 EUR of credit once its invoice is paid.",
        "The invoice was paid on 1 June 2025, so that is due now.",
        "Given for it so far, less what was taken back: 30.00 EUR.",
    ]


def test_the_fee_is_kept_once_from_the_first_line() -> None:
    world = World()
    lines = (line("l1", "6", booking="b1"), line("l2", "20", booking="b1"))
    world.decide("f1", "06-01", invoice("i1", *lines, paid="26"))
    world.decide("c1", "06-02", cancelled("b1", fee="10"))
    (first,), (second,) = worth_of(world, "l1").changes, worth_of(world, "l2").changes
    assert [(each.worth, each.fee) for each in (first, second)] == [(0, 6 * EURO), (16 * EURO, 4 * EURO)]
    assert "Of the fee of 10.00 EUR, 4.00 EUR is kept from this line" in line_prose(worth_of(world, "l2"))[2]


def test_an_unpaid_invoice_says_what_the_credit_waits_for() -> None:
    world = billed(paid="100")
    world.decide("c1", "06-02", cancelled("b1"))
    assert "20.00 EUR is still due on the invoice, so the credit waits." in line_prose(worth_of(world))


def test_a_plan_is_told_with_how_its_period_is_shared() -> None:
    world = World()
    month = ("06-01", "07-01")
    world.decide("f1", "06-01", invoice("i1", line("l1", "30", plan="p1", period=month), paid="30"))
    world.decide("c1", "06-02", plan_cancelled("p1", "06-16", "prorate"))
    explained = line_prose(worth_of(world, kind="plan", id_="p1"))
    assert (
        "1/2 of the cost is unused because the plan ends at 2025-06-16 00:00 UTC, by elapsed time, so on its own it is"
        in (explained[2])
    )


def test_discounts_and_lines_without_credit_are_told() -> None:
    world = World()
    lines = (line("l1", "100", booking="b1"), line("l2", "-10", kind="other"))
    world.decide("f1", "06-01", invoice("i1", *lines, paid="90"))
    first, discount = worth_of(world, "l1"), worth_of(world, "l2")
    assert line_prose(first)[1].endswith("is 10.00 EUR, so it cost 90.00 EUR.")
    assert line_prose(discount)[1:] == [
        "It is a discount on the other lines, so it cost nothing.",
        "No change makes it worth credit.",
    ]
