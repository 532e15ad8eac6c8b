"""Reports the size and structure of the service's code: figures to look at, not to aim at.

`python -m tools.measure [--json] [ROOT]`. It needs only the standard library, and parses the code without running it.
"""

import argparse
import ast
import json
import re
import tokenize
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from statistics import median_low
from typing import Any

SERVICE = Path("services/avoir")
TREES = (SERVICE, Path("schemas/avoir_events"))
LONG_FILE, LONG_FUNCTION, LARGEST = 300, 70, 10
QUESTION = re.compile(r"(What|How|Which|Where|Whether|When)\b")

Definition = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class Function:
    """A function or method; `scope` says where it is defined: "module", "class" or "function"."""

    node: Definition
    file: str
    scope: str
    is_public: bool

    @property
    def lines(self) -> int:
        """Lines from `def` to the end."""
        return (self.node.end_lineno or self.node.lineno) - self.node.lineno + 1

    @property
    def is_private(self) -> bool:
        """True for `_name` of a module or a class."""
        name = self.node.name
        return self.scope != "function" and name.startswith("_") and not name.endswith("__")

    def __str__(self) -> str:
        return f"{self.file}:{self.node.lineno} {self.node.name}, {self.lines} lines"


@dataclass(frozen=True, slots=True)
class File:
    """A file of Python, parsed; `name` is its path below the root."""

    name: str
    lines: int
    comments: int
    tree: ast.Module

    @classmethod
    def read(cls, path: Path, root: Path) -> "File":
        """Read and parse a file."""
        text = path.read_text(encoding="utf-8")
        comments = [
            token
            for token in tokenize.generate_tokens(StringIO(text).readline)
            if token.type == tokenize.COMMENT and not token.line[: token.start[1]].strip()
        ]
        return cls(path.relative_to(root).as_posix(), len(text.splitlines()), len(comments), ast.parse(text))

    def functions(self) -> Iterator[Function]:
        """All functions in it, nested ones and methods included."""
        return _functions(self.tree, self.name, "module", True)

    def docstrings(self) -> Iterator[str]:
        """The docstrings of the module, its classes and its functions."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Module | ast.ClassDef | Definition) and (
                docstring := ast.get_docstring(node)
            ):
                yield docstring

    def uses(self) -> Counter[str]:
        """The number of reads of each name, or attribute of that name."""
        counts: Counter[str] = Counter()
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Load):
                counts[node.id if isinstance(node, ast.Name) else node.attr] += 1
        return counts


def _functions(within: ast.AST, file: str, scope: str, is_public: bool) -> Iterator[Function]:
    for node in ast.iter_child_nodes(within):
        if isinstance(node, Definition):
            shown = is_public and scope != "function" and not node.name.startswith("_")
            yield Function(node, file, scope, shown)
            yield from _functions(node, file, "function", False)
        elif isinstance(node, ast.ClassDef):
            inside = "function" if scope == "function" else "class"
            yield from _functions(node, file, inside, is_public and not node.name.startswith("_"))
        else:
            yield from _functions(node, file, scope, is_public)


def measure(root: Path) -> dict[str, Any]:
    """All figures of the code below a root, by name."""
    files = [File.read(path, root) for tree in TREES for path in sorted((root / tree).rglob("*.py"))]
    functions = [each for file in files for each in file.functions()]
    public = [each for each in functions if each.is_public]
    docstrings = [each for file in files for each in file.docstrings()]
    lines = sum(file.lines for file in files)
    longest = sorted(functions, key=lambda each: -each.lines)
    largest = sorted(files, key=lambda file: -file.lines)
    private, once = _private(files)
    questions = sum(bool(QUESTION.match(each)) for each in docstrings)
    return {
        "files": len(files),
        "lines": lines,
        "functions": len(functions),
        "median function, lines": median_low([each.lines for each in functions] or [0]),
        "longest function": str(longest[0]) if longest else None,
        "public functions": len(public),
        "of them with a docstring, share": _share(
            sum(bool(ast.get_docstring(each.node)) for each in public), len(public)
        ),
        "comment lines, share": _share(sum(file.comments for file in files), lines),
        "private functions": private,
        "of them used exactly once": once,
        "of them used exactly once, share": _share(once, private),
        "docstrings": len(docstrings),
        "of them that begin with What, How, ...": questions,
        "of them that begin with What, How, ..., share": _share(questions, len(docstrings)),
        **_rooms([file for file in files if Path(file.name).is_relative_to(SERVICE)]),
        f"files over {LONG_FILE} lines": [_sized(file) for file in largest if file.lines > LONG_FILE],
        f"functions over {LONG_FUNCTION} lines": [
            str(each) for each in longest if each.lines > LONG_FUNCTION
        ],
        "largest files": [_sized(file) for file in largest[:LARGEST]],
    }


def _private(files: Sequence[File]) -> tuple[int, int]:
    """The number of private functions, and of those that their file uses exactly once."""
    counts: list[int] = []
    for file in files:
        uses = file.uses()
        counts += [uses[each.node.name] for each in file.functions() if each.is_private]
    return len(counts), counts.count(1)


def _rooms(files: Sequence[File]) -> dict[str, int]:
    """The numbers of rooms (the service's top folders, and the files beside them) and of imports between them."""
    rooms = {_room(file) for file in files} - {"__init__"}
    imports = [
        (_room(file), name) for file in files for name in _imported(file) if name in rooms - {_room(file)}
    ]
    return {
        "rooms": len(rooms),
        "arrows between rooms": len(set(imports)),
        "imports between rooms": len(imports),
    }


def _room(file: File) -> str:
    return Path(file.name).relative_to(SERVICE).with_suffix("").parts[0]


def _imported(file: File) -> Iterator[str]:
    """The rooms that a file imports from, statement by statement."""
    here = Path(file.name).relative_to(SERVICE.parent).parts
    for node in ast.walk(file.tree):
        names: set[str] = set()
        if isinstance(node, ast.Import):
            names = {each.name for each in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ".".join([*here[: len(here) - node.level], *([node.module] if node.module else [])])
            module = base if node.level else node.module or ""
            names = {f"{module}.{each.name}" for each in node.names}
        yield from sorted({name.split(".")[1] for name in names if name.startswith(f"{SERVICE.name}.")})


def _share(part: int, whole: int) -> float:
    return round(part / whole, 4) if whole else 0.0


def _sized(file: File) -> str:
    return f"{file.name}, {file.lines} lines"


def main() -> None:
    """Print the figures of the given tree, or of this one."""
    parser = argparse.ArgumentParser(prog="python -m tools.measure", description=__doc__.splitlines()[0])
    parser.add_argument("root", type=Path, nargs="?", default=Path(__file__).parents[1], metavar="ROOT")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args()
    if not (options.root / SERVICE).is_dir():
        parser.error(f"there is no {SERVICE} in {options.root}")
    figures = measure(options.root)
    print(json.dumps(figures, indent=2) if options.json else "\n".join(_lines(figures)))


def _lines(figures: dict[str, Any]) -> Iterator[str]:
    for name, figure in figures.items():
        if isinstance(figure, list):
            yield f"{name}: {len(figure)}"
            yield from (f"  {each}" for each in figure)
        else:
            yield f"{name}: {figure:.1%}" if isinstance(figure, float) else f"{name}: {figure}"


if __name__ == "__main__":
    main()
