"""That each promise of the help pages is shown by a case or a test that exists, and each case is named there."""

import ast
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/help-pages.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| ([^|]+) \| ([^|]+) \| (`[^|]+`|-) \|$", PAGE, re.MULTILINE)
SHOWN_BY = sorted({name for _, _, shown in ROWS for name in re.findall(r"`([^`]+)`", shown)})
CASES = [
    case["name"]
    for page in ("optix", "nexudus", "invoiced")
    for case in json.loads((ROOT / f"tests/cases/{page}.json").read_text(encoding="utf-8"))
]


def test_every_row_is_read() -> None:
    lines = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith("| ---")]
    assert len(ROWS) == len([line for line in lines if not line.startswith("| place |")]) > 0


@pytest.mark.parametrize("name", SHOWN_BY)
def test_what_shows_it_exists(name: str) -> None:
    path, is_test, function = name.partition("::")
    if not is_test:
        assert name in CASES, "there is no such case"
        return
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    assert function in functions, "there is no such test"


@pytest.mark.parametrize("name", CASES)
def test_each_case_is_named(name: str) -> None:
    assert name in SHOWN_BY
