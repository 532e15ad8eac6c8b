"""A message with its envelope, as it is decided on."""

from datetime import datetime

from msgspec import Struct

from avoir.core.model.commands import Command
from avoir.core.model.facts import Fact


class Message(Struct, frozen=True):
    """A fact or a command; `contents` is the SHA-256 of its canonical form, `topic` the default name."""

    tenant_id: str
    topic: str
    event_id: str
    occurred_at: datetime
    contents: bytes
    body: Fact | Command
