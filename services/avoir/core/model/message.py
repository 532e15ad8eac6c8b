"""A message with its envelope, as it is decided on."""

from datetime import datetime

from msgspec import Struct

from avoir.core.model.commands import Command
from avoir.core.model.facts import Fact
from avoir.core.model.rules import TODAY


class Message(Struct, frozen=True):
    """A fact or a command; `contents` is the SHA-256 of its canonical form, `topic` the default name.

    `rules` are those by which it is judged: today's, except where a history is decided again.
    """

    tenant_id: str
    topic: str
    event_id: str
    occurred_at: datetime
    contents: bytes
    body: Fact | Command
    rules: int = TODAY
