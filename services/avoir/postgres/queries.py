"""The statements of `sql/*.sql` by name, called with their parameters: `queries.lock_accounts(accounts=keys)`."""

import re
from collections.abc import Mapping, Set
from dataclasses import dataclass
from importlib.resources import files
from operator import attrgetter
from typing import Any

_BLOCK = re.compile(r"^-- name: (\w+)\n((?:--.*\n)*)", re.MULTILINE)
# Comments, literals and casts come first in the pattern, so that a colon inside them starts no parameter.
_PARAMETER = re.compile(r"--.*|'[^']*'|\"[^\"]*\"|::|:([a-z]\w*(?:\.[a-z]\w*)?)")


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement with its parameters, in the order of their numbers in `text`.

    `:limit` is a value; `:account.currency` is that field of a named tuple, or of many, as an array.
    """

    name: str
    description: str
    text: str
    parameters: tuple[str, ...]

    @classmethod
    def of(cls, name: str, description: str, sql: str) -> "Statement":
        """A statement from SQL with named parameters."""
        numbers: dict[str, int] = {}

        def numbered(match: re.Match[str]) -> str:
            parameter = match[1]
            return f"${numbers.setdefault(parameter, len(numbers) + 1)}" if parameter else match[0]

        return cls(name, description, _PARAMETER.sub(numbered, sql), tuple(numbers))

    @property
    def names(self) -> frozenset[str]:
        """The names of its arguments."""
        return frozenset(parameter.partition(".")[0] for parameter in self.parameters)

    def __call__(self, /, **values: Any) -> tuple[Any, ...]:
        """The text and the arguments for asyncpg; a set of keys is sorted. TypeError for other names."""
        if values.keys() != self.names:
            raise TypeError(f"{self.name} takes {sorted(self.names)}, not {sorted(values)}")
        keys: dict[str, Any] = {}
        arguments = []
        for parameter in self.parameters:
            name, _, field = parameter.partition(".")
            if field:
                if name not in keys:
                    keys[name] = _ordered(values[name])
                arguments.append(_column(keys[name], field))
            else:
                arguments.append(values[name])
        return (self.text, *arguments)


def _ordered(keys: Any) -> Any:
    # Sorted once per call, so that the arrays of all fields have the same order, and locks are taken in it.
    return sorted(keys) if isinstance(keys, Set | Mapping) else keys


def _column(keys: Any, field: str) -> Any:
    value_of = attrgetter(field)
    return value_of(keys) if hasattr(keys, "_fields") else list(map(value_of, keys))


def _load() -> dict[str, Statement]:
    statements: dict[str, Statement] = {}
    for file in sorted(files("avoir.postgres").joinpath("sql").iterdir(), key=lambda f: f.name):
        _, *parts = _BLOCK.split(file.read_text(encoding="utf-8")) if file.name.endswith(".sql") else [""]
        for name, comment, sql in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
            if name in statements:
                raise ValueError(f"two statements are named {name}, one of them in {file.name}")
            description = " ".join(line.removeprefix("--").strip() for line in comment.splitlines())
            statements[name] = Statement.of(name, description, sql.strip().rstrip(";"))
    return statements


STATEMENTS = _load()


def __getattr__(name: str) -> Statement:
    """The statement with that name; AttributeError if there is none."""
    try:
        return STATEMENTS[name]
    except KeyError:
        raise AttributeError(f"no file of sql/ has a statement named {name}") from None
