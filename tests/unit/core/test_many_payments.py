"""Undoing many uses of one invoice: `settled_at` is recomputed once per invoice, so the cost is linear."""

import pytest

from avoir.core.effects import undo
from avoir.core.model.policy import Policy
from avoir.core.model.rows import InvoiceKey
from avoir.core.state.draft import Draft
from tests.unit.core.commands import granted, use_on
from tests.unit.core.world import World, at, invoice, line, payment, reversal, voided


@pytest.fixture
def recomputed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Ids of the invoices whose `settled_at` was recomputed, in order."""
    calls: list[str] = []
    recompute = undo.recompute_settled_at

    def counting(draft: Draft, key: InvoiceKey) -> None:
        calls.append(key.invoice_id)
        recompute(draft, key)

    monkeypatch.setattr(undo, "recompute_settled_at", counting)
    return calls


def test_voiding_an_invoice_with_2000_settlements_recomputes_it_once(recomputed: list[str]) -> None:
    count = 2000
    world = World()
    world.decide("f", "06-01", invoice("i1", line("l1", f"{count}.00")))
    for n in range(count):
        world.decide(f"p{n}", "06-02", payment(f"p{n}", "1.00", "i1"))
    assert world.due("i1") == 0
    world.decide("v", "06-03", voided("i1"))
    assert recomputed == ["i1"]
    assert world.available() == count
    assert world.state.invoices[InvoiceKey("t1", "i1")].settled_at == at("06-01")


def test_voiding_an_invoice_with_many_applications_and_payments_recomputes_it_once(
    recomputed: list[str],
) -> None:
    world = World(policy=Policy(auto_apply=False))
    world.decide("f", "06-01", invoice("i1", line("l1", "100.00")))
    for n in range(50):
        world.decide(f"g{n}", "06-01", granted("1.00"))
        world.decide(f"a{n}", "06-02", use_on("i1", "1.00"))
        world.decide(f"p{n}", "06-02", payment(f"p{n}", "1.00", "i1"))
    assert (world.due("i1"), world.applied("i1")) == (0, 50)
    world.decide("v", "06-03", voided("i1"))
    assert recomputed == ["i1"]
    assert world.available() == 100


def test_reversing_a_payment_recomputes_each_of_its_invoices_once(recomputed: list[str]) -> None:
    """The payment pays the rest of `i1` twice: before and after another payment of it is reversed."""
    world = World()
    world.decide("f1", "06-01", invoice("i1", line("l1", "100.00")))
    world.decide("p1", "06-02", payment("p1", "60.00", "i1"))
    world.decide("p2", "06-03", payment("p2", "160.00"))
    world.decide("r1", "06-04", reversal("r1", "p1", "60.00"))
    world.decide("f2", "06-02", invoice("i2", line("l1", "60.00")))
    settlements = world.state.settlements_of_payment
    assert [len(keys) for payment_key, keys in settlements.rows.items() if payment_key.id == "p2"] == [3]
    recomputed.clear()
    world.decide("r2", "06-05", reversal("r2", "p2", "160.00"))
    assert sorted(recomputed) == ["i1", "i2"]
    assert (world.due("i1"), world.due("i2")) == (100, 60)
    assert world.state.invoices[InvoiceKey("t1", "i1")].settled_at == at("06-01")
