"""The SQL statements are loaded by name, and each says what it is for."""

import pytest

from avoir.postgres import queries


@pytest.mark.parametrize("name", sorted(queries.STATEMENTS))
def test_every_statement_is_described(name: str) -> None:
    assert queries.DESCRIPTIONS[name]
    assert queries.STATEMENTS[name]


def test_a_statement_is_an_attribute() -> None:
    assert queries.lock_offsets.startswith("SELECT o.topic, o.partition")
    assert queries.lock_offsets.endswith("FOR UPDATE")


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_statement"):
        _ = queries.no_such_statement


def test_open_grants_of_an_account_are_asked_for_as_their_index_says_it() -> None:
    """Partial index `grants_open`: any other words for what is open would read the grants of all accounts."""
    found = {name for name, text in queries.STATEMENTS.items() if "g.available + g.reserved > 0" in text}
    assert not found
