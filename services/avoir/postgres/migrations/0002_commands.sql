-- What commands need: grants whose time is to come, credit set aside, credit lines, refills, policies.

SET LOCAL search_path = avoir;

ALTER TABLE accounts ADD COLUMN refill_asked boolean NOT NULL DEFAULT false;

-- An invoice's credit lines that were reinstated no longer lower its total.
ALTER TABLE invoices ADD COLUMN restored bigint NOT NULL DEFAULT 0 CHECK (restored >= 0);
ALTER TABLE invoices DROP CONSTRAINT invoices_check;
ALTER TABLE invoices ADD CHECK (voided OR settled + applied <= greatest(total + restored, 0));
DROP INDEX invoices_open;
CREATE INDEX invoices_open ON invoices (tenant_id, owner_type, owner_id, currency)
    WHERE NOT voided AND total + restored > settled + applied AND total + restored > 0;

ALTER TABLE changes ADD COLUMN owner_type text NOT NULL DEFAULT '';
ALTER TABLE changes ADD COLUMN owner_id text NOT NULL DEFAULT '';
ALTER TABLE changes ADD COLUMN credit_as text NOT NULL DEFAULT 'balance' CHECK (credit_as IN ('balance', 'line_item'));
ALTER TABLE changes ADD COLUMN expires_after_days integer CHECK (expires_after_days > 0);

ALTER TABLE entitlements ADD COLUMN as_line_item boolean NOT NULL DEFAULT false;
ALTER TABLE entitlements ADD COLUMN expires_after_days integer CHECK (expires_after_days > 0);
ALTER TABLE entitlements DROP CONSTRAINT entitlements_kind_check;
ALTER TABLE entitlements ADD CHECK (kind IN ('line', 'payment', 'amount_paid', 'negative_total', 'credit_line'));

ALTER TABLE grants ADD COLUMN pending bigint NOT NULL DEFAULT 0 CHECK (pending >= 0);
ALTER TABLE grants ADD COLUMN contents bytea;
ALTER TABLE grants DROP CONSTRAINT grant_adds_up;
ALTER TABLE grants ADD CONSTRAINT grant_adds_up
    CHECK (amount = pending + available + reserved + spent + lost + taken);
DROP INDEX grants_open;
CREATE INDEX grants_open ON grants (tenant_id, owner_type, owner_id, currency)
    WHERE available + reserved + pending > 0;
CREATE INDEX grants_to_begin ON grants (effective_at) WHERE pending > 0;

-- What `apply-credit` took of a line item for an application.
ALTER TABLE applications ADD COLUMN moved bigint NOT NULL DEFAULT 0 CHECK (moved BETWEEN 0 AND amount);

CREATE TABLE reservations (
    tenant_id text NOT NULL,
    application_id uuid NOT NULL,
    grant_id uuid NOT NULL,
    owner_type text NOT NULL,
    owner_id text NOT NULL,
    currency text NOT NULL,
    invoice_id text,
    reserved_for text NOT NULL CHECK (reserved_for IN ('line_item', 'command')),
    seq bigint NOT NULL CHECK (seq >= 1),
    amount bigint NOT NULL CHECK (amount >= 0),
    topic text NOT NULL,
    event_id text NOT NULL,
    PRIMARY KEY (tenant_id, application_id, grant_id),
    FOREIGN KEY (tenant_id, grant_id) REFERENCES grants
) WITH (fillfactor = 80);
CREATE INDEX reservations_of_grant ON reservations (tenant_id, grant_id);
CREATE INDEX reservations_held ON reservations (tenant_id, grant_id) WHERE amount > 0 OR reserved_for = 'line_item';
CREATE INDEX reservations_of_invoice ON reservations (tenant_id, invoice_id) WHERE amount > 0;

-- One row for each `set-credit-policy`: the history of the policy keys.
CREATE TABLE policies (
    tenant_id text NOT NULL,
    event_id text NOT NULL,
    scope text NOT NULL CHECK (scope IN ('tenant', 'owner', 'invoice')),
    scope_id text NOT NULL,
    occurred_at timestamptz NOT NULL,
    keys jsonb NOT NULL,
    PRIMARY KEY (tenant_id, event_id)
);
CREATE INDEX policies_of_scope ON policies (tenant_id, scope, scope_id);

GRANT SELECT ON reservations, policies TO avoir_service, avoir_readonly;
GRANT INSERT, UPDATE ON reservations TO avoir_service;
GRANT INSERT ON policies TO avoir_service;
GRANT UPDATE (proration, time_zone, unpaid_change, credit_as, expires_after_days) ON changes TO avoir_service;
