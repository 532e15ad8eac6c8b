"""The figures of the code, on a tree that is small enough to count by hand."""

from pathlib import Path

from tools.measure import measure

HANDLE = '''"""How a thing is handled."""

import avoir.core.rules
from avoir import tell
from avoir.core import facts, rules


class Handler:
    """Handles."""

    def handle(self) -> int:
        """Handle it."""
        return self._once() + self._twice() + self._twice()  # not a line of its own

    def _once(self) -> int:
        # Nobody else asks.
        return 1

    def _twice(self) -> int:
        def inner() -> int:
            return 2

        return inner()
'''
RULES = """from ..tell import tell


def undocumented() -> None:
    return tell(_alone)


def _alone() -> None: ...
"""


def test_the_figures_of_a_small_tree(tmp_path: Path) -> None:
    for name, text in {
        "services/avoir/__init__.py": '"""Whatever."""\n',
        "services/avoir/handle.py": HANDLE,
        "services/avoir/tell.py": "x = 1\n" * 301,
        "services/avoir/core/rules.py": RULES,
        "schemas/avoir_events/events.py": "def long() -> None:\n" + "    x = 1\n" * 70,
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert measure(tmp_path) == {
        "files": 5,
        "lines": 1 + 23 + 301 + 8 + 71,
        "functions": 7,
        "median function, lines": 3,
        "longest function": "schemas/avoir_events/events.py:1 long, 71 lines",
        "public functions": 3,
        "of them with a docstring, share": 0.3333,
        "comment lines, share": round(1 / 404, 4),
        "private functions": 3,
        "of them used exactly once": 2,
        "of them used exactly once, share": 0.6667,
        "docstrings": 4,
        "of them that begin with What, How, ...": 1,
        "of them that begin with What, How, ..., share": 0.25,
        "rooms": 3,
        "arrows between rooms": 3,
        "imports between rooms": 4,
        "files over 300 lines": ["services/avoir/tell.py, 301 lines"],
        "functions over 70 lines": ["schemas/avoir_events/events.py:1 long, 71 lines"],
        "largest files": [
            "services/avoir/tell.py, 301 lines",
            "schemas/avoir_events/events.py, 71 lines",
            "services/avoir/handle.py, 23 lines",
            "services/avoir/core/rules.py, 8 lines",
            "services/avoir/__init__.py, 1 lines",
        ],
    }
