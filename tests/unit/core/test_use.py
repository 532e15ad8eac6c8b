"""How credit is used by itself: on which invoices, in what order, and until when."""

from datetime import timedelta
from uuid import UUID

import pytest
from msgspec.structs import replace

from avoir.core.effects.allocation import allocate, usable
from avoir.core.model.events import AccountKey, CreditApplied, CreditExpired
from avoir.core.model.policy import Policy
from avoir.core.model.rows import Grant, GrantKey
from avoir.core.state.state import State
from tests.unit.core.world import (
    NOW,
    World,
    at,
    cancelled,
    given,
    invoice,
    line,
    message,
    payment,
    rows,
)

PAID_EARLY = message("p", "06-01", payment("p1", "80.00"))


def bill(invoice_id: str, when: str, amount: str = "100.00", **how: object):  # type: ignore[no-untyped-def]
    made = invoice(invoice_id, line("l1", amount, booking=f"b-{invoice_id}"), **how)  # type: ignore[arg-type]
    return message(f"f-{invoice_id}", when, made)


@pytest.mark.parametrize(
    ("policy", "said", "automatic", "applied"),
    [
        (True, None, True, 80),
        (True, False, True, 0),
        (True, True, True, 80),
        (False, None, True, 0),
        (False, True, True, 80),
        (True, None, False, 0),
        (True, True, False, 0),
        (False, True, False, 0),
    ],
)
def test_the_message_counts_over_the_policy_and_manual_finalization_is_left_alone(
    policy: bool, said: bool | None, automatic: bool, applied: float
) -> None:
    delivered = [PAID_EARLY, bill("i1", "06-02", automatic=automatic, auto_apply=said)]
    world = given(*delivered, policy=Policy(auto_apply=policy))
    assert world.applied("i1") == applied
    assert world.available() == 80 - applied


def test_an_application_names_its_slices_and_what_is_still_due() -> None:
    world = given(PAID_EARLY, bill("i1", "06-02"))
    (applied,) = world.bodies(CreditApplied)
    assert (applied.amount, applied.amount_due, applied.by) == (80_000_000, 20_000_000, "auto")
    assert [(part.amount, part.source) for part in applied.slices] == [(80_000_000, "overpayment")]
    assert (world.decisions[-1].outcome, world.decisions[-1].reason) == ("applied", "auto")


@pytest.mark.parametrize(("finalized", "applied"), [("05-31T23:59", 0), ("06-01", 80), ("06-02", 80)])
def test_only_credit_effective_no_later_than_the_finalization_is_used(finalized: str, applied: float) -> None:
    late = message("p", "06-01", payment("p1", "80.00", "elsewhere"))
    delivered = [late, bill("i1", finalized)]
    for order in (delivered, delivered[::-1]):
        assert given(*order).applied("i1") == applied


def test_credit_delivered_late_still_settles_its_invoice() -> None:
    world = given(bill("i1", "06-05"), message("p", "06-01", payment("p1", "80.00", "elsewhere")))
    assert (world.applied("i1"), world.due("i1")) == (80, 20)


def test_late_credit_goes_to_the_oldest_finalization_first() -> None:
    world = given(
        bill("i2", "06-05"), bill("i1", "06-04"), message("p", "06-01", payment("p1", "130.00", "x"))
    )
    assert (world.due("i1"), world.due("i2")) == (0, 70)


def test_credit_issued_later_is_not_spread_over_old_invoices() -> None:
    world = given(
        bill("i1", "06-01", paid="100.00"), bill("i2", "06-02"), message("c", "06-03", cancelled("b-i1"))
    )
    assert (world.due("i2"), world.available()) == (100, 100)


def grant(n: int, **how: object) -> Grant:
    made = Grant(
        key=GrantKey("t1", UUID(int=n)),
        account=AccountKey("t1", "user", "u1", "EUR"),
        amount=10,
        available=10,
        reserved=0,
        spent=0,
        lost=0,
        taken=0,
        source="granted",
        reason="other",
        note=None,
        priority=50,
        paid_for=True,
        effective_at=at("06-01"),
        expires_at=None,
        reference=None,
        entitlement=None,
        ordinal=1,
        topic="",
        event_id="",
    )
    return replace(made, **how)


def test_the_order_of_use_is_priority_expiry_given_effective_id() -> None:
    in_order = [
        grant(9, priority=0),
        grant(8, expires_at=at("07-01"), effective_at=at("06-02")),
        grant(7, expires_at=at("07-02")),
        grant(6, paid_for=False, effective_at=at("06-03")),
        grant(3, effective_at=at("05-01")),
        grant(4),
        grant(5),
        grant(1, priority=51, expires_at=at("06-30")),
    ]
    for shuffled in (in_order[::-1], in_order[3:] + in_order[:3]):
        state = State.empty()
        state.add(shuffled)
        found = usable(state.walk("grants_in_use", in_order[0].account), at("06-10"), at("06-11"))
        assert [each.key.id.int for each in found] == [9, 8, 7, 6, 3, 4, 5, 1]


@pytest.mark.parametrize(
    ("how", "is_usable"),
    [
        ({}, True),
        ({"effective_at": at("06-10")}, True),
        ({"effective_at": at("06-10") + timedelta(microseconds=1)}, False),
        ({"expires_at": at("06-10")}, False),
        ({"expires_at": at("06-15")}, False),
        ({"expires_at": at("06-15") + timedelta(microseconds=1)}, True),
        ({"available": 0, "reserved": 10}, False),
    ],
)
def test_a_grant_is_usable_when_effective_and_unexpired_then_and_now(how: dict, is_usable: bool) -> None:
    assert bool(list(usable([grant(1, **how)], at("06-10"), at("06-15")))) is is_usable


def test_an_amount_is_split_over_grants_in_order_and_what_they_lack_is_left() -> None:
    parts, left = allocate(15, [grant(1), grant(2), grant(3)], lambda each: each.available)
    assert [(part.grant.key.id.int, part.amount) for part in parts] == [(1, 10), (2, 5)]
    assert left == 0
    assert allocate(0, [grant(1)]) == ((), 0)
    parts, left = allocate(21, [grant(1), grant(2)], lambda each: each.available)
    assert (sum(part.amount for part in parts), left) == (20, 1)


def test_no_more_grants_are_looked_at_than_are_taken() -> None:
    looked_at = iter([grant(1), grant(2), grant(3)])
    allocate(15, looked_at, lambda each: each.available)
    assert [each.key.id.int for each in looked_at] == [3]


def test_a_fraction_of_a_cent_stays_in_its_grant() -> None:
    cents = [grant(1, amount=15_000, available=15_000), grant(2, amount=20_000, available=20_000)]
    parts, left = allocate(30_000, cents)
    assert [(part.grant.key.id.int, part.amount) for part in parts] == [(1, 10_000), (2, 20_000)]
    assert left == 0
    assert allocate(35_000, cents)[1] == 5_000


@pytest.mark.parametrize(("left", "applied"), [(0, 0), (9_999, 0), (10_000, 10_000), (25_432, 20_000)])
def test_applications_are_whole_minor_units_and_a_fraction_stays(left: int, applied: int) -> None:
    world = given(PAID_EARLY)
    (held,) = rows(world.state.grants)
    (account,) = rows(world.state.accounts)
    world.state.add(
        [replace(held, available=left, spent=held.amount - left), replace(account, available=left)]
    )
    world.handle(bill("i1", "06-02"))
    assert world.state.invoices["t1", "i1"].applied == applied  # type: ignore[index]
    assert rows(world.state.accounts)[0].available == left - applied


def test_credit_expires_to_the_second_swept_or_not() -> None:
    """Ten days after June 1: usable until the last microsecond before June 11."""
    for now, applied in (("06-10T23:59", 80), ("06-11", 0)):
        world = World(policy=Policy(expires_after_days=10), now=at("06-02"))
        world.handle(PAID_EARLY)
        world.now = at(now)
        world.handle(bill("i1", "06-05"))
        assert world.applied("i1") == applied
        assert len(world.bodies(CreditExpired)) == (0 if applied else 1)
        assert world.available() == 0


def test_an_invoice_finalized_after_the_expiry_takes_nothing_though_the_clock_lags() -> None:
    world = World(policy=Policy(expires_after_days=10), now=at("06-10"))
    world.handle_all([PAID_EARLY, bill("i1", "06-11")])
    assert (world.applied("i1"), world.available()) == (0, 80)


def test_expiry_is_an_event_at_the_time_it_happened_caused_by_no_message() -> None:
    world = World(policy=Policy(expires_after_days=10), now=at("06-20"))
    world.handle(PAID_EARLY)
    assert [type(body).__name__ for body in world.bodies()] == ["CreditIssued", "CreditExpired"]
    assert world.events[-1].occurred_at == at("06-11") and world.events[-1].caused_by is None
    assert world.events[-1].recorded_at == at("06-20") < NOW
