"""Reads everything that explains a decision: by event, booking, plan, invoice, payment, grant, application or owner."""

from collections.abc import Sequence
from uuid import UUID

from avoir.cli.base.snapshot import snapshot
from avoir.cli.explain.rows import (
    GrantHistory,
    grant_entry,
    grant_state,
    line_state,
    payment_state,
    recorded_decision,
)
from avoir.cli.explain.scope import LIMIT, Scope, TenantReader, arrays_of, scope_of, scope_of_event
from avoir.cli.explain.view import (
    Explanation,
    GrantState,
    LineState,
    PaymentState,
    RecordedDecision,
    Subject,
)
from avoir.core.model.policy import PolicyVersion
from avoir.core.model.rows import Application, Change, Invoice, Reservation, Void
from avoir.core.worth.targets import change_order
from avoir.postgres import queries, rows
from avoir.postgres.connect import Connection


async def explain(
    connection: Connection, tenant_id: str, subject: Subject, limit: int = LIMIT
) -> Explanation:
    """Decisions about a subject and their results; at most `limit` decisions, and `LIMIT` of other parts."""
    async with snapshot(connection) as now:
        reader = _ExplanationReader(connection, tenant_id, now)
        if subject.kind == "event":
            decisions = await reader.decisions_of_event(subject.id)
            about = decisions[0].subject if decisions else None
            scope = await scope_of_event(reader, decisions[0]) if decisions else Scope()
            later = after(decisions, await reader.decisions(scope, limit))
        else:
            about, later = subject, ()
            scope = await scope_of(reader, subject, limit)
            decisions = await reader.decisions(scope, limit)
        return await reader.explanation(subject, about, decisions, later, scope)


def after(
    decisions: Sequence[RecordedDecision], others: Sequence[RecordedDecision]
) -> tuple[RecordedDecision, ...]:
    """The other decisions recorded after the first of these."""
    first = decisions[0].recorded_at if decisions else None
    return tuple(each for each in others if first and each.recorded_at >= first and each not in decisions)


class _ExplanationReader(TenantReader):
    """Reads explanations of one tenant within a snapshot."""

    async def decisions_of_event(self, event_id: str) -> tuple[RecordedDecision, ...]:
        return tuple(
            recorded_decision(row)
            for row in await self.fetch(queries.explain_event, event_id=event_id, limit=LIMIT)
        )

    async def decisions(self, scope: Scope, limit: int) -> tuple[RecordedDecision, ...]:
        """The last decisions on the subjects and messages of a scope, oldest first."""
        fetched = await self.fetch(queries.explain_subjects, subjects=scope.subjects, limit=limit)
        topics, event_ids = arrays_of(scope.events, 2)
        events = (
            await self.fetch(queries.explain_events, topics=topics, event_ids=event_ids)
            if scope.events
            else []
        )
        recorded = (recorded_decision(row) for row in (*reversed(fetched), *events))
        once = {(each.topic, each.partition, each.offset, each.recorded_at): each for each in recorded}
        return tuple(sorted(once.values(), key=lambda each: each.recorded_at)[-limit:])

    async def explanation(
        self,
        subject: Subject,
        about: Subject | None,
        decisions: tuple[RecordedDecision, ...],
        later: tuple[RecordedDecision, ...],
        scope: Scope,
    ) -> Explanation:
        """Everything about a scope, once its decisions are known."""
        invoices, voids = await self._invoices(scope)
        return Explanation(
            self.tenant_id,
            subject,
            self.now,
            decisions,
            later,
            invoices,
            voids,
            await self._lines(scope),
            await self._changes(about),
            await self._grants(scope),
            await self._payments(scope, about),
            await self._applications(scope, about),
            await self._reservations(scope),
            await self._policies((*decisions, *later)),
        )

    async def _invoices(self, scope: Scope) -> tuple[tuple[Invoice, ...], tuple[Void, ...]]:
        fetched = (
            await self.fetch(queries.explain_invoices, invoice_ids=scope.invoice_ids)
            if scope.invoice_ids
            else []
        )
        voids = tuple(rows.void(row["void"]) for row in fetched if row["void"] is not None)
        return tuple(rows.invoice(row["invoice"]) for row in fetched), voids

    async def _lines(self, scope: Scope) -> tuple[LineState, ...]:
        if scope.line_refs == () or not scope.invoice_ids:
            return ()
        if scope.line_refs is None:
            fetched = await self.fetch(
                queries.explain_lines, invoice_ids=scope.invoice_ids, line_ids=None, limit=LIMIT
            )
        else:
            invoice_ids, line_ids = arrays_of(scope.line_refs, 2)
            fetched = await self.fetch(
                queries.explain_lines, invoice_ids=invoice_ids, line_ids=line_ids, limit=LIMIT
            )
        return tuple(line_state(row) for row in fetched)

    async def _changes(self, about: Subject | None) -> tuple[Change, ...]:
        if about is None or about.kind not in ("booking", "plan"):
            return ()
        fetched = map(rows.change, await self.fetch(queries.explain_changes, subject=about))
        return tuple(sorted(fetched, key=change_order)[:LIMIT])

    async def _grants(self, scope: Scope) -> tuple[GrantState, ...]:
        if scope.grant_ids:
            fetched = await self.fetch(queries.explain_grants_by_id, grant_ids=scope.grant_ids)
        else:
            kinds, ids, line_ids = arrays_of(await self._entitled(scope), 3)
            fetched = await self.fetch(
                queries.explain_grants, kinds=kinds, ids=ids, line_ids=line_ids, limit=LIMIT
            )
        history = await self._grant_history([row["grant_id"] for row in fetched])
        return tuple(grant_state(row, self.now, history) for row in fetched)

    async def _grant_history(self, grant_ids: Sequence[UUID]) -> GrantHistory:
        entries = await self.fetch(queries.explain_movements, grant_ids=grant_ids, limit=LIMIT)
        held = await self.fetch(
            queries.explain_reservations, application_ids=[], grant_ids=grant_ids, invoice_ids=[], limit=LIMIT
        )
        return GrantHistory(
            [grant_entry(row) for row in entries],
            await self.fetch(queries.explain_uses, grant_ids=grant_ids),
            [rows.reservation(row) for row in held],
        )

    async def _entitled(self, scope: Scope) -> list[tuple[str, str, str]]:
        entitled = [("payment", payment_id, "") for payment_id in scope.payment_ids]
        if scope.line_refs is None:
            kinds = ("amount_paid", "negative_total")
            entitled += [(kind, id_, "") for kind in kinds for id_ in scope.invoice_ids]
            entitled += [
                ("line", each.line.invoice.invoice_id, each.line.line_id) for each in await self._lines(scope)
            ]
        else:
            entitled += [("line", *ref) for ref in scope.line_refs]
        return entitled

    async def _payments(self, scope: Scope, about: Subject | None) -> tuple[PaymentState, ...]:
        if about is None or about.kind in ("application", "owner"):
            return ()
        fetched = await self.fetch(
            queries.explain_payments,
            payment_ids=scope.payment_ids,
            invoice_ids=scope.invoice_ids,
            limit=LIMIT,
        )
        used = await self.fetch(
            queries.explain_settlements,
            kinds=[row["kind"] for row in fetched],
            payment_ids=[row["payment_id"] for row in fetched],
            limit=LIMIT,
        )
        return tuple(payment_state(row, used) for row in fetched)

    async def _applications(self, scope: Scope, about: Subject | None) -> tuple[Application, ...]:
        if about is None or about.kind not in ("invoice", "application"):
            return ()
        invoice_ids = scope.invoice_ids if about.kind == "invoice" else ()
        fetched = await self.fetch(
            queries.explain_applications,
            invoice_ids=invoice_ids,
            application_ids=scope.application_ids,
            limit=LIMIT,
        )
        return tuple(map(rows.application, fetched))

    async def _reservations(self, scope: Scope) -> tuple[Reservation, ...]:
        invoices = [each.id for each in scope.subjects[:1] if each.kind == "invoice"]
        fetched = await self.fetch(
            queries.explain_reservations,
            application_ids=scope.application_ids,
            grant_ids=[],
            invoice_ids=invoices,
            limit=LIMIT,
        )
        return tuple(map(rows.reservation, fetched))

    async def _policies(self, decisions: Sequence[RecordedDecision]) -> tuple[PolicyVersion, ...]:
        event_ids = {each for decision in decisions for each in decision.policy.get("set_by", {}).values()}
        event_ids |= {each.event_id for each in decisions if each.topic == "set-credit-policy"}
        fetched = await self.fetch(queries.explain_policies, event_ids=sorted(event_ids)) if event_ids else []
        return tuple(map(rows.policy, fetched))
