"""The tables of core rows: one declaration each, of which reading, COPY and UPDATE are made."""

from collections.abc import Mapping
from typing import Any

from avoir.core.model.events import AccountKey
from avoir.core.model.facts import Owner, Period
from avoir.core.model.ledger import Entry
from avoir.core.model.policy import PolicyVersion, ScopeKey
from avoir.core.model.rows import (
    Account,
    Application,
    ApplicationKey,
    BookingCancellation,
    BookingShortening,
    Change,
    Entitlement,
    EntitlementKey,
    Grant,
    GrantKey,
    Invoice,
    InvoiceKey,
    Line,
    Payment,
    PaymentKey,
    PlanCancellation,
    Reservation,
    ReservationKey,
    Reversal,
    ReversalKey,
    Settlement,
    SubjectKey,
    Void,
)
from avoir.postgres.mapping import RECORDED_AT, Column, Field, Row, Table, fields, nested

_ACCOUNT = "tenant_id text, owner_type text, owner_id text, currency text"
_INVOICE = "tenant_id text, invoice_id text"

ACCOUNTS = Table(
    "accounts",
    Account,
    nested("key", AccountKey, _ACCOUNT),
    fields(
        "available bigint, reserved bigint, seq bigint, head bytea, refill_asked boolean, epoch integer, "
        "epoch_from bigint",
        changing=True,
    ),
    key="tenant_id owner_type owner_id currency",
    recorded_at=RECORDED_AT._replace(changes=True),
)
"""Accounts are opened when they are locked: all that is ever written of them is an update."""

INVOICES = Table(
    "invoices",
    Invoice,
    nested("key", InvoiceKey, _INVOICE),
    nested("account", AccountKey, _ACCOUNT),
    fields("number text, finalized_at timestamptz, total bigint, amount_paid bigint, automatic boolean"),
    fields("barred boolean, voided boolean, settled bigint, applied bigint", changing=True),
    fields("settled_at timestamptz, restored bigint", changing=True),
    fields("event_id text, contents bytea"),
    key="tenant_id invoice_id",
)

LINES = Table(
    "invoice_lines",
    Line,
    nested("invoice", InvoiceKey, _INVOICE),
    fields("position integer, line_id text, kind text, subject_id text"),
    nested("period", Period, "period_start timestamptz, period_end timestamptz", null="period_start"),
    fields("amount bigint, tax bigint, cost bigint, credit_line_id text, expires_at timestamptz"),
    key="tenant_id invoice_id position",
)

CHANGES: Table[Change] = Table(
    "changes",
    {each.topic: each for each in (BookingCancellation, BookingShortening, PlanCancellation)},
    nested("subject", SubjectKey, "tenant_id text, subject_kind text, subject_id text"),
    nested("owner", Owner, "owner_type text, owner_id text"),
    fields(
        "topic text, event_id text, revision bigint, occurred_at timestamptz, changed_by text, asked boolean"
    ),
    fields("fee bigint", absent="0"),
    fields("currency text"),
    nested("billed_period", Period, "billed_start timestamptz, billed_end timestamptz", null="billed_start"),
    nested(
        "remaining_period",
        Period,
        "remaining_start timestamptz, remaining_end timestamptz",
        null="remaining_start",
    ),
    fields("billed_price bigint, remaining_price bigint", absent="None"),
    fields("effective_at timestamptz, unused text", absent="None"),
    fields("proration text, time_zone text", changing=True, absent="None"),
    fields("unpaid_change text, credit_as text", changing=True),
    fields("expires_after_days integer, superseded boolean", changing=True),
    fields("contents bytea"),
    key="tenant_id topic event_id",
    kind_in="topic",
)

PAYMENTS = Table(
    "payments",
    Payment,
    nested("key", PaymentKey, "tenant_id text, kind text, payment_id text"),
    nested("account", AccountKey, _ACCOUNT),
    fields("amount bigint, occurred_at timestamptz"),
    (
        Field(
            "invoice_ids",
            (Column("invoice_ids", "text[]", "row.invoice_ids"),),
            "tuple(row['invoice_ids'])",
        ),
    ),
    fields("reversed bigint, settled bigint", changing=True),
    fields("event_id text, contents bytea"),
    key="tenant_id kind payment_id",
)

REVERSALS = Table(
    "reversals",
    Reversal,
    nested("key", ReversalKey, "tenant_id text, reversal_id text"),
    fields("payment_id text, amount bigint, currency text, reason text, occurred_at timestamptz"),
    fields("event_id text, contents bytea"),
    key="tenant_id reversal_id",
)

VOIDS = Table(
    "voids",
    Void,
    nested("key", InvoiceKey, _INVOICE),
    fields("reason text, occurred_at timestamptz, event_id text, contents bytea"),
    key="tenant_id invoice_id",
)

SETTLEMENTS = Table(
    "settlements",
    Settlement,
    nested("payment", PaymentKey, "tenant_id text, kind text, payment_id text"),
    fields("n integer"),
    nested("invoice", InvoiceKey, _INVOICE),
    fields("amount bigint", changing=True),
    key="tenant_id kind payment_id n",
)

ENTITLEMENTS = Table(
    "entitlements",
    Entitlement,
    nested("key", EntitlementKey, "tenant_id text, kind text, id text, line_id text"),
    nested("account", AccountKey, _ACCOUNT),
    fields("cost bigint"),
    fields(
        "target bigint, given bigint, covered bigint, shortfall bigint, shortfall_reason text", changing=True
    ),
    fields("grants integer, source text, due_from timestamptz, settle_by timestamptz", changing=True),
    fields("as_line_item boolean, expires_after_days integer", changing=True),
    key="tenant_id kind id line_id",
)

GRANTS = Table(
    "grants",
    Grant,
    nested("key", GrantKey, "tenant_id text, grant_id uuid"),
    nested("account", AccountKey, _ACCOUNT),
    fields("amount bigint"),
    fields(
        "available bigint, reserved bigint, spent bigint, lost bigint, taken bigint, pending bigint",
        changing=True,
    ),
    fields("source text, reason text, note text, priority integer, paid_for boolean"),
    fields("effective_at timestamptz, expires_at timestamptz, reference text"),
    nested(
        "entitlement",
        EntitlementKey,
        "tenant_id text, entitlement_kind text, entitlement_id text, entitlement_line_id text",
        null="entitlement_kind",
    ),
    fields("ordinal integer, topic text, event_id text, contents bytea"),
    key="tenant_id grant_id",
    recorded_at=RECORDED_AT,
)

RESERVATIONS = Table(
    "reservations",
    Reservation,
    nested("key", ReservationKey, "tenant_id text, application_id uuid, grant_id uuid"),
    nested("account", AccountKey, _ACCOUNT),
    fields("invoice_id text, reserved_for text, seq bigint"),
    fields("amount bigint", changing=True),
    fields("topic text, event_id text"),
    fields("moved bigint", changing=True),
    key="tenant_id application_id grant_id",
)

APPLICATIONS = Table(
    "applications",
    Application,
    nested("key", ApplicationKey, "tenant_id text, application_id uuid"),
    nested("account", AccountKey, _ACCOUNT),
    nested("invoice", InvoiceKey, _INVOICE),
    fields("amount bigint, applied_by text, applied_at timestamptz"),
    fields("reinstated boolean", changing=True),
    (
        Field(
            "slices",
            (
                Column("grant_ids", "uuid[]", "[grant_id for grant_id, _ in row.slices]"),
                Column("amounts", "bigint[]", "[amount for _, amount in row.slices]"),
            ),
            "tuple(zip(row['grant_ids'], row['amounts'], strict=True))",
        ),
    ),
    fields("topic text, event_id text, moved bigint"),
    key="tenant_id application_id",
)

POLICIES = Table(
    "policies",
    PolicyVersion,
    nested("key", ScopeKey, "tenant_id text, scope text, scope_id text"),
    fields("event_id text, occurred_at timestamptz"),
    (Field("keys", (Column("keys", "jsonb", "json.dumps(row.keys)"),), "json.loads(row['keys'])"),),
    key="tenant_id event_id",
)

ENTRIES = Table(
    "entries",
    Entry,
    nested("account", AccountKey, _ACCOUNT),
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
"""The tables that the rows of a state are copied to, by their names there, in an order that foreign keys allow."""

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
