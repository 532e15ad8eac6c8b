"""Gathers what explains a decision: by event, booking, plan, invoice, grant or payment."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import asyncpg

from avoir.postgres import queries
from avoir.postgres.connect import Connection
from avoir.read.snapshot import snapshot
from avoir.read.story import (
    ApplicationStory,
    ChangeStory,
    DecisionMade,
    Explanation,
    GrantStory,
    InvoiceStory,
    LineStory,
    PaymentStory,
    Subject,
)
from avoir.read.story_rows import told_decision, told_grant, told_invoice, told_line, told_payment, told_step

LIMIT = 500

LineRef = tuple[str, str]


class Scope(NamedTuple):
    """What an explanation is about, once the subject's relations are followed."""

    subjects: tuple[Subject, ...] = ()
    invoice_ids: tuple[str, ...] = ()
    line_refs: tuple[LineRef, ...] | None = ()
    payment_ids: tuple[str, ...] = ()
    grant_ids: tuple[UUID, ...] = ()


async def explain(connection: Connection, tenant_id: str, subject: Subject) -> Explanation:
    """What was decided about a subject and what became of it; at most `LIMIT` of each part."""
    async with snapshot(connection) as now:
        reader = _Reader(connection, tenant_id, now)
        if subject.kind == "event":
            decisions = await reader.decisions_of_event(subject.id)
            about = decisions[0].subject if decisions else None
            scope = await reader.scope(about) if about else Scope()
            later = after(decisions, await reader.decisions(scope))
        else:
            about, later = subject, ()
            scope = await reader.scope(subject)
            decisions = await reader.decisions(scope)
        return await reader.explanation(subject, about, decisions, later, scope)


def after(decisions: Sequence[DecisionMade], others: Sequence[DecisionMade]) -> tuple[DecisionMade, ...]:
    """Those of the others that were recorded after the first of the decisions, without the decisions."""
    first = decisions[0].recorded_at if decisions else None
    return tuple(each for each in others if first and each.recorded_at >= first and each not in decisions)


class _Reader:
    """Reads one tenant's stories within a snapshot."""

    def __init__(self, connection: Connection, tenant_id: str, now: datetime) -> None:
        self._connection = connection
        self._tenant_id = tenant_id
        self._now = now

    async def _fetch(self, statement: str, *arguments: object) -> list[asyncpg.Record]:
        return await self._connection.fetch(statement, self._tenant_id, *arguments)

    async def scope(self, subject: Subject) -> Scope:
        """The invoices, lines and payments to tell of with a subject."""
        match subject.kind:
            case "booking" | "plan":
                rows = await self._fetch(queries.explain_lines_of_subject, subject.kind, subject.id, LIMIT)
                refs = tuple((row["invoice_id"], row["line_id"]) for row in rows)
                return Scope((subject,), _distinct(invoice for invoice, _ in refs), refs)
            case "invoice":
                used = await self._fetch(queries.explain_applications, [subject.id], LIMIT)
                uses = tuple(Subject("application", str(row["application_id"])) for row in used)
                return Scope((subject, *uses), (subject.id,), None)
            case "payment":
                settled = await self._fetch(queries.explain_settlements, ["payment"], [subject.id], LIMIT)
                return Scope((subject,), _distinct(row["invoice_id"] for row in settled), None, (subject.id,))
            case "application":
                return await self._scope_of_application(subject)
            case "grant":
                return await self._scope_of_grant(subject)
            case _:
                return Scope((subject,))

    async def _scope_of_application(self, subject: Subject) -> Scope:
        application_id = as_uuid(subject.id)
        rows = await self._fetch(queries.explain_application, application_id) if application_id else []
        return Scope((subject,), tuple(row["invoice_id"] for row in rows), None)

    async def _scope_of_grant(self, subject: Subject) -> Scope:
        grant_id = as_uuid(subject.id)
        rows = await self._fetch(queries.explain_grant, grant_id) if grant_id else []
        if grant_id is None or not rows:
            return Scope((subject,))
        kind, id_, line_id = (rows[0][f"entitlement_{part}"] for part in ("kind", "id", "line_id"))
        if kind == "payment":
            return Scope((subject,), (), (), (id_,), (grant_id,))
        if kind is None:
            return Scope((subject,), grant_ids=(grant_id,))
        return Scope((subject,), (id_,), ((id_, line_id),) if kind == "line" else (), (), (grant_id,))

    async def decisions_of_event(self, event_id: str) -> tuple[DecisionMade, ...]:
        return tuple(told_decision(row) for row in await self._fetch(queries.explain_event, event_id, LIMIT))

    async def decisions(self, scope: Scope) -> tuple[DecisionMade, ...]:
        """The last decisions about the subjects of a scope, oldest first."""
        kinds, ids = _columns(scope.subjects, 2)
        rows = await self._fetch(queries.explain_subjects, kinds, ids, LIMIT)
        return tuple(told_decision(row) for row in reversed(rows))

    async def explanation(
        self,
        subject: Subject,
        about: Subject | None,
        decisions: tuple[DecisionMade, ...],
        later: tuple[DecisionMade, ...],
        scope: Scope,
    ) -> Explanation:
        """Everything about a scope, once its decisions are known."""
        grants = await self._grants(scope)
        if scope.grant_ids and not decisions:
            causes = [await self.decisions_of_event(grant.event_id) for grant in grants]
            decisions = tuple(
                decision
                for grant, made in zip(grants, causes, strict=True)
                for decision in made
                if decision.topic == grant.topic
            )
        return Explanation(
            self._tenant_id,
            subject,
            self._now,
            decisions,
            later,
            await self._invoices(scope),
            await self._lines(scope),
            await self._changes(about),
            grants,
            await self._payments(scope),
            await self._applications(scope, about),
        )

    async def _invoices(self, scope: Scope) -> tuple[InvoiceStory, ...]:
        rows = await self._fetch(queries.explain_invoices, scope.invoice_ids) if scope.invoice_ids else []
        return tuple(told_invoice(row) for row in rows)

    async def _lines(self, scope: Scope) -> tuple[LineStory, ...]:
        if scope.line_refs == () or not scope.invoice_ids:
            return ()
        if scope.line_refs is None:
            rows = await self._fetch(queries.explain_lines, scope.invoice_ids, None, LIMIT)
        else:
            rows = await self._fetch(queries.explain_lines, *_columns(scope.line_refs, 2), LIMIT)
        return tuple(told_line(row) for row in rows)

    async def _changes(self, about: Subject | None) -> tuple[ChangeStory, ...]:
        if about is None or about.kind not in ("booking", "plan"):
            return ()
        return tuple(ChangeStory(*row) for row in await self._fetch(queries.explain_changes, *about, LIMIT))

    async def _grants(self, scope: Scope) -> tuple[GrantStory, ...]:
        if scope.grant_ids:
            rows = await self._fetch(queries.explain_grant, scope.grant_ids[0])
        else:
            rows = await self._fetch(queries.explain_grants, *_columns(await self._entitled(scope), 3), LIMIT)
        grant_ids = [row["grant_id"] for row in rows]
        steps = [told_step(row) for row in await self._fetch(queries.explain_movements, grant_ids, LIMIT)]
        return tuple(told_grant(row, self._now, steps) for row in rows)

    async def _entitled(self, scope: Scope) -> list[tuple[str, str, str]]:
        entitled = [("payment", payment_id, "") for payment_id in scope.payment_ids]
        if scope.line_refs is None:
            kinds = ("amount_paid", "negative_total")
            entitled += [(kind, id_, "") for kind in kinds for id_ in scope.invoice_ids]
            entitled += [("line", line.invoice_id, line.line_id) for line in await self._lines(scope)]
        else:
            entitled += [("line", *ref) for ref in scope.line_refs]
        return entitled

    async def _payments(self, scope: Scope) -> tuple[PaymentStory, ...]:
        rows = await self._fetch(queries.explain_payments, scope.payment_ids, scope.invoice_ids, LIMIT)
        keys = _columns([(row["kind"], row["payment_id"]) for row in rows], 2)
        used = await self._fetch(queries.explain_settlements, *keys, LIMIT)
        return tuple(told_payment(row, used) for row in rows)

    async def _applications(self, scope: Scope, about: Subject | None) -> tuple[ApplicationStory, ...]:
        if about is None or about.kind not in ("invoice", "application"):
            return ()
        rows = await self._fetch(queries.explain_applications, scope.invoice_ids, LIMIT)
        return tuple(ApplicationStory(*row) for row in rows)


def as_uuid(text: str) -> UUID | None:
    """The id of a grant, or None for a text that cannot be one."""
    try:
        return UUID(text)
    except ValueError:
        return None


def _distinct(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(values))


def _columns(rows: Sequence[tuple[str, ...]], width: int) -> list[list[str]]:
    return [[row[column] for row in rows] for column in range(width)]
