"""The state of a batch: what a fork changes, and what is new beside what was known."""

from typing import Any

import pytest

from avoir.core.model.events import AccountKey
from avoir.core.model.rows import Account
from avoir.core.state.state import State
from avoir.core.state.table import Table

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


def test_an_attempt_that_fails_leaves_rows_and_index_entries_as_they_were() -> None:
    state: Any = State.empty()
    state.add([account(KEY, 1)])
    state.index("policies_of_scope", KEY, "first")

    def fail() -> None:
        with state.attempt() as attempt:
            state.add([account(KEY, 2), account(OTHER, 3), account(KEY, 4)])
            for value in ("second", "third"):
                state.index("policies_of_scope", KEY, value)
                state.index("policies_of_scope", OTHER, value)
            assert attempt.rows(state.accounts) == [account(KEY, 4), account(OTHER, 3)]
            assert state.policies_of_scope.get(OTHER) == ("second", "third")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert state.accounts.rows == {KEY: account(KEY, 1)}
    assert state.policies_of_scope.rows == {KEY: ["first"]}
    with state.attempt():
        state.add([account(OTHER, 5)])
    assert state.accounts[OTHER] == account(OTHER, 5)


def test_an_interrupt_in_the_middle_of_undoing_leaves_nothing_of_the_attempt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    state, restored = State.empty(), list[object]()
    restore = Table.restore

    def interrupted(table: Table[object, object], key: object, mark: object) -> None:
        restored.append(key)
        if len(restored) == 2:
            raise InterruptedError
        restore(table, key, mark)

    def fail() -> None:
        with state.attempt():
            state.add([account(KEY, 1), account(OTHER, 2), account(THIRD, 3)])
            raise RuntimeError

    monkeypatch.setattr(Table, "restore", interrupted)
    with pytest.raises(InterruptedError):
        fail()
    assert not state.accounts.rows


def test_what_an_index_gave_does_not_grow_with_it() -> None:
    state: Any = State.empty()
    for base in (state, state.fork()):
        base.index("policies_of_scope", KEY, 1)
        seen = base.policies_of_scope.get(KEY)
        base.index("policies_of_scope", KEY, 2)
        assert seen == base.policies_of_scope.get(KEY)[:-1]


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
