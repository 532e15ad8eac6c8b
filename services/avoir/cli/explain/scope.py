"""Scope of an explanation: a subject with its invoices, lines, payments, grants and messages."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple, TypeVar
from uuid import UUID

import asyncpg

from avoir.cli.base.options import as_uuid
from avoir.cli.explain.view import RecordedDecision, Subject
from avoir.postgres import queries
from avoir.postgres.connect import Connection

LIMIT = 500

LineRef = tuple[str, str]
EventRef = tuple[str, str]
Value = TypeVar("Value")


class Scope(NamedTuple):
    """Rows in scope: decisions on `subjects` and `events`; all lines of the invoices if `line_refs` is None."""

    subjects: tuple[Subject, ...] = ()
    invoice_ids: tuple[str, ...] = ()
    line_refs: tuple[LineRef, ...] | None = ()
    payment_ids: tuple[str, ...] = ()
    grant_ids: tuple[UUID, ...] = ()
    application_ids: tuple[UUID, ...] = ()
    events: tuple[EventRef, ...] = ()


class TenantReader:
    """Runs statements for one tenant, in a snapshot at `now`."""

    def __init__(self, connection: Connection, tenant_id: str, now: datetime) -> None:
        self._connection = connection
        self.tenant_id = tenant_id
        self.now = now

    async def fetch(self, statement: queries.Statement, **values: object) -> list[asyncpg.Record]:
        """Fetch the rows of a statement for the tenant."""
        return await self._connection.fetch(*statement(tenant_id=self.tenant_id, **values))


async def scope_of(reader: TenantReader, subject: Subject, limit: int = LIMIT) -> Scope:
    """Scope of a subject; `limit` is the number of an owner's last facts and messages."""
    match subject.kind:
        case "booking" | "plan":
            rows = await reader.fetch(queries.explain_lines_of_subject, subject=subject, limit=LIMIT)
            refs = tuple((row["invoice_id"], row["line_id"]) for row in rows)
            return Scope((subject,), distinct(invoice for invoice, _ in refs), refs)
        case "invoice":
            used = await reader.fetch(
                queries.explain_applications, invoice_ids=[subject.id], application_ids=[], limit=LIMIT
            )
            uses = tuple(Subject("application", str(row["application_id"])) for row in used)
            return Scope((subject, *uses), (subject.id,), None)
        case "payment":
            settled = await reader.fetch(
                queries.explain_settlements, kinds=["payment"], payment_ids=[subject.id], limit=LIMIT
            )
            return Scope((subject,), distinct(row["invoice_id"] for row in settled), None, (subject.id,))
        case "application":
            return await _of_application(reader, subject)
        case "grant":
            return await _of_grant(reader, subject)
        case "owner":
            return await _of_owner(reader, subject, limit)
        case _:
            return Scope((subject,))


async def scope_of_event(reader: TenantReader, decision: RecordedDecision) -> Scope:
    """Scope of one message; for a message about an owner's credit, only the grants that it moved or made."""
    if decision.topic == "set-credit-policy":
        return await _of_policy(reader, decision)
    if decision.subject.kind != "owner":
        return await scope_of(reader, decision.subject)
    owner_type, _, owner_id = decision.subject.id.partition("/")
    event = (decision.topic, decision.event_id)
    rows = await reader.fetch(
        queries.explain_moved,
        owner_type=owner_type,
        owner_id=owner_id,
        topic=decision.topic,
        event_id=decision.event_id,
    )
    moved = [row["grant_id"] for row in rows]
    made = as_uuid(str(decision.facts.get("grant_id"))) if decision.topic == "grant-credit" else None
    grant_ids = distinct([made, *moved] if made else moved)
    about = tuple(Subject("grant", str(each)) for each in grant_ids) if made else ()
    return Scope(about, grant_ids=grant_ids, events=(event,))


async def _of_policy(reader: TenantReader, decision: RecordedDecision) -> Scope:
    """Other messages that set a policy for the same tenant, owner or invoice."""
    scope, scope_id = decision.facts.get("scope"), decision.facts.get("of")
    settings = await reader.fetch(queries.explain_policies_of_scope, scope=scope, scope_id=scope_id)
    return Scope(events=tuple((row["topic"], row["event_id"]) for row in settings))


async def _of_application(reader: TenantReader, subject: Subject) -> Scope:
    application_id = as_uuid(subject.id)
    if application_id is None:
        return Scope((subject,))
    used = await reader.fetch(
        queries.explain_applications, invoice_ids=[], application_ids=[application_id], limit=LIMIT
    )
    reservations = await reader.fetch(
        queries.explain_reservations,
        application_ids=[application_id],
        grant_ids=[],
        invoice_ids=[],
        limit=LIMIT,
    )
    invoices = [*(row["invoice_id"] for row in used), *(row["invoice_id"] for row in reservations)]
    grants = [each for row in used for each in row["grant_ids"]] + [row["grant_id"] for row in reservations]
    return Scope(
        (subject,),
        distinct(each for each in invoices if each is not None),
        grant_ids=distinct(grants),
        application_ids=(application_id,),
        events=distinct((row["topic"], row["event_id"]) for row in (*reservations, *used)),
    )


async def _of_grant(reader: TenantReader, subject: Subject) -> Scope:
    grant_id = as_uuid(subject.id)
    rows = await reader.fetch(queries.explain_grants_by_id, grant_ids=[grant_id]) if grant_id else []
    if grant_id is None or not rows:
        return Scope((subject,))
    kind, id_, line_id = (rows[0][f"entitlement_{part}"] for part in ("kind", "id", "line_id"))
    cause = ((rows[0]["topic"], rows[0]["event_id"]),) if rows[0]["topic"] else ()
    scope = Scope((subject,), grant_ids=(grant_id,), events=cause)
    match kind:
        case "payment":
            return scope._replace(payment_ids=(id_,))
        case "line":
            return scope._replace(invoice_ids=(id_,), line_refs=((id_, line_id),))
        case None:
            return scope
        case _:
            return scope._replace(invoice_ids=(id_,))


async def _of_owner(reader: TenantReader, subject: Subject, limit: int) -> Scope:
    owner_type, _, owner_id = subject.id.partition("/")
    facts = await reader.fetch(
        queries.explain_owner_subjects, owner_type=owner_type, owner_id=owner_id, limit=limit
    )
    events = await reader.fetch(
        queries.explain_owner_events, owner_type=owner_type, owner_id=owner_id, limit=limit
    )
    settings = await reader.fetch(queries.explain_policies_of_scope, scope="owner", scope_id=subject.id)
    still_open = await reader.fetch(queries.explain_open, owner_type=owner_type, owner_id=owner_id)
    return Scope(
        (subject, *(Subject(row["kind"], row["id"]) for row in facts)),
        tuple(row["id"] for row in still_open if row["kind"] == "invoice"),
        grant_ids=distinct(
            [
                *(UUID(row["id"]) for row in still_open if row["kind"] == "grant"),
                *(grant_id for row in events for grant_id in row["grant_ids"]),
            ]
        ),
        events=tuple((row["topic"], row["event_id"]) for row in (*events, *settings)),
    )


def distinct(values: Iterable[Value]) -> tuple[Value, ...]:
    """The values without repetitions, in order."""
    return tuple(dict.fromkeys(values))


def arrays_of(rows: Sequence[tuple[str, ...]], width: int) -> list[list[str]]:
    """Turn rows into one array per column, for statements that take arrays."""
    return [[row[column] for row in rows] for column in range(width)]
