"""Limits the rows that one transaction loads: a small message may name a booking that thousands of lines bill."""

from collections.abc import Sequence

from avoir.batch.claims import add_billed
from avoir.core.handlers.invoices import MOST_LINES
from avoir.core.model.message import Message
from avoir.core.model.rows import SubjectKey
from avoir.core.state.references import References
from avoir.postgres import queries
from avoir.postgres.session import Session

MAX_LINES_LOADED = 2 * MOST_LINES
"""Maximum lines of changed bookings and plans that one transaction loads, about 1 kB each; a single message may need
more."""

MAX_LINES_ALONE = 20 * MOST_LINES
"""Maximum lines that a single message may need."""

_FEW = 100


class TooMuchToLoadError(ValueError):
    """A single message needs more rows than a process has memory for."""


async def portion(session: Session, messages: Sequence[Message]) -> int:
    """Number of messages, at least one, whose rows one transaction can load. Raises TooMuchToLoadError."""
    references = References()
    for message in messages:
        references.add(message)
    await add_billed(session, references)
    if len(references.subjects) * MOST_LINES <= MAX_LINES_LOADED:
        return len(messages)
    lines = await _count(session, references, _FEW + 1)
    # Counting more than a few to the end would take as long as loading them.
    if sum(count if count <= _FEW else MOST_LINES for count in lines.values()) <= MAX_LINES_LOADED:
        return len(messages)
    return await _first_ones(session, messages)


async def _first_ones(session: Session, messages: Sequence[Message]) -> int:
    loaded, seen = 0, set[SubjectKey]()
    for n, message in enumerate(messages):
        references = References()
        references.add(message)
        await add_billed(session, references)
        references.subjects -= seen
        seen |= references.subjects
        loaded += sum((await _count(session, references, MOST_LINES)).values())
        if n and loaded > MAX_LINES_LOADED:
            return n
        if loaded > MAX_LINES_ALONE:
            raise TooMuchToLoadError(
                f"more than {MAX_LINES_ALONE} lines of changed bookings and plans are concerned"
            )
    return len(messages)


async def _count(session: Session, references: References, most: int) -> dict[SubjectKey, int]:
    if not references.subjects:
        return {}
    counted = await session.fetch(
        *queries.count_changed_lines(subjects=references.subjects, changing=references.changing, limit=most)
    )
    return {SubjectKey(row["tenant_id"], row["kind"], row["id"]): row["lines"] for row in counted}
