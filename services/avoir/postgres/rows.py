"""The tables of core rows: one declaration each, from which reading, COPY and UPDATE are derived."""

from collections.abc import Mapping
from typing import Any

from avoir.core.model import rows as core
from avoir.core.model.commands import Actor
from avoir.core.model.events import AccountKey
from avoir.core.model.facts import Owner, Period
from avoir.core.model.ledger import Entry
from avoir.core.model.policy import PolicyVersion, ScopeKey
from avoir.postgres.mapping import RECORDED_AT, Column, Field, Row, Table, changing, converted, fields, nested

_ACCOUNT_KEY = "tenant_id text, owner_type text, owner_id text, currency text"
_INVOICE_KEY = "tenant_id text, invoice_id text"
_ACCOUNT = nested("account", AccountKey, _ACCOUNT_KEY)


def _period(name: str, prefix: str) -> tuple[Field, ...]:
    start = f"{prefix}_start"
    return nested(name, Period, f"{start} timestamptz, {prefix}_end timestamptz", null=start)


ACCOUNTS = Table(
    "accounts",
    core.Account,
    nested("key", AccountKey, _ACCOUNT_KEY),
    changing("available bigint, reserved bigint, seq bigint, head bytea, refill_asked boolean"),
    changing("epoch integer, epoch_from bigint"),
    key="tenant_id owner_type owner_id currency",
    recorded_at=RECORDED_AT._replace(changes=True),
)
"""Accounts are inserted when they are locked: afterwards they are only updated."""

INVOICES = Table(
    "invoices",
    core.Invoice,
    nested("key", core.InvoiceKey, _INVOICE_KEY),
    _ACCOUNT,
    fields("number text, finalized_at timestamptz, total bigint, amount_paid bigint, automatic boolean"),
    changing("barred boolean, voided boolean, settled bigint, applied bigint"),
    changing("settled_at timestamptz, restored bigint"),
    fields("event_id text, contents bytea"),
    key="tenant_id invoice_id",
)

LINES = Table(
    "invoice_lines",
    core.Line,
    nested("invoice", core.InvoiceKey, _INVOICE_KEY),
    fields("position integer, line_id text, kind text, subject_id text"),
    _period("period", "period"),
    fields(
        "amount bigint, tax bigint, cost bigint, cost_tax bigint, credit_line_id text, expires_at timestamptz"
    ),
    key="tenant_id invoice_id position",
)

CHANGES: Table[core.Change] = Table(
    "changes",
    {each.topic: each for each in (core.BookingCancellation, core.BookingShortening, core.PlanCancellation)},
    nested("subject", core.SubjectKey, "tenant_id text, subject_kind text, subject_id text"),
    nested("owner", Owner, "owner_type text, owner_id text"),
    fields("topic text, event_id text, revision bigint, occurred_at timestamptz, changed_by text"),
    fields("asked boolean"),
    fields("fee bigint", absent="0"),
    fields("currency text"),
    _period("billed_period", "billed"),
    _period("remaining_period", "remaining"),
    fields("billed_price bigint, remaining_price bigint", absent="None"),
    fields("effective_at timestamptz, unused text", absent="None"),
    changing("proration text", absent="None"),
    # Null in rows of before, and of processes that are still of the version before.
    converted(
        "time_zone", "row['time_zone'] or 'UTC'", Column("time_zone", "text", "row.time_zone", changes=True)
    ),
    changing("unpaid_change text, credit_as text, expires_after_days integer, superseded boolean"),
    changing("declined uuid"),
    fields("contents bytea, rules integer"),
    key="tenant_id topic event_id",
    kind_in="topic",
)

PAYMENTS = Table(
    "payments",
    core.Payment,
    nested("key", core.PaymentKey, "tenant_id text, kind text, payment_id text"),
    _ACCOUNT,
    fields("amount bigint, occurred_at timestamptz"),
    converted("invoice_ids", "tuple(row['invoice_ids'])", Column("invoice_ids", "text[]", "row.invoice_ids")),
    changing("reversed bigint, settled bigint"),
    fields("event_id text, contents bytea"),
    key="tenant_id kind payment_id",
)

REVERSALS = Table(
    "reversals",
    core.Reversal,
    nested("key", core.ReversalKey, "tenant_id text, reversal_id text"),
    fields("payment_id text, amount bigint, currency text, reason text, occurred_at timestamptz"),
    fields("event_id text, contents bytea"),
    key="tenant_id reversal_id",
)

VOIDS = Table(
    "voids",
    core.Void,
    nested("key", core.InvoiceKey, _INVOICE_KEY),
    fields("reason text, occurred_at timestamptz, event_id text, contents bytea"),
    key="tenant_id invoice_id",
)

SETTLEMENTS = Table(
    "settlements",
    core.Settlement,
    nested("payment", core.PaymentKey, "tenant_id text, kind text, payment_id text"),
    fields("n integer"),
    nested("invoice", core.InvoiceKey, _INVOICE_KEY),
    changing("amount bigint"),
    key="tenant_id kind payment_id n",
)

ENTITLEMENTS = Table(
    "entitlements",
    core.Entitlement,
    nested("key", core.EntitlementKey, "tenant_id text, kind text, id text, line_id text"),
    _ACCOUNT,
    fields("cost bigint"),
    changing("target bigint, given bigint, covered bigint, shortfall bigint, shortfall_reason text"),
    changing("grants integer, source text, due_from timestamptz, settle_by timestamptz"),
    changing("as_line_item boolean, expires_after_days integer, time_zone text, overtakes uuid"),
    key="tenant_id kind id line_id",
)

GRANTS = Table(
    "grants",
    core.Grant,
    nested("key", core.GrantKey, "tenant_id text, grant_id uuid"),
    _ACCOUNT,
    fields("amount bigint"),
    changing("available bigint, reserved bigint, spent bigint, lost bigint, taken bigint, pending bigint"),
    fields("source text, reason text, note text, priority integer, paid_for boolean"),
    fields("effective_at timestamptz, expires_at timestamptz, reference text"),
    nested(
        "entitlement",
        core.EntitlementKey,
        "tenant_id text, entitlement_kind text, entitlement_id text, entitlement_line_id text",
        null="entitlement_kind",
    ),
    fields("ordinal integer, topic text, event_id text, contents bytea"),
    nested("by", Actor, "by_type text, by_id text", null="by_type"),
    key="tenant_id grant_id",
    recorded_at=RECORDED_AT,
)

RESERVATIONS = Table(
    "reservations",
    core.Reservation,
    nested("key", core.ReservationKey, "tenant_id text, application_id uuid, grant_id uuid"),
    _ACCOUNT,
    fields("invoice_id text, reserved_for text, seq bigint"),
    changing("amount bigint"),
    fields("topic text, event_id text"),
    changing("moved bigint"),
    key="tenant_id application_id grant_id",
)

APPLICATIONS = Table(
    "applications",
    core.Application,
    nested("key", core.ApplicationKey, "tenant_id text, application_id uuid"),
    _ACCOUNT,
    nested("invoice", core.InvoiceKey, _INVOICE_KEY),
    fields("amount bigint, applied_by text, applied_at timestamptz"),
    changing("reinstated boolean"),
    converted(
        "slices",
        "tuple(zip(row['grant_ids'], row['amounts'], strict=True))",
        Column("grant_ids", "uuid[]", "[grant_id for grant_id, _ in row.slices]"),
        Column("amounts", "bigint[]", "[amount for _, amount in row.slices]"),
    ),
    fields("topic text, event_id text, moved bigint"),
    key="tenant_id application_id",
)

POLICIES = Table(
    "policies",
    PolicyVersion,
    nested("key", ScopeKey, "tenant_id text, scope text, scope_id text"),
    fields("event_id text, occurred_at timestamptz"),
    converted("keys", "json.loads(row['keys'])", Column("keys", "jsonb", "json.dumps(row.keys)")),
    key="tenant_id event_id",
)

ENTRIES = Table(
    "entries",
    Entry,
    _ACCOUNT,
    fields("seq bigint, n integer, ledger_account text, counter_account text, grant_id uuid, amount bigint"),
    fields("balance bigint, event text, reason text, invoice_id text, application_id uuid, topic text"),
    fields("event_id text, occurred_at timestamptz, recorded_at timestamptz, hash bytea"),
    key="tenant_id owner_type owner_id currency seq n",
)

STATE_TABLES: Mapping[str, Table[Any]] = {
    "invoices": INVOICES,
    "lines": LINES,
    "changes": CHANGES,
    "reversals": REVERSALS,
    "voids": VOIDS,
    "policies": POLICIES,
    "payments": PAYMENTS,
    "settlements": SETTLEMENTS,
    "entitlements": ENTITLEMENTS,
    "grants": GRANTS,
    "reservations": RESERVATIONS,
    "applications": APPLICATIONS,
}
"""The tables of a state's rows, by their names in the state, in an order that foreign keys allow."""

account = ACCOUNTS.read
invoice = INVOICES.read
line = LINES.read
change = CHANGES.read
payment = PAYMENTS.read
reversal = REVERSALS.read
void = VOIDS.read
settlement = SETTLEMENTS.read
entitlement = ENTITLEMENTS.read
grant = GRANTS.read
application = APPLICATIONS.read
reservation = RESERVATIONS.read
policy = POLICIES.read


def account_key(row: Row) -> AccountKey:
    """The account that a row of any table belongs to."""
    return AccountKey(row["tenant_id"], row["owner_type"], row["owner_id"], row["currency"])
