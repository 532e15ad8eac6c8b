"""The state of a batch: what a fork changes, and what is new beside what was known."""

from avoir.core.model.events import AccountKey
from avoir.core.model.rows import Account
from avoir.core.state.state import State

KEY, OTHER, THIRD = (AccountKey("t1", "user", owner, "EUR") for owner in ("u1", "u2", "u3"))


def account(key: AccountKey, available: int) -> Account:
    return Account(key, available, 0, 1, b"")


def test_a_fork_keeps_its_changes_to_itself_until_they_are_taken_over() -> None:
    state = State.empty()
    state.add([account(KEY, 1), account(OTHER, 2)])
    fork = state.fork()
    fork.add([account(KEY, 10)])
    assert (state.accounts[KEY].available, fork.accounts[KEY].available) == (1, 10)
    assert fork.accounts[OTHER].available == 2
    assert list(fork.changed("accounts")) == [account(KEY, 10)]
    state.merge(fork)
    assert state.accounts[KEY].available == 10


def test_what_is_put_after_the_known_rows_is_either_added_or_updated() -> None:
    state = State.empty()
    state.add([account(KEY, 1), account(OTHER, 2)])
    state.mark_known()
    assert not [*state.added("accounts"), *state.updated("accounts")]
    fork = state.fork()
    fork.add([account(OTHER, 20), account(THIRD, 3)])
    state.merge(fork)
    assert list(state.added("accounts")) == [account(THIRD, 3)]
    assert list(state.updated("accounts")) == [account(OTHER, 20)]


def test_a_row_that_is_put_again_counts_once_as_it_stands() -> None:
    state = State.empty()
    state.mark_known()
    state.add([account(KEY, 1)])
    state.add([account(KEY, 2)])
    assert list(state.added("accounts")) == [account(KEY, 2)]
    assert not list(state.updated("accounts"))
