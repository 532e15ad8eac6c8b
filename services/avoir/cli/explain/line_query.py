"""How the worth of one invoice line came about: computed again from all facts, by the service's own functions."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from math import gcd
from typing import Literal, assert_never

from avoir.cli.base.snapshot import snapshot
from avoir.cli.explain.rows import told_line
from avoir.cli.explain.scope import Asking
from avoir.cli.explain.view import LineStanding
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
    counts,
    deciding,
    due_of,
    is_same_currency,
    is_timely,
    is_too_late,
    line_order,
    targets,
    unused_share,
    worths,
)
from avoir.postgres import queries, rows
from avoir.postgres.connect import Connection

Role = Literal[
    "counts", "lowers", "leaves", "superseded", "not_requested", "billed_after_change", "currency_mismatch"
]
"""What a change does to the line: it decides, lowers what another decided, leaves that, or does not count."""


@dataclass(frozen=True, slots=True)
class ChangeWorth:
    """What one change alone makes the line worth, in micros; None where it does not count for the line at all."""

    change: Change
    role: Role
    worth: int | None
    fee: int
    share: Fraction | None


@dataclass(frozen=True, slots=True)
class LineWorth:
    """A line with everything that its target follows from, and what was given for it, in micros.

    `target` is what all facts make it, None where no credit can be due for the line; `discounts` are the invoice's.
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
        """What the line charges, tax included."""
        return self.line.amount + self.line.tax

    @property
    def too_late(self) -> bool:
        """Whether the invoice was settled too late for credit (policy `unpaid_change: never`)."""
        return is_too_late(self.invoice, self.settle_by)

    @property
    def due_now(self) -> int:
        """What is due as credit as things stand: the target once the invoice is settled."""
        return due_of(self.target or 0, self.invoice, self.settle_by)


async def read_line_worth(
    connection: Connection, tenant_id: str, invoice_id: str, line_id: str
) -> LineWorth | None:
    """How the worth of a line came about; None where there is no such line."""
    async with snapshot(connection) as now:
        asking = Asking(connection, tenant_id, now)
        found = await asking.fetch(queries.explain_lines, invoice_ids=[invoice_id], line_ids=None, limit=None)
        lines = [told_line(row) for row in found]
        standing = next((each for each in lines if each.line.line_id == line_id), None)
        if standing is None:
            return None
        line = standing.line
        billed: list[Billed] = []
        changes: list[Change] = []
        if line.subject is not None:
            billed = [
                Billed(rows.invoice(each["invoice"]), rows.line(each["line"]))
                for each in await asking.fetch(queries.explain_billed, subject=line.subject)
            ]
            changes = [
                rows.change(each)
                for each in await asking.fetch(queries.explain_changes, subject=line.subject)
            ]
        return _line_worth(asking, standing, lines, billed, changes)


def _line_worth(
    asking: Asking,
    standing: LineStanding,
    lines: Sequence[LineStanding],
    billed: Sequence[Billed],
    changes: Sequence[Change],
) -> LineWorth:
    line, invoice, known = standing.line, standing.invoice, standing.entitlement
    costs = [each.line for each in lines if each.line.cost > 0]
    target = targets(billed, changes).get(line.key)
    is_due = line.kind == "prepaid" and not invoice.voided
    return LineWorth(
        asking.tenant_id,
        asking.now,
        invoice,
        line,
        sum(max(each.amount + each.tax, 0) - each.cost for each in costs),
        target.amount if target else line.cost if is_due else None,
        changes_of(Billed(invoice, line), billed, changes),
        standing.given,
        known.covered if known else 0,
        standing.shortfall,
        known.settle_by if known else None,
    )


def changes_of(each: Billed, billed: Sequence[Billed], changes: Sequence[Change]) -> tuple[ChangeWorth, ...]:
    """The changes to a line's booking or plan in the order in which they count, each with what it does to the line."""
    standing = sorted((other for other in billed if not other.invoice.voided), key=line_order)
    in_order = sorted(changes, key=change_order)
    decisive = deciding(in_order, each.invoice)
    found = []
    for change in in_order:
        worth = worths(change, standing).get(each.line.key)
        fee, share = 0, None
        match change:
            case BookingCancellation():
                fee = 0 if worth is None else each.line.cost - worth
            case BookingShortening() | PlanCancellation():
                share = _reduced(unused_share(change, each.line)) if counts(change, each.invoice) else None
            case never:
                assert_never(never)
        found.append(ChangeWorth(change, _role(change, each, decisive), worth, fee, share))
    known = {(part.change.topic, part.change.event_id): part for part in found}
    return tuple(_lowering(part, known, decisive.asked) for part in found)


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
    """A last change that nobody asked credit for lowers what the last one asked for is worth, if it is worth less."""
    if part.role != "leaves" or asked is None or part.worth is None:
        return part
    decided = known[asked.topic, asked.event_id].worth
    is_lower = decided is not None and part.worth < decided
    return ChangeWorth(part.change, "lowers", part.worth, part.fee, part.share) if is_lower else part


def _reduced(share: Fraction) -> Fraction:
    divisor = gcd(*share) or 1
    return Fraction(share.part // divisor, share.whole // divisor)
