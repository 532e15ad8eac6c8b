"""A difference that verify can find: the place, the expected value and the actual one."""

from collections.abc import Callable
from dataclasses import dataclass

Progress = Callable[[str, int], None]
"""Callback: gets the name of a check and the number of further rows read."""


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
