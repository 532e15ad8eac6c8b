"""Owners who are tied to each other, through however many others, are decided together."""

from itertools import permutations

from avoir.cli.base.history import group_names


def test_owners_that_nothing_ties_have_no_entry() -> None:
    assert group_names([]) == {}


def test_ties_meet_in_any_order() -> None:
    ties = [["u1", "u2"], ["u3", "u4"], ["u2", "u3"], ["u8", "u9"]]
    for order in permutations(ties):
        names = group_names(order)
        assert len({names[each] for each in ("u1", "u2", "u3", "u4")}) == 1
        assert names["u8"] == names["u9"] != names["u1"]
        assert all(names[name] == name for name in names.values())


def test_a_tie_of_an_owner_to_himself_changes_nothing() -> None:
    assert group_names([["u1", "u1"], ["u1", "u2", "u3"]]) == {"u1": "u1", "u2": "u1", "u3": "u1"}
