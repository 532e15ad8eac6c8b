"""The statements of the plain handler: the same facts, balances and events, one message after the other."""

import json
from typing import Any, NamedTuple, TypeAlias

import asyncpg
from asyncpg.pool import PoolConnectionProxy

import avoir_events as wire

Connection: TypeAlias = "PoolConnectionProxy[asyncpg.Record]"

TABLES = """
CREATE TABLE inbox (tenant_id text, event_id text, PRIMARY KEY (tenant_id, event_id));
CREATE TABLE accounts (tenant_id text, owner text, available bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant_id, owner));
CREATE TABLE invoices (tenant_id text, invoice_id text, owner text, total bigint, due bigint,
    PRIMARY KEY (tenant_id, invoice_id));
CREATE TABLE lines (tenant_id text, invoice_id text, line_id text, subject_id text, cost bigint,
    given bigint NOT NULL DEFAULT 0, PRIMARY KEY (tenant_id, invoice_id, line_id));
CREATE INDEX lines_of_subject ON lines (tenant_id, subject_id);
CREATE TABLE payments (tenant_id text, payment_id text, owner text, amount bigint,
    PRIMARY KEY (tenant_id, payment_id));
CREATE TABLE changes (tenant_id text, event_id text, subject_id text, body jsonb, PRIMARY KEY (tenant_id, event_id));
CREATE TABLE entries (tenant_id text, owner text, entry_id bigint GENERATED ALWAYS AS IDENTITY, amount bigint,
    reason text, event_id text, PRIMARY KEY (tenant_id, owner, entry_id));
CREATE TABLE decisions (tenant_id text, event_id text, outcome text, PRIMARY KEY (tenant_id, event_id));
CREATE TABLE dead_letters (topic text, body bytea, problem text);
"""


class Out(NamedTuple):
    """An event to publish."""

    topic: str
    key: bytes | None
    value: bytes


class Work:
    """The work on one message, in a transaction that is open."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.statements = 0

    async def _run(self, statement: str, *arguments: Any) -> list[asyncpg.Record]:
        self.statements += 1
        return await self._connection.fetch(statement, *arguments)

    async def reject(self, topic: str, body: bytes, problem: str) -> list[Out]:
        """Keep what is no message."""
        await self._run("INSERT INTO dead_letters VALUES ($1, $2, $3)", topic, body, problem)
        return [Out("credit-dead-letter", None, body)]

    async def handle(self, message: wire.Incoming) -> list[Out]:
        """Handle a message that was not handled before; the events to publish."""
        claim = "INSERT INTO inbox VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING 1"
        if not await self._run(claim, message.tenant_id, message.event_id):
            return []
        events = await self._effect(message)
        outcome = events[0].topic if events else "recorded"
        decided = "INSERT INTO decisions VALUES ($1, $2, $3)"
        await self._run(decided, message.tenant_id, message.event_id, outcome)
        return events

    async def _effect(self, message: wire.Incoming) -> list[Out]:
        match message:
            case wire.InvoiceFinalized():
                return await self._finalize(message)
            case wire.PaymentRecorded():
                return await self._pay(message)
            case wire.BookingCancelled() | wire.BookingShortened():
                return await self._change(message, message.booking_id)
            case wire.PlanCancelled():
                return await self._change(message, message.plan_id)
            case _:
                body = message.model_dump_json()
                await self._run(
                    "INSERT INTO changes VALUES ($1, $2, '', $3)", message.tenant_id, message.event_id, body
                )
                return []

    async def _finalize(self, message: wire.InvoiceFinalized) -> list[Out]:
        tenant_id, owner, total = message.tenant_id, message.owner.id, _cents(message.total)
        available = await self._lock(tenant_id, owner)
        applied = min(available, total)
        await self._run(
            "INSERT INTO invoices VALUES ($1, $2, $3, $4, $5)",
            tenant_id,
            message.invoice_id,
            owner,
            total,
            total - applied,
        )
        for line in message.lines:
            await self._run(
                "INSERT INTO lines VALUES ($1, $2, $3, $4, $5)",
                tenant_id,
                message.invoice_id,
                line.line_id,
                getattr(line, "booking_id", None) or getattr(line, "plan_id", None),
                _cents(line.amount) + _cents(line.tax),
            )
        return await self._move(message, owner, -applied, "applied") if applied else []

    async def _pay(self, message: wire.PaymentRecorded) -> list[Out]:
        tenant_id, owner, left = message.tenant_id, message.owner.id, _cents(message.amount)
        await self._lock(tenant_id, owner)
        await self._run(
            "INSERT INTO payments VALUES ($1, $2, $3, $4)", tenant_id, message.payment_id, owner, left
        )
        due = await self._run(
            "SELECT invoice_id, due FROM invoices WHERE tenant_id = $1 AND invoice_id = ANY($2) AND due > 0 FOR UPDATE",
            tenant_id,
            list(message.invoice_ids),
        )
        for row in due:
            settled = min(left, row["due"])
            left -= settled
            await self._run(
                "UPDATE invoices SET due = due - $3 WHERE tenant_id = $1 AND invoice_id = $2",
                tenant_id,
                row["invoice_id"],
                settled,
            )
        return await self._move(message, owner, left, "overpayment") if left else []

    async def _change(
        self, message: wire.BookingCancelled | wire.BookingShortened | wire.PlanCancelled, subject_id: str
    ) -> list[Out]:
        tenant_id, owner = message.tenant_id, message.owner.id
        await self._lock(tenant_id, owner)
        await self._run(
            "INSERT INTO changes VALUES ($1, $2, $3, $4)",
            tenant_id,
            message.event_id,
            subject_id,
            message.model_dump_json(),
        )
        billed = await self._run(
            "SELECT l.invoice_id, l.line_id, l.cost, l.given FROM lines l JOIN invoices i USING (tenant_id, invoice_id)"
            " WHERE l.tenant_id = $1 AND l.subject_id = $2 AND i.due = 0",
            tenant_id,
            subject_id,
        )
        given = 0
        for row in billed:
            worth = row["cost"] // 2 if isinstance(message, wire.BookingShortened) else row["cost"]
            given += worth - row["given"]
            await self._run(
                "UPDATE lines SET given = $4 WHERE tenant_id = $1 AND invoice_id = $2 AND line_id = $3",
                tenant_id,
                row["invoice_id"],
                row["line_id"],
                worth,
            )
        if given:
            return await self._move(message, owner, given, "changed")
        declined = {"tenant_id": tenant_id, "owner": owner, "asked": message.event_id, "reason": "not_billed"}
        return [Out("credit-declined", _key(tenant_id, owner), json.dumps(declined).encode())]

    async def _lock(self, tenant_id: str, owner: str) -> int:
        await self._run("INSERT INTO accounts VALUES ($1, $2) ON CONFLICT DO NOTHING", tenant_id, owner)
        locked = "SELECT available FROM accounts WHERE tenant_id = $1 AND owner = $2 FOR UPDATE"
        return int((await self._run(locked, tenant_id, owner))[0]["available"])

    async def _move(self, message: wire.Incoming, owner: str, amount: int, reason: str) -> list[Out]:
        """Move credit; the event of it, and where the balance stands now."""
        tenant_id = message.tenant_id
        await self._run(
            "INSERT INTO entries (tenant_id, owner, amount, reason, event_id) VALUES ($1, $2, $3, $4, $5)",
            tenant_id,
            owner,
            amount,
            reason,
            message.event_id,
        )
        moved = await self._run(
            "UPDATE accounts SET available = available + $3 WHERE tenant_id = $1 AND owner = $2 RETURNING available",
            tenant_id,
            owner,
            amount,
        )
        balance = {"tenant_id": tenant_id, "owner": owner, "available": moved[0]["available"]}
        event = balance | {"amount": amount, "reason": reason, "caused_by": message.event_id}
        key = _key(tenant_id, owner)
        return [
            Out("credit-applied" if amount < 0 else "credit-issued", key, json.dumps(event).encode()),
            Out("credit-balance", key, json.dumps(balance).encode()),
        ]


def _key(tenant_id: str, owner: str) -> bytes:
    return f"{tenant_id}/{owner}".encode()


def _cents(amount: str) -> int:
    whole, _, fraction = amount.partition(".")
    return int(whole) * 100 + int(fraction.ljust(2, "0")) if fraction else int(whole) * 100
