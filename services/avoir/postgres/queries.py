"""The statements of `sql/*.sql` by name: `queries.lock_offsets` is the text under `-- name: lock_offsets`."""

import re
from importlib.resources import files

_BLOCK = re.compile(r"^-- name: (\w+)\n((?:--.*\n)*)", re.MULTILINE)


def _load() -> tuple[dict[str, str], dict[str, str]]:
    statements: dict[str, str] = {}
    descriptions: dict[str, str] = {}
    for file in sorted(files("avoir.postgres").joinpath("sql").iterdir(), key=lambda f: f.name):
        _, *parts = _BLOCK.split(file.read_text(encoding="utf-8")) if file.name.endswith(".sql") else [""]
        for name, comment, statement in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
            if name in statements:
                raise ValueError(f"two statements are named {name}, one of them in {file.name}")
            statements[name] = statement.strip().rstrip(";")
            descriptions[name] = " ".join(line.removeprefix("--").strip() for line in comment.splitlines())
    return statements, descriptions


STATEMENTS, DESCRIPTIONS = _load()


def __getattr__(name: str) -> str:
    """The statement of that name."""
    try:
        return STATEMENTS[name]
    except KeyError:
        raise AttributeError(f"no file of sql/ has a statement named {name}") from None
