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
