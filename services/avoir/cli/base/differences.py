"""What proving the ledger can find: a place, what it should hold and what it holds."""

from collections.abc import Callable
from dataclasses import dataclass

Progress = Callable[[str, int], None]
"""Told the name of a check and how many rows more it has read."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference, of one value at one place."""

    tenant_id: str
    where: str
    what: str
    expected: str
    found: str

    def __str__(self) -> str:
        return f"tenant {self.tenant_id}, {self.where}: {self.what} is {self.found}, expected {self.expected}"
