"""The settings of a business that decide how its credit comes and goes."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Policy:
    """The policy values in force; `expires_after_days` is for credit from bookings, plans and overpayment."""

    auto_apply: bool = True
    unpaid_change: Literal["wait", "never"] = "wait"
    expires_after_days: int | None = None
    proration: Literal["time", "days"] = "time"
    time_zone: str = "UTC"
