"""The messages of a benchmark: a month of a booking business, in time order, always the same for the same seed."""

import json
import random
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, NamedTuple

Kind = Literal["billing", "change", "repeat", "rejected"]
SHARES: dict[Kind, float] = {"billing": 0.60, "change": 0.30, "repeat": 0.05, "rejected": 0.05}

BEGIN = datetime(2025, 6, 1, tzinfo=UTC)
MONTH = timedelta(days=30)
TENANTS = 5
CUSTOMERS = 5_000
TAX_PERCENT = 21
FEE_CENTS = 500


class Wire(NamedTuple):
    """One record to publish, and what part of the mix it is."""

    kind: Kind
    topic: str
    key: bytes
    value: bytes


@dataclass(slots=True)
class _Customer:
    """A customer, with about the credit that they have: nobody pays what credit has paid already."""

    tenant_id: str
    id: str
    credit: int = 0

    @property
    def owner(self) -> dict[str, str]:
        return {"type": "user", "id": self.id}


@dataclass(slots=True)
class _Invoice:
    customer: _Customer
    id: str
    due: int
    waiting: int = 0
    payment_id: str = ""
    payment: int = 0
    is_voided: bool = False


@dataclass(slots=True)
class _Line:
    invoice: _Invoice
    kind: Literal["booking", "plan"]
    id: str
    cost: int
    start: datetime
    end: datetime
    revision: int = 0
    given: int = 0


def mix(count: int, *, customers: int = CUSTOMERS, seed: int = 1) -> list[Wire]:
    """So many messages, with the shares of `SHARES`, over a month."""
    return list(_Month(count, customers, random.Random(seed)).messages())


def of_some_customers(messages: Sequence[Wire], most: int) -> list[Wire]:
    """All messages of some customers, at most so many: shorter, and each customer's history is whole.

    The first messages of a month would not do: nobody has credit yet.
    """
    counts = Counter(message.key for message in messages)
    chosen: set[bytes] = set()
    for key in random.Random(most).sample(sorted(counts), len(counts)):
        if counts[key] <= most:
            chosen.add(key)
            most -= counts[key]
    return [message for message in messages if message.key in chosen]


@dataclass(slots=True)
class _Month:
    count: int
    customer_count: int
    random: random.Random
    now: datetime = BEGIN
    n: int = 0
    customers: list[_Customer] = field(default_factory=list)
    unpaid: deque[_Invoice] = field(default_factory=deque)
    paid: list[_Invoice] = field(default_factory=list)
    lines: list[_Line] = field(default_factory=list)
    sent: list[Wire] = field(default_factory=list)

    def messages(self) -> Iterator[Wire]:
        """Draw the kinds without replacement, so that the shares are exact, and play each."""
        self.customers = [
            _Customer(f"tenant-{n % TENANTS}", f"customer-{n:05d}") for n in range(self.customer_count)
        ]
        left = _exact_counts(self.count)
        for n in range(self.count):
            self.n, self.now = n, BEGIN + MONTH * n / self.count
            kind = self.random.choices(list(left), weights=list(left.values()))[0]
            if (kind == "change" and not self.lines) or (kind == "repeat" and not self.sent):
                kind = "billing"
            left[kind] -= 1
            yield self._message(kind)

    def _message(self, kind: Kind) -> Wire:
        match kind:
            case "billing":
                message = self._billing()
            case "change":
                message = self._change()
            case "repeat":
                return self.random.choice(self.sent[-2_000:])._replace(kind="repeat")
            case "rejected":
                return self._rejected()
        self.sent.append(message)
        return message

    def _wire(self, kind: Kind, topic: str, customer: _Customer, **fields: Any) -> Wire:
        message = {
            "event_id": f"event-{self.n:08d}",
            "tenant_id": customer.tenant_id,
            "occurred_at": _time(self.now),
            **fields,
        }
        value = json.dumps(message, separators=(",", ":")).encode()
        return Wire(kind, topic, f"{customer.tenant_id}/{customer.id}".encode(), value)

    def _billing(self) -> Wire:
        """The oldest unpaid invoice is paid some time after it was finalized; else a new one is finalized."""
        if self.unpaid and self.random.random() < len(self.unpaid) / 1_000:
            invoice = self.unpaid.popleft()
            if not invoice.is_voided:
                return self._payment(invoice)
        return self._finalized(self.random.choice(self.customers))

    def _finalized(self, customer: _Customer) -> Wire:
        invoice = _Invoice(customer, f"invoice-{self.n:08d}", 0)
        lines = [self._line(invoice, place) for place in range(self.random.choice((1, 1, 1, 2, 2, 3)))]
        total = sum(_cents(line["amount"]) + _cents(line["tax"]) for line in lines)
        applied = min(customer.credit, total)
        customer.credit -= applied
        invoice.due = total - applied
        (self.unpaid if invoice.due else self.paid).append(invoice)
        return self._wire(
            "billing",
            "invoice-finalized",
            customer,
            invoice_id=invoice.id,
            number=f"INV-{self.n:08d}",
            owner=customer.owner,
            currency="EUR",
            finalization="automatic",
            lines=lines,
            total=_decimal(total),
        )

    def _line(self, invoice: _Invoice, place: int) -> dict[str, Any]:
        amount = self.random.randrange(500, 20_000, 5)
        tax = amount * TAX_PERCENT // 100
        start = self.now.replace(minute=0, second=0, microsecond=0) + timedelta(
            hours=self.random.randrange(24, 24 * 60)
        )
        line: dict[str, Any] = {"line_id": f"line-{place}", "amount": _decimal(amount), "tax": _decimal(tax)}
        drawn = self.random.random()
        if drawn < 0.10:
            return line | {"kind": "other"}
        kind: Literal["booking", "plan"] = "plan" if drawn < 0.20 else "booking"
        length = timedelta(days=30) if kind == "plan" else timedelta(hours=self.random.randrange(2, 9, 2))
        billed = _Line(invoice, kind, f"{kind}-{self.n:08d}-{place}", amount + tax, start, start + length)
        self.lines.append(billed)
        period = {"start": _time(billed.start), "end": _time(billed.end)}
        return line | {"kind": kind, f"{kind}_id": billed.id, "period": period}

    def _payment(self, invoice: _Invoice) -> Wire:
        amount = invoice.due + (self.random.randrange(100, 2_000, 5) if self.random.random() < 0.02 else 0)
        invoice.customer.credit += amount - invoice.due + invoice.waiting
        invoice.due = invoice.waiting = 0
        invoice.payment_id, invoice.payment = f"payment-{self.n:08d}", amount
        self.paid.append(invoice)
        names_it = self.random.random() < 0.95
        return self._wire(
            "billing",
            "payment-recorded",
            invoice.customer,
            payment_id=invoice.payment_id,
            owner=invoice.customer.owner,
            amount=_decimal(amount),
            currency="EUR",
            method="card",
            invoice_ids=[invoice.id] if names_it else [],
        )

    def _change(self) -> Wire:
        drawn = self.random.random()
        if drawn < 0.04 and self.paid:
            place = self.random.randrange(len(self.paid))
            invoice = self.paid.pop(place)
            return self._void(invoice) if drawn < 0.02 or not invoice.payment else self._reversal(invoice)
        # Mostly what was billed lately; one line in ten is changed again.
        place = max(0, len(self.lines) - 1 - int(self.random.expovariate(1 / 1_000)))
        line = self.lines[place]
        shortened = line.kind == "booking" and line.revision == 0 and self.random.random() < 0.4
        if not (shortened and self.random.random() < 0.25):
            self.lines[place] = self.lines[-1]
            self.lines.pop()
        line.revision += 1
        return self._shortened(line) if shortened else self._cancelled(line)

    def _shortened(self, line: _Line) -> Wire:
        half = line.start + (line.end - line.start) / 2
        self._give(line, line.cost // 2)
        return self._changed(
            "booking-shortened",
            line,
            billed_period={"start": _time(line.start), "end": _time(line.end)},
            remaining_period={"start": _time(line.start), "end": _time(half)},
        )

    def _cancelled(self, line: _Line) -> Wire:
        if line.kind == "plan":
            self._give(line, line.cost)
            return self._changed(
                "plan-cancelled", line, effective_at=_time(line.start), unused="whole_periods"
            )
        fee = FEE_CENTS if self.random.random() < 0.2 else 0
        self._give(line, max(line.cost - fee, 0))
        return self._changed(
            "booking-cancelled", line, **({"fee": _decimal(fee), "currency": "EUR"} if fee else {})
        )

    def _changed(self, topic: str, line: _Line, **fields: Any) -> Wire:
        by_admin = self.random.random() < 0.15
        return self._wire(
            "change",
            topic,
            line.invoice.customer,
            **{f"{line.kind}_id": line.id},
            revision=line.revision,
            owner=line.invoice.customer.owner,
            changed_by="admin" if by_admin else "customer",
            create_credit=True if by_admin else None,
            **fields,
        )

    def _give(self, line: _Line, worth: int) -> None:
        more = worth - line.given
        line.given = worth
        if line.invoice.due:
            line.invoice.waiting += more
        elif not line.invoice.is_voided:
            line.invoice.customer.credit = max(0, line.invoice.customer.credit + more)

    def _void(self, invoice: _Invoice) -> Wire:
        invoice.is_voided = True
        invoice.customer.credit += invoice.payment
        return self._wire(
            "change", "invoice-voided", invoice.customer, invoice_id=invoice.id, reason="issued twice"
        )

    def _reversal(self, invoice: _Invoice) -> Wire:
        return self._wire(
            "change",
            "payment-reversed",
            invoice.customer,
            reversal_id=f"reversal-{self.n:08d}",
            payment_id=invoice.payment_id,
            amount=_decimal(invoice.payment),
            currency="EUR",
            reason="chargeback",
        )

    def _rejected(self) -> Wire:
        """A payment or a cancellation with something wrong in it."""
        customer = self.random.choice(self.customers)
        payment: dict[str, Any] = {
            "payment_id": f"payment-{self.n:08d}",
            "owner": customer.owner,
            "amount": "12.50",
            "currency": "EUR",
        }
        cancelled = {
            "booking_id": f"booking-{self.n:08d}",
            "owner": customer.owner,
            "changed_by": "customer",
        }
        match self.random.randrange(6):
            case 0:
                return self._wire(
                    "rejected", "payment-recorded", customer, **payment | {"amount": 12.5}, method="card"
                )
            case 1:
                return self._wire(
                    "rejected", "payment-recorded", customer, **payment | {"amount": "-1.00"}, method="card"
                )
            case 2:
                return self._wire(
                    "rejected", "payment-recorded", customer, **payment | {"currency": "EURO"}, method="card"
                )
            case 3:
                return self._wire(
                    "rejected", "booking-cancelled", customer, **cancelled | {"changed_by": "nobody"}
                )
            case 4:
                return self._wire(
                    "rejected", "booking-cancelled", customer, **cancelled | {"owner": customer.id}
                )
            case _:
                whole = self._wire("rejected", "booking-cancelled", customer, **cancelled)
                return whole._replace(value=whole.value[:-20])


def _exact_counts(count: int) -> dict[Kind, int]:
    counts = {kind: int(count * share) for kind, share in SHARES.items()}
    counts["billing"] += count - sum(counts.values())
    return counts


def _time(time: datetime) -> str:
    return time.isoformat().replace("+00:00", "Z")


def _decimal(cents: int) -> str:
    return f"{cents // 100}.{cents % 100:02d}"


def _cents(amount: str) -> int:
    return int(amount.replace(".", ""))
