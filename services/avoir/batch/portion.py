"""Limits the rows that one transaction loads: a small message may name a booking that thousands of lines bill."""

from collections.abc import Iterable, Mapping, Sequence

from avoir.batch.claims import add_billed
from avoir.core.handlers.invoices import MOST_LINES
from avoir.core.model.message import Message
from avoir.core.model.rows import SubjectKey
from avoir.core.state.references import References
from avoir.postgres import queries
from avoir.postgres.mapping import Row
from avoir.postgres.session import Session

MAX_LINES_LOADED = 2 * MOST_LINES
"""Maximum lines of changed bookings and plans that one transaction loads, about 1 kB each; a single message may need
more."""

MAX_LINES_ALONE = 20 * MOST_LINES
"""Maximum lines that a single message may need."""

_FEW = 100


class TooMuchToLoadError(ValueError):
    """A single message needs more rows than a process has memory for."""


async def portion(session: Session, references: References, messages: Sequence[Message]) -> int:
    """Number of messages, at least one, whose rows one transaction can load; `references` are those of all of them.

    Raises TooMuchToLoadError.
    """
    await add_billed(session, references)
    subjects = references.subjects
    if len(subjects) * MOST_LINES <= MAX_LINES_LOADED:
        return len(messages)
    lines = _counts(
        await session.fetch(
            *queries.count_changed_lines(subjects=subjects, changing=references.changing, limit=_FEW + 1)
        )
    )
    # Counting more than a few to the end would take as long as loading them.
    if sum(count if count <= _FEW else MOST_LINES for count in lines.values()) <= MAX_LINES_LOADED:
        return len(messages)
    return await _first_ones(session, messages, lines)


async def _first_ones(session: Session, messages: Sequence[Message], lines: Mapping[SubjectKey, int]) -> int:
    """The same to the line: only bookings and plans with more than a few lines are counted to their end.

    Each of those has so many that the limit is reached after a few statements.
    """
    loaded, seen = 0, set[SubjectKey]()
    for n, message in enumerate(messages):
        references = References.of([message])
        await add_billed(session, references)
        new = {subject: lines[subject] for subject in references.subjects - seen if subject in lines}
        seen |= new.keys()
        many = {subject for subject, count in new.items() if count > _FEW}
        if many:
            new |= _counts(
                await session.fetch(*queries.read_lines_elsewhere(subjects=many, limit=MOST_LINES))
            )
        loaded += sum(new.values())
        if n and loaded > MAX_LINES_LOADED:
            return n
        if loaded > MAX_LINES_ALONE:
            raise TooMuchToLoadError(
                f"more than {MAX_LINES_ALONE} lines of changed bookings and plans are concerned"
            )
    return len(messages)


def _counts(rows: Iterable[Row]) -> dict[SubjectKey, int]:
    return {SubjectKey(row["tenant_id"], row["kind"], row["id"]): row["lines"] for row in rows}
