"""Rows of the data model for tests of the read side: a small book that keeps its own sums and chain."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from uuid import UUID, uuid5

import asyncpg

from avoir.core.model.events import AccountKey
from avoir.core.model.ledger import Entry, entry_hash

OFFSETS = count()
NAMESPACE = UUID("6f1c1f6e-6c55-4b36-9a3a-0d1f7b9a2c11")
BUCKETS = {
    "applied": "spent",
    "drawn": "spent",
    "refunded": "spent",
    "expired": "lost",
    "voided": "lost",
    "taken_back": "taken",
    "issued": "amount",
}
EUR = 1_000_000
FACTS = """{"booking_id": "b1", "lines": [{"invoice_id": "i1", "line_id": "l1", "currency": "EUR", "cost": "121.00",
    "finalized_at": "2025-06-01T00:00:00+00:00", "target": "121.00", "given": "121.00", "due_on_invoice": "0.00"}]}"""


def day(n: int, hour: int = 0) -> datetime:
    """A moment of June 2025."""
    return datetime(2025, 6, n, hour, tzinfo=UTC)


@dataclass
class Book:
    """One account with its facts, credit and entries, written straight into the tables."""

    connection: asyncpg.Connection
    key: AccountKey
    seq: int = 0
    held: dict[str, int] = field(default_factory=lambda: {"available": 0, "reserved": 0})
    head: bytes = bytes(32)

    async def open(self) -> "Book":
        await self.connection.execute("INSERT INTO avoir.accounts VALUES ($1, $2, $3, $4)", *self.key)
        return self

    async def invoice(self, invoice_id: str, total: int, at: datetime, *, paid: int = 0) -> None:
        await self.connection.execute(
            """
            INSERT INTO avoir.invoices (tenant_id, owner_type, owner_id, currency, invoice_id, number, finalized_at,
                total, amount_paid, automatic, settled, settled_at, event_id, contents)
            VALUES ($1, $2, $3, $4, $5, 'N-' || $5, $6, $7, $8, true, $8, $6, 'e-' || $5, '')
            """,
            *self.key,
            invoice_id,
            at,
            total,
            paid,
        )
        if paid:
            await self.payment("amount_paid", invoice_id, paid, at, [(invoice_id, paid)])

    async def payment(
        self, kind: str, payment_id: str, amount: int, at: datetime, settled: list[tuple[str, int]]
    ) -> None:
        await self.connection.execute(
            """
            INSERT INTO avoir.payments (tenant_id, owner_type, owner_id, currency, kind, payment_id, amount,
                occurred_at, invoice_ids, settled, event_id, contents)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, '{}', $9, 'e-' || $6, '')
            """,
            *self.key,
            kind,
            payment_id,
            amount,
            at,
            sum(part for _, part in settled),
        )
        for n, (invoice_id, part) in enumerate(settled, 1):
            await self.connection.execute(
                "INSERT INTO avoir.settlements VALUES ($1, $2, $3, $4, $5, $6)",
                self.key.tenant_id,
                kind,
                payment_id,
                n,
                invoice_id,
                part,
            )

    async def line(
        self, invoice_id: str, line_id: str, booking_id: str, amount: int, position: int = 0
    ) -> None:
        await self.connection.execute(
            """
            INSERT INTO avoir.invoice_lines (tenant_id, invoice_id, position, line_id, kind, subject_id, amount, tax,
                cost)
            VALUES ($1, $2, $3, $4, 'booking', $5, $6, 0, $6)
            """,
            self.key.tenant_id,
            invoice_id,
            position,
            line_id,
            booking_id,
            amount,
        )

    async def cancelled(self, booking_id: str, event_id: str, at: datetime, *, by: str = "customer") -> None:
        await self.connection.execute(
            """
            INSERT INTO avoir.changes (tenant_id, topic, event_id, subject_kind, subject_id, occurred_at, changed_by,
                asked, unpaid_change, contents)
            VALUES ($1, 'booking-cancelled', $2, 'booking', $3, $4, $5, $5 = 'customer', 'wait', '')
            """,
            self.key.tenant_id,
            event_id,
            booking_id,
            at,
            by,
        )

    async def entitled(self, invoice_id: str, line_id: str, cost: int, target: int, given: int) -> None:
        await self.connection.execute(
            """
            INSERT INTO avoir.entitlements (tenant_id, owner_type, owner_id, currency, kind, id, line_id, cost, target,
                given, grants, source, due_from)
            VALUES ($1, $2, $3, $4, 'line', $5, $6, $7, $8, $9, 1, 'booking_cancelled', '2025-06-02Z')
            """,
            *self.key,
            invoice_id,
            line_id,
            cost,
            target,
            given,
        )

    async def grant(
        self,
        name: str,
        amount: int,
        at: datetime,
        *,
        entitlement: tuple[str, str] | None = None,
        expires_at: datetime | None = None,
        event_id: str = "e2",
        source: str = "booking_cancelled",
        reason: str | None = None,
        paid_for: bool = True,
        reference: str | None = None,
        to: str = "available",
        recorded_at: datetime | None = None,
    ) -> UUID:
        """A grant effective at `at`, and its entry; issued to available, or reserved at once."""
        recorded_at, reason = recorded_at or at, reason or source
        grant_id = uuid5(NAMESPACE, f"{self.key}{name}")
        kind, id_, line_id = ("line", *entitlement) if entitlement else (None, None, None)
        await self.connection.execute(
            """
            INSERT INTO avoir.grants (tenant_id, owner_type, owner_id, currency, grant_id, amount, available, reserved,
                spent, lost, taken, source, reason, priority, paid_for, effective_at, expires_at, entitlement_kind,
                entitlement_id, entitlement_line_id, ordinal, topic, event_id, recorded_at, reference)
            VALUES ($1, $2, $3, $4, $5, $6::bigint, $7::bigint, $6::bigint - $7::bigint, 0, 0, 0, $8, $9, 50, $10,
                $11, $12, $13, $14, $15, 1, 'booking-cancelled', $16, $17, $18)
            """,
            *self.key,
            grant_id,
            amount,
            amount if to == "available" else 0,
            source,
            reason,
            paid_for,
            at,
            expires_at,
            kind,
            id_,
            line_id,
            event_id,
            recorded_at,
            reference,
        )
        await self.post(
            grant_id, amount, "issued", recorded_at, event="issued", reason=reason, event_id=event_id, side=to
        )
        return grant_id

    async def post(
        self,
        grant_id: UUID,
        amount: int,
        counter: str,
        at: datetime,
        *,
        event: str,
        reason: str,
        event_id: str,
        invoice_id: str | None = None,
        application_id: UUID | None = None,
        side: str = "available",
    ) -> None:
        """A posting between the counter account and one of the customer's, as an event of its own.

        It is recorded a microsecond after `at` for each event before it.
        """
        self.seq += 1
        cause = (event, reason, invoice_id, application_id, event_id)
        await self._enter(1, side, counter, grant_id, amount, at, cause)
        if counter in self.held:
            await self._enter(2, counter, side, grant_id, -amount, at, cause)
        if counter != "issued":
            await self._move(grant_id, side, BUCKETS.get(counter, counter), amount)

    async def _enter(
        self,
        n: int,
        side: str,
        counter: str,
        grant_id: UUID,
        amount: int,
        at: datetime,
        cause: tuple[str, str, str | None, UUID | None, str],
    ) -> None:
        event, reason, invoice_id, application_id, event_id = cause
        self.held[side] += amount
        entry = Entry(
            self.key,
            self.seq,
            n,
            side,  # type: ignore[arg-type]
            counter,  # type: ignore[arg-type]
            grant_id,
            amount,
            self.held[side],
            event,
            reason,
            invoice_id,
            application_id,
            "booking-cancelled",
            event_id,
            at,
            at + timedelta(microseconds=self.seq),
        )
        self.head = entry_hash(self.head, entry)
        values = (*self.key, *[getattr(entry, name) for name in Entry.__struct_fields__[1:-1]], self.head)
        holes = ", ".join(f"${n}" for n in range(1, len(values) + 1))
        await self.connection.execute(f"INSERT INTO avoir.entries VALUES ({holes})", *values)
        await self.connection.execute(
            "UPDATE avoir.accounts SET available = $5, reserved = $6, seq = $7, head = $8, recorded_at = $9 WHERE"
            " (tenant_id, owner_type, owner_id, currency) = ($1, $2, $3, $4)",
            *self.key,
            *self.held.values(),
            self.seq,
            self.head,
            entry.recorded_at,
        )

    async def _move(self, grant_id: UUID, side: str, bucket: str, amount: int) -> None:
        await self.connection.execute(
            f"UPDATE avoir.grants SET {side} = {side} + $3, {bucket} = {bucket} - $3"
            " WHERE tenant_id = $1 AND grant_id = $2",
            self.key.tenant_id,
            grant_id,
            amount,
        )

    async def apply(self, grant_id: UUID, invoice_id: str, amount: int, at: datetime) -> UUID:
        application_id = uuid5(NAMESPACE, f"{grant_id}{invoice_id}")
        await self.connection.execute(
            """
            INSERT INTO avoir.applications (tenant_id, owner_type, owner_id, currency, application_id, invoice_id,
                amount, applied_by, applied_at, grant_ids, amounts, topic, event_id)
            VALUES ($1, $2, $3, $4, $5, $6, $7, 'auto', $8, $9, $10, 'invoice-finalized', 'e3')
            """,
            *self.key,
            application_id,
            invoice_id,
            amount,
            at,
            [grant_id],
            [amount],
        )
        await self.connection.execute(
            "UPDATE avoir.invoices SET applied = applied + $3 WHERE tenant_id = $1 AND invoice_id = $2",
            self.key.tenant_id,
            invoice_id,
            amount,
        )
        await self.post(
            grant_id,
            -amount,
            "applied",
            at,
            event="applied",
            reason="auto",
            event_id="e3",
            invoice_id=invoice_id,
            application_id=application_id,
        )
        return application_id

    async def decided(
        self, event_id: str, outcome: str, reason: str, kind: str, id_: str, at: datetime
    ) -> None:
        await self.connection.execute(
            """
            INSERT INTO avoir.decisions VALUES ($1, 'booking-cancelled', 0, $2, $3, $4, $4, $5, $6,
                $9, '{}', null, $7, $8)
            """,
            self.key.tenant_id,
            next(OFFSETS),
            event_id,
            at,
            outcome,
            reason,
            kind,
            id_,
            FACTS,
        )


async def cancelled_booking(connection: asyncpg.Connection, key: AccountKey) -> tuple[Book, UUID]:
    """Booking b1 of 121.00, billed and paid on i1, cancelled on June 2; 80.00 of its credit used on i2."""
    book = await Book(connection, key).open()
    await book.invoice("i1", 121 * EUR, day(1), paid=121 * EUR)
    await book.line("i1", "l1", "b1", 121 * EUR)
    await book.cancelled("b1", "e2", day(2))
    await book.entitled("i1", "l1", 121 * EUR, 121 * EUR, 121 * EUR)
    grant_id = await book.grant("g1", 121 * EUR, day(2), entitlement=("i1", "l1"))
    await book.decided("e2", "issued", "booking_cancelled", "booking", "b1", day(2))
    await book.invoice("i2", 80 * EUR, day(5))
    await book.apply(grant_id, "i2", 80 * EUR, day(5))
    return book, grant_id
