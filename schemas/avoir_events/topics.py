"""Topics by default name, with the model of the message on each."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from avoir_events import commands, events, policy
from avoir_events.facts import FACTS
from avoir_events.parts import Incoming, Part

__all__ = ["COMMANDS", "EVENTS", "FACTS"]

COMMANDS: Final[Mapping[str, type[Incoming]]] = MappingProxyType(
    {
        "grant-credit": commands.GrantCredit,
        "apply-credit": commands.ApplyCredit,
        "reinstate-credit": commands.ReinstateCredit,
        "void-credit": commands.VoidCredit,
        "refund-credit": commands.RefundCredit,
        "draw-credit": commands.DrawCredit,
        "set-credit-policy": policy.SetCreditPolicy,
    }
)
"""Commands by default topic name; they can be refused."""

EVENTS: Final[Mapping[str, type[Part]]] = MappingProxyType(
    {
        "credit-issued": events.CreditIssued,
        "credit-applied": events.CreditApplied,
        "credit-declined": events.CreditDeclined,
        "credit-reserved": events.CreditReserved,
        "credit-reinstated": events.CreditReinstated,
        "credit-voided": events.CreditVoided,
        "credit-refunded": events.CreditRefunded,
        "credit-expired": events.CreditExpired,
        "credit-drawn": events.CreditDrawn,
        "credit-refill-requested": events.CreditRefillRequested,
        "credit-note-issued": events.CreditNoteIssued,
        "credit-shortfall": events.CreditShortfall,
        "credit-balance": events.CreditBalance,
        "credit-dead-letter": events.CreditDeadLetter,
    }
)
"""Events by default topic name. `credit-dead-letter` has no body of its own: its model describes the headers added."""
