"""The worth of one invoice line, recomputed from all facts by the service's own functions."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from math import gcd
from typing import Literal, assert_never

from avoir.cli.base.snapshot import snapshot
from avoir.cli.explain.rows import line_state
from avoir.cli.explain.scope import TenantReader
from avoir.cli.explain.view import LineState
from avoir.core.model.rows import (
    BookingCancellation,
    BookingShortening,
    Change,
    Invoice,
    Line,
    PlanCancellation,
)
from avoir.core.worth.proration import Fraction
from avoir.core.worth.targets import (
    Billed,
    Deciding,
    change_order,
    deciding,
    due_of,
    is_same_currency,
    is_timely,
    is_too_late,
    line_order,
    targets,
    unused_shares,
    worths,
)
from avoir.postgres import queries, rows
from avoir.postgres.connect import Connection

Role = Literal[
    "counts", "lowers", "leaves", "superseded", "not_requested", "billed_after_change", "currency_mismatch"
]
"""Role of a change for the line: decides, lowers another's decision, leaves it, or does not count."""


@dataclass(frozen=True, slots=True)
class ChangeWorth:
    """Worth of the line after this one change alone, in micros; None if it does not count for the line."""

    change: Change
    role: Role
    worth: int | None
    fee: int
    share: Fraction | None


@dataclass(frozen=True, slots=True)
class LineWorth:
    """A line with everything that determines its target, and the credit given for it, in micros.

    `target` is None if no credit can be due for the line; `discounts` are the invoice's.
    """

    tenant_id: str
    as_of: datetime
    invoice: Invoice
    line: Line
    discounts: int
    target: int | None
    changes: tuple[ChangeWorth, ...]
    given: int
    covered: int
    shortfall: int
    settle_by: datetime | None

    @property
    def total(self) -> int:
        """Amount of the line, tax included, in micros."""
        return self.line.amount + self.line.tax

    @property
    def too_late(self) -> bool:
        """Check whether the invoice was settled too late for credit (policy `unpaid_change: never`)."""
        return is_too_late(self.invoice, self.settle_by)

    @property
    def due_now(self) -> int:
        """Credit due now: the target once the invoice is settled."""
        return due_of(self.target or 0, self.invoice, self.settle_by)


async def read_line_worth(
    connection: Connection, tenant_id: str, invoice_id: str, line_id: str
) -> LineWorth | None:
    """Explain the worth of a line; None if there is no such line."""
    async with snapshot(connection) as now:
        reader = TenantReader(connection, tenant_id, now)
        fetched = await reader.fetch(
            queries.explain_lines, invoice_ids=[invoice_id], line_ids=None, limit=None
        )
        lines = [line_state(row) for row in fetched]
        state = next((each for each in lines if each.line.line_id == line_id), None)
        if state is None:
            return None
        line = state.line
        billed: list[Billed] = []
        changes: list[Change] = []
        if line.subject is not None:
            billed = [
                Billed(rows.invoice(each["invoice"]), rows.line(each["line"]))
                for each in await reader.fetch(queries.explain_billed, subject=line.subject)
            ]
            changes = [
                rows.change(each)
                for each in await reader.fetch(queries.explain_changes, subject=line.subject)
            ]
        return _line_worth(reader, state, lines, billed, changes)


def _line_worth(
    reader: TenantReader,
    state: LineState,
    lines: Sequence[LineState],
    billed: Sequence[Billed],
    changes: Sequence[Change],
) -> LineWorth:
    line, invoice, known = state.line, state.invoice, state.entitlement
    costs = [each.line for each in lines if each.line.cost > 0]
    target = targets(billed, changes).get(line.key)
    is_due = line.kind == "prepaid" and not invoice.voided
    return LineWorth(
        reader.tenant_id,
        reader.now,
        invoice,
        line,
        sum(max(each.amount + each.tax, 0) - each.cost for each in costs),
        target.amount if target else line.cost if is_due else None,
        changes_of(Billed(invoice, line), billed, changes),
        state.given,
        known.covered if known else 0,
        state.shortfall,
        known.settle_by if known else None,
    )


def changes_of(each: Billed, billed: Sequence[Billed], changes: Sequence[Change]) -> tuple[ChangeWorth, ...]:
    """Changes to a line's booking or plan in the order that counts, each with its effect on the line."""
    state = sorted((other for other in billed if not other.invoice.voided), key=line_order)
    in_order = sorted(changes, key=change_order)
    decisive = deciding(in_order, each.invoice)
    result = []
    for change in in_order:
        worth = worths(change, state).get(each.line.key)
        fee, share = 0, None
        match change:
            case BookingCancellation():
                fee = 0 if worth is None else each.line.cost - worth
            case BookingShortening() | PlanCancellation():
                share = _reduced(unused_shares(change, state).get(each.line.key))
            case never:
                assert_never(never)
        result.append(ChangeWorth(change, _role(change, each, decisive), worth, fee, share))
    known = {(part.change.topic, part.change.event_id): part for part in result}
    return tuple(_lowering(part, known, decisive.asked) for part in result)


def _role(change: Change, billed: Billed, decisive: Deciding) -> Role:
    if not is_timely(billed.invoice.finalized_at, change.occurred_at):
        return "billed_after_change"
    if not is_same_currency(change, billed.invoice):
        return "currency_mismatch"
    if change is decisive.asked:
        return "counts"
    if change is decisive.last and decisive.asked is not None:
        return "leaves"
    return "superseded" if change.asked else "not_requested"


def _lowering(
    part: ChangeWorth, known: dict[tuple[str, str], ChangeWorth], asked: Change | None
) -> ChangeWorth:
    """A last change that asks for no credit lowers the worth of the last one that does, if it is worth less."""
    if part.role != "leaves" or asked is None or part.worth is None:
        return part
    decided = known[asked.topic, asked.event_id].worth
    is_lower = decided is not None and part.worth < decided
    return ChangeWorth(part.change, "lowers", part.worth, part.fee, part.share) if is_lower else part


def _reduced(share: Fraction | None) -> Fraction | None:
    if share is None:
        return None
    divisor = gcd(*share) or 1
    return Fraction(share.part // divisor, share.whole // divisor)
