"""The topics by their default names, as `avoir_events` lists them: the one place that everybody takes them from."""

import avoir_events as wire

FACTS = tuple(wire.FACTS)
COMMANDS = tuple(wire.COMMANDS)
SUBSCRIBED = (*FACTS, *COMMANDS)
EVENTS = tuple(wire.EVENTS)

BALANCE = "credit-balance"
DEAD_LETTER = "credit-dead-letter"
DECIDED_EVENTS = frozenset(EVENTS) - {BALANCE, DEAD_LETTER}
"""What decisions give: all events but the accounts' latest standing, and messages that were not handled."""
