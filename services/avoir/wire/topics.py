"""Topics by default name, as `avoir_events` lists them: the service's only source of topic names."""

import avoir_events as wire

FACTS = tuple(wire.FACTS)
COMMANDS = tuple(wire.COMMANDS)
SUBSCRIBED = (*FACTS, *COMMANDS)
EVENTS = tuple(wire.EVENTS)

BALANCE = "credit-balance"
DEAD_LETTER = "credit-dead-letter"
DECIDED_EVENTS = frozenset(EVENTS) - {BALANCE, DEAD_LETTER}
"""Topics of events that come from decisions: all except balances and dead letters."""

IN_ORDER: tuple[tuple[str, ...], ...] = (
    ("set-credit-policy",),
    ("invoice-finalized",),
    ("payment-recorded",),
    ("invoice-voided", "payment-reversed", "credit-application-rejected"),
    ("booking-cancelled", "booking-shortened", "plan-cancelled"),
    ("grant-credit", "apply-credit", "reinstate-credit", "void-credit", "refund-credit", "draw-credit"),
)
"""Topics in the order in which messages of the same millisecond count: what others depend on comes first."""

RANKS = {topic: rank for rank, topics in enumerate(IN_ORDER) for topic in topics}
"""Place of each topic in that order."""
