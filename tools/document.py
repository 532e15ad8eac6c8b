"""Writes the generated parts of documents, or checks them: what all programs that do so share."""

import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def between_marks(text: str, begin: str, end: str, content: str) -> str:
    """A text with some content between two marks; ValueError if they are missing."""
    before, _, rest = text.partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        raise ValueError(f"the lines {begin!r} and {end!r} are missing")
    return f"{before}{begin}\n\n{content}\n\n{end}{after}"


def write_or_check(document: Path, updated: Callable[[str], str], command: str) -> None:
    """Bring a document up to date; with `--check`, end the program with 1 where it is not."""
    text = document.read_text(encoding="utf-8")
    if updated(text) == text:
        return
    if "--check" in sys.argv[1:]:
        sys.exit(f"{document.relative_to(ROOT)} is out of date; run: {command}")
    document.write_text(updated(text), encoding="utf-8")
