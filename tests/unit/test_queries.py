"""The SQL statements are loaded by name, and each says what it is for."""

import pytest

from avoir.postgres import queries


@pytest.mark.parametrize("name", sorted(queries.STATEMENTS))
def test_every_statement_is_described(name: str) -> None:
    assert queries.DESCRIPTIONS[name]
    assert queries.STATEMENTS[name]


def test_a_statement_is_an_attribute() -> None:
    assert queries.lock_offsets.startswith("SELECT 1\nFROM consumer_offsets")
    assert queries.lock_offsets.endswith("FOR UPDATE")


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_statement"):
        _ = queries.no_such_statement
