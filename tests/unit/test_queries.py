"""The SQL statements are loaded by name, each says what it is for, and their parameters are bound by name."""

import re
from importlib.resources import files
from typing import NamedTuple

import pytest

from avoir.postgres import queries
from avoir.postgres.queries import Statement


class Key(NamedTuple):
    tenant_id: str
    id: int


KEYS = Statement.of("keys", "", "SELECT :keys.tenant_id::text[], :keys.id::int[], :limit, :keys.tenant_id")


@pytest.mark.parametrize("name", sorted(queries.STATEMENTS))
def test_every_statement_is_described(name: str) -> None:
    assert queries.STATEMENTS[name].description
    assert queries.STATEMENTS[name].text


def test_every_parameter_has_a_name() -> None:
    texts = [file.read_text() for file in files("avoir.postgres").joinpath("sql").iterdir()]
    assert not [found for text in texts for found in re.findall(r".*\$\d.*", text)]


def test_a_statement_is_an_attribute() -> None:
    assert queries.lock_offsets.text.startswith("SELECT o.topic, o.partition")
    assert queries.lock_offsets.text.endswith("FOR UPDATE")


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_statement"):
        _ = queries.no_such_statement


def test_parameters_are_numbered_as_they_appear() -> None:
    statement = Statement.of("some", "", "SELECT :b, :a::text, :b")
    assert statement.text == "SELECT $1, $2::text, $1"
    assert statement(a="x", b=1) == ("SELECT $1, $2::text, $1", 1, "x")


def test_casts_texts_and_comments_are_no_parameters() -> None:
    sql = "SELECT 'a:b', \":c\", x::d, 'it''s :e' -- of :f\n, :g"
    assert Statement.of("some", "", sql).parameters == ("g",)
    assert Statement.of("some", "", sql).text == sql.replace(":g", "$1")


def test_keys_are_bound_as_an_array_of_each_field() -> None:
    keys = [Key("t2", 1), Key("t1", 2)]
    assert KEYS(keys=keys, limit=3)[1:] == (["t2", "t1"], [1, 2], 3)
    assert KEYS(keys=(), limit=3)[1:] == ([], [], 3)


def test_keys_in_no_order_are_sorted() -> None:
    keys = {Key("t2", 1), Key("t1", 2)}
    assert KEYS(keys=keys, limit=3)[1:] == (["t1", "t2"], [2, 1], 3)
    assert KEYS(keys=dict.fromkeys(keys), limit=3)[1:] == (["t1", "t2"], [2, 1], 3)


def test_one_key_is_bound_by_its_fields() -> None:
    assert KEYS(keys=Key("t1", 2), limit=3)[1:] == ("t1", 2, 3)


@pytest.mark.parametrize("values", [{"keys": []}, {"keys": [], "limit": 1, "offset": 2}])
def test_a_missing_or_unknown_name_is_a_type_error(values: dict[str, object]) -> None:
    with pytest.raises(TypeError, match=r"keys takes \['keys', 'limit'\], not \['keys'"):
        KEYS(**values)


def test_open_grants_of_an_account_are_asked_for_as_their_index_says_it() -> None:
    """Partial index `grants_open`: any other words for what is open would read the grants of all accounts."""
    found = {name for name, each in queries.STATEMENTS.items() if "g.available + g.reserved > 0" in each.text}
    assert not found
