"""Asks whether another topic was meant, where a name is no topic's."""

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A question with the nearest of the known names, after a space; empty where none is near, or the name is known."""
    known = tuple(known)
    near = [] if name in known else get_close_matches(name, known, 1)
    return f" Did you mean {near[0]}?" if near else ""
