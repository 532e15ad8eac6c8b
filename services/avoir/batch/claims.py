"""Locks and claims of a batch before it decides: positions, event ids, and the rows that messages name."""

from collections.abc import Collection

from avoir.batch.locked import SubjectRow
from avoir.core.model.events import AccountKey
from avoir.core.model.rows import InboxKey, SubjectKey
from avoir.core.state.references import References
from avoir.core.state.state import State
from avoir.postgres import queries, rows
from avoir.postgres.mapping import Row
from avoir.postgres.session import Session
from avoir.record import Fenced, Positions, TopicPartition


async def fence(session: Session, group_id: str, positions: Positions, *, stopped_too: bool = False) -> None:
    """Lock the positions of partitions and compare them with the expected ones.

    Raises Fenced. For deferred messages, a partition may be stopped by now: they come before the stop.
    """
    locked = await session.fetch(*queries.lock_offsets(group_id=group_id, partitions=positions))
    current = {
        TopicPartition(row["topic"], row["partition"]): row["next_offset"]
        for row in locked
        if stopped_too or row["stopped"] is None
    }
    moved = sum(current.get(partition) != position for partition, position in positions.items())
    if moved:
        raise Fenced(f"{moved} of {len(positions)} partitions moved on")


async def advance(session: Session, group_id: str, positions: Positions, following: Positions) -> None:
    """Move locked positions to the following ones."""
    partitions = sorted(following)
    to, at = (
        [following[partition] for partition in partitions],
        [positions[partition] for partition in partitions],
    )
    await session.fetch(
        *queries.advance_offsets(group_id=group_id, partitions=following, next_offsets=to, expected=at)
    )


async def claim(session: Session, references: References) -> dict[InboxKey, bytes]:
    """Claim the event ids of messages; returns the contents of those claimed before."""
    keys = sorted(references.inbox)
    if not keys:
        return {}
    claimed = await session.fetch(
        *queries.claim_inbox(keys=keys, contents=[references.inbox[key] for key in keys])
    )
    known = set(keys) - {InboxKey(*row) for row in claimed}
    held = await session.fetch_if(*queries.read_inbox(keys=known))
    return {InboxKey(row["tenant_id"], row["topic"], row["event_id"]): row["contents"] for row in held}


async def settle_claims(
    session: Session, references: References, seen: dict[InboxKey, bytes], state: State
) -> None:
    """Release claims whose messages were all dead-lettered; correct those that a later message took."""
    claimed = {key: contents for key, contents in references.inbox.items() if key not in seen}
    unused = [key for key in claimed if state.inbox.get(key) is None]
    other = sorted(key for key, contents in claimed.items() if state.inbox.get(key) not in (None, contents))
    await session.execute_if(*queries.release_inbox(keys=sorted(unused)))
    await session.execute_if(*queries.reclaim_inbox(keys=other, contents=[state.inbox[key] for key in other]))


async def lock(session: Session, references: References) -> list[AccountKey]:
    """Lock what the messages name, each kind in sorted order; returns the accounts they lead to, sorted."""
    # Invoices come first: what a voided one bills is complete only when it is read under the invoice's lock.
    await _lock_subjects(session, references.locked_first)
    await add_billed(session, references)
    await _lock_subjects(session, references.subjects)
    concerned = await accounts_concerned(session, references)
    await session.execute_if(*queries.add_accounts(accounts=references.accounts))
    return sorted(references.accounts | concerned)


async def add_billed(session: Session, references: References) -> None:
    """Register the bookings and plans that voided invoices bill."""
    billed = await session.fetch_if(*queries.read_subjects_of_invoices(invoices=references.voided))
    references.subjects |= {_subject(row) for row in billed}


async def accounts_concerned(session: Session, references: References) -> set[AccountKey]:
    """Accounts that the named things lead to, besides the named ones.

    A booking or plan leads to its accounts only if it is changed, now or before: otherwise nothing follows for its
    other lines.
    """
    billed = references.subjects - references.changing
    changed = await session.fetch_if(*queries.read_changed(subjects=billed))
    references.changing |= {_subject(row) for row in changed}
    account_rows = await session.fetch_if(
        *queries.read_accounts_concerned(
            subjects=references.changing,
            invoices=references.voided,
            payments=references.reversed,
            applications=references.applications,
            reserved_for={*references.finalized, *references.voided},
            grants=references.grants,
        ),
    )
    return {rows.account_key(row) for row in account_rows}


async def _lock_subjects(session: Session, subjects: Collection[tuple[str, str, str]]) -> None:
    keys = {SubjectRow(*subject) for subject in subjects}
    added = await session.fetch_if(*queries.add_subjects(subjects=keys))
    # A new row is invisible to others until the COMMIT, so it needs no lock of its own.
    known = keys.difference(map(tuple, added))
    await session.fetch_if(*queries.lock_subjects(subjects=known))


def _subject(row: Row) -> SubjectKey:
    return SubjectKey(row["tenant_id"], row["kind"], row["id"])
