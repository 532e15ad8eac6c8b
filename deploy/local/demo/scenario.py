"""A scenario of the demo: messages in plain words and as JSON, in steps, with what Avoir must make of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]

CURRENCY = "EUR"


@dataclass(frozen=True, slots=True)
class Message:
    """One message, in plain words and as JSON, with what Avoir must decide and publish.

    `out` holds (topic, amount) of each event but the balances; the amount is None where the event has none.
    """

    words: str
    topic: str
    value: Json
    outcome: str
    reason: str
    out: Sequence[tuple[str, str | None]] = ()

    @property
    def event_id(self) -> str:
        """The id of the message."""
        return str(self.value["event_id"])


@dataclass(frozen=True, slots=True)
class Step:
    """A few messages that make one point; `balances` is what each owner has available afterwards.

    `by_time` is what comes out after the messages because time passes, as (topic, amount).
    """

    title: str
    point: str
    messages: Sequence[Message]
    balances: Mapping[str, str] = field(default_factory=dict)
    by_time: Sequence[tuple[str, str | None]] = ()
