"""Suggests the nearest topic for an unknown name."""

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A space and a question that suggests the nearest known name; empty if none is near, or the name is known."""
    known = tuple(known)
    near = [] if name in known else get_close_matches(name, known, 1)
    return f" Did you mean {near[0]}?" if near else ""
