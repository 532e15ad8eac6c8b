"""The settings of a business that decide how its credit comes and goes."""

from typing import Literal

from msgspec import Struct


class Policy(Struct, frozen=True):
    """The policy values in force; `expires_after_days` is for credit from bookings, plans and overpayment."""

    auto_apply: bool = True
    unpaid_change: Literal["wait", "never"] = "wait"
    expires_after_days: int | None = None
    proration: Literal["time", "days"] = "time"
    time_zone: str = "UTC"
