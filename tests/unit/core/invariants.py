"""What holds of every state and every ledger, whatever was handled."""

from collections.abc import Iterable

from msgspec.structs import replace

from avoir.core.decide import Decided
from avoir.core.model.events import AccountKey, Event
from avoir.core.model.ledger import Entry, entry_hash
from avoir.core.model.money import minor_unit
from avoir.core.state.state import State


def net_of(state: State) -> dict[AccountKey, int]:
    """available + reserved - due + credit that waits for payment - shortfalls, per account.

    Where the credit of an unpaid line is short, its payment makes up for that: so much waits too.
    """
    net: dict[AccountKey, int] = {}
    for account in state.accounts.rows.values():
        net[account.key] = net.get(account.key, 0) + account.available + account.reserved
    for invoice in state.invoices.rows.values():
        net[invoice.account] = net.get(invoice.account, 0) - invoice.due
    for each in state.entitlements.rows.values():
        waits = each.invoice is not None and state.invoices[each.invoice].due > 0
        waiting = max(0, each.target - each.given + each.shortfall) if waits else 0
        net[each.account] = net.get(each.account, 0) + waiting - each.shortfall
    return {key: value for key, value in net.items() if value}


def check_rows(state: State, decided: Decided) -> None:
    """The rows that a message changed: their parts add up, and nothing is below zero."""
    for event in decided.events:
        if event.account is not None:
            assert event.available is not None and event.available >= 0
            assert event.reserved is not None and event.reserved >= 0
    for account in decided.attempt.rows(state.accounts):
        held = [grant for grant in state.grants.rows.values() if grant.account == account.key]
        assert account.available == sum(grant.available for grant in held)
        assert account.reserved == sum(grant.reserved for grant in held)
    for grant in decided.attempt.rows(state.grants):
        parts = (
            grant.pending,
            grant.available,
            grant.reserved,
            grant.spent,
            grant.lost,
            grant.taken,
        )
        assert grant.amount == sum(parts) and min(parts) >= 0
        holding = state.reservations_of_grant.get(grant.key) or ()
        assert grant.reserved == sum(state.reservations[key].amount for key in holding)
    for held_row in decided.attempt.rows(state.reservations):
        assert held_row.amount >= 0
    for each in decided.attempt.rows(state.entitlements):
        assert 0 <= each.target <= each.cost and 0 <= each.given <= each.cost
    for bill in decided.attempt.rows(state.invoices):
        assert bill.due % minor_unit(bill.account.currency) == 0
        assert bill.due >= 0 and bill.settled >= 0 and bill.applied >= 0
    for paid in decided.attempt.rows(state.payments):
        assert paid.left >= 0
        settled = [state.settlements[key] for key in state.settlements_of_payment.get(paid.key) or ()]
        assert paid.settled == sum(each.amount for each in settled)


def check_ledger(events: Iterable[Event], entries: Iterable[Entry]) -> None:
    """Sequence numbers without gaps, running balances and hash chains, from the entries alone."""
    seqs: dict[AccountKey, int] = {}
    for event in events:
        if event.account is not None:
            assert event.seq == seqs.get(event.account, 0) + 1
            seqs[event.account] = event.seq
    heads: dict[AccountKey, bytes] = {}
    balances: dict[tuple[AccountKey, str], int] = {}
    for entry in entries:
        side = entry.account, entry.ledger_account
        balances[side] = balances.get(side, 0) + entry.amount
        assert balances[side] == entry.balance >= 0
        assert entry_hash(heads.get(entry.account, bytes(32)), replace(entry, hash=b"")) == entry.hash
        heads[entry.account] = entry.hash
