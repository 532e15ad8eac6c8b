"""Every call of a statement passes the names that its SQL has, so that none fails only when it is run."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from avoir.postgres import queries

ROOT = Path(__file__).parents[2]
FILES = [
    file
    for room in ("services", "tests", "benchmarks")
    for file in (ROOT / room).rglob("*.py")
    if file.name != "test_queries.py"
]

TENANT = {"tenant_id"}
ELSEWHERE = {
    "services/avoir/cli/explain/query.py": [TENANT],
    "services/avoir/cli/explain/scope.py": [TENANT],
    "services/avoir/cli/explain/line_query.py": [TENANT],
    "services/avoir/cli/verify/query.py": [TENANT, TENANT | {"currencies", "units"}],
    "services/avoir/cli/base/history.py": [TENANT | {"owners", "groups", "only"}],
    "services/avoir/postgres/schema.py": [{"table"}],
}
"""Files that name statements in one place and call them in another, with the names that they pass there."""


def test_every_use_passes_the_names_of_its_statement() -> None:
    wrong, used = [], set()
    for file in FILES:
        path = str(file.relative_to(ROOT))
        for use in _uses(ast.parse(file.read_text())):
            used.add(use.name)
            elsewhere: list[set[str]] = [set()] if use.is_call else ELSEWHERE.get(path, [])
            statement = queries.STATEMENTS.get(use.name)
            names = set(statement.names) if statement else None
            if names not in [use.passed | more for more in elsewhere]:
                wrong.append(f"{path}:{use.line}: {use.name} takes {names}, not {use.passed}")
    assert wrong == []
    assert queries.STATEMENTS.keys() == used, "statements that nothing uses"


class Use(NamedTuple):
    """A use of a statement with the names that it is called with, or that are handed on with it."""

    line: int
    name: str
    passed: set[str]
    is_call: bool


def _uses(tree: ast.Module) -> Iterator[Use]:
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    named = {node: {str(each.arg) for each in node.keywords} for node in calls}
    called = {node.func: named[node] for node in calls}
    handed_on = {node.args[0]: named[node] for node in calls if node.args}
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id="queries"), attr=name) if name.islower():
                passed = called.get(node, handed_on.get(node, set()))
                yield Use(node.lineno, name, passed, node in called)
