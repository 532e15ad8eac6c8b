"""Avoir's contract with the services around it: every message that it reads or publishes, as a model."""

from avoir_events import commands, event_parts, events, facts, invoices, parts, policy
from avoir_events.commands import *  # noqa: F403
from avoir_events.event_parts import *  # noqa: F403
from avoir_events.events import *  # noqa: F403
from avoir_events.facts import *  # noqa: F403
from avoir_events.invoices import *  # noqa: F403
from avoir_events.parts import *  # noqa: F403
from avoir_events.policy import *  # noqa: F403
from avoir_events.problems import describe
from avoir_events.reading import read, read_json
from avoir_events.topics import COMMANDS, EVENTS

__all__ = ["COMMANDS", "EVENTS", "describe", "read", "read_json"]
__all__ += commands.__all__
__all__ += event_parts.__all__
__all__ += events.__all__
__all__ += facts.__all__
__all__ += invoices.__all__
__all__ += parts.__all__
__all__ += policy.__all__
