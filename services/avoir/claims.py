"""What a batch takes before it decides: its positions, event ids, and the rows that stand for what messages name."""

from collections.abc import Collection, Iterable

from avoir.core.events import AccountKey
from avoir.core.rows import InboxKey
from avoir.core.state import State
from avoir.postgres import queries, rows
from avoir.postgres.named import Named, columns
from avoir.postgres.session import Session
from avoir.record import Fenced, Positions, TopicPartition


async def fence(session: Session, group_id: str, positions: Positions) -> None:
    """Lock the positions of partitions, which must be these. Raises Fenced."""
    found = await session.fetch(queries.lock_offsets, group_id, *_places(positions))
    stand = {TopicPartition(row["topic"], row["partition"]): row["next_offset"] for row in found}
    moved = sum(stand.get(place) != position for place, position in positions.items())
    if moved:
        raise Fenced(f"{moved} of {len(positions)} partitions moved on")


async def advance(session: Session, group_id: str, positions: Positions, following: Positions) -> None:
    """Move locked positions on to the following ones."""
    places = sorted(following)
    to, at = [following[place] for place in places], [positions[place] for place in places]
    await session.fetch(queries.advance_offsets, group_id, *_places(following), to, at)


def _places(places: Iterable[TopicPartition]) -> tuple[list[str], list[int]]:
    return [place.topic for place in sorted(places)], [place.partition for place in sorted(places)]


async def claim(session: Session, named: Named) -> dict[InboxKey, bytes]:
    """Claim the event ids of messages; returns the contents of those that were claimed before."""
    keys = sorted(named.inbox)
    if not keys:
        return {}
    asked = columns(keys, 3)
    claimed = await session.fetch(queries.claim_inbox, *asked, [named.inbox[key] for key in keys])
    known = set(keys) - {InboxKey(*row) for row in claimed}
    held = await session.fetch_if(queries.read_inbox, *columns(known, 3))
    return {InboxKey(row["tenant_id"], row["topic"], row["event_id"]): row["contents"] for row in held}


async def settle_claims(session: Session, named: Named, seen: dict[InboxKey, bytes], state: State) -> None:
    """Give claims back whose messages were all dead-lettered; correct those that a later message took."""
    claimed = {key: contents for key, contents in named.inbox.items() if key not in seen}
    unused = [key for key in claimed if state.inbox.get(key) is None]
    other = sorted(key for key, contents in claimed.items() if state.inbox.get(key) not in (None, contents))
    await session.execute_if(queries.release_inbox, *columns(unused, 3))
    await session.execute_if(queries.reclaim_inbox, *columns(other, 3), [state.inbox[key] for key in other])


async def lock(session: Session, named: Named) -> list[AccountKey]:
    """Lock what the messages name, each kind in one order; returns the accounts that this leads to, in theirs."""
    await _lock_subjects(session, named.locked_first)
    await add_billed(session, named)
    await _lock_subjects(session, named.subjects)
    concerned = await accounts_concerned(session, named)
    await session.execute_if(queries.add_accounts, *columns(named.accounts, 4))
    return sorted(named.accounts | concerned)


async def add_billed(session: Session, named: Named) -> None:
    """Note the bookings and plans that voided invoices bill."""
    named.add_subjects(await session.fetch_if(queries.read_subjects_of_invoices, *columns(named.voided, 2)))


async def accounts_concerned(session: Session, named: Named) -> set[AccountKey]:
    """The accounts that the things named lead to, besides those named.

    Bookings and plans do so where they are changed, now or before: else nothing follows for their other lines.
    """
    billed = columns(named.subjects - named.changing, 3)
    named.add_changing(await session.fetch_if(queries.read_changed, *billed))
    found = await session.fetch_if(
        queries.read_accounts_concerned,
        *columns(named.changing, 3),
        *columns(named.voided, 2),
        *columns(((key.tenant_id, key.id) for key in named.reversed), 2),
        *columns(named.applications, 2),
        *columns({*named.finalized, *named.voided}, 2),
        *columns(named.grants, 2),
    )
    return {rows.account_key(row) for row in found}


async def _lock_subjects(session: Session, keys: Collection[tuple[str, str, str]]) -> None:
    added = await session.fetch_if(queries.add_subjects, *columns(keys, 3))
    known = set(keys).difference(map(tuple, added))
    await session.fetch_if(queries.lock_subjects, *columns(known, 3))
