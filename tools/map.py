"""Writes the map of the service into docs/architecture.md: a line for each file, from the file's first words.

`python -m tools.map` writes it; `python -m tools.map --check` exits with 1 if it is out of date.
"""

import ast
from pathlib import Path

from tools.document import ROOT, between_marks, write_or_check

SERVICE = ROOT / "services/avoir"
DOCUMENT = ROOT / "docs/architecture.md"
BEGIN, END = "<!-- map: written by `python -m tools.map` -->", "<!-- end of the map -->"


def service_map() -> str:
    """A heading for each room with its purpose, and a line for each of its files, in Markdown."""
    lines = []
    for folder in sorted({path.parent for path in SERVICE.rglob("*.py")}):
        lines += [
            f"\n### `{folder.relative_to(ROOT.joinpath('services'))}/`\n",
            f"{_purpose(folder / '__init__.py')}\n",
        ]
        files = sorted(path for path in folder.glob("*.py") if path.name != "__init__.py")
        lines += [f"- `{path.name}`: {_purpose(path)}" for path in files]
    lines += ["\n### `avoir/postgres/sql/`\n", "All statements, named and described.\n"]
    lines += [
        f"- `{path.name}`: {_purpose_of_sql(path)}" for path in sorted(SERVICE.glob("postgres/sql/*.sql"))
    ]
    return "\n".join(lines).strip()


def _purpose(path: Path) -> str:
    """The first paragraph of a module's docstring; ValueError if there is none."""
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    if not docstring:
        raise ValueError(
            f"{path.relative_to(ROOT)} has no docstring: begin it with one that says what it is for"
        )
    return " ".join(docstring.split("\n\n")[0].split())


def _purpose_of_sql(path: Path) -> str:
    """The first sentence of the comment above a file's statements; ValueError if there is none."""
    comment, _, _ = path.read_text(encoding="utf-8").partition("-- name:")
    words = " ".join(
        line.removeprefix("--").strip() for line in comment.splitlines() if line.startswith("--")
    )
    if not words:
        raise ValueError(f"{path.relative_to(ROOT)} has no comment above its first statement")
    return words.partition(". ")[0].rstrip(".") + "."


def with_map(text: str) -> str:
    """The document with the map between its two marks; ValueError if they are missing."""
    return between_marks(text, BEGIN, END, service_map())


if __name__ == "__main__":
    write_or_check(DOCUMENT, with_map, "python -m tools.map")
