-- Open credit and open invoices are read in the order in which they are used, as far as they are needed: an account
-- with 100,000 of them costs no more than one with ten. Ids are compared byte by byte, as the service does.

SET LOCAL search_path = avoir;

DROP INDEX grants_open;
CREATE INDEX grants_open ON grants (
    tenant_id, owner_type, owner_id, currency,
    (available > 0), priority, coalesce(expires_at, 'infinity'::timestamptz), paid_for, effective_at, grant_id
) WHERE available + reserved + pending > 0;
CREATE INDEX grants_free ON grants (tenant_id, owner_type, owner_id, currency)
    WHERE available > 0 AND entitlement_kind IN ('payment', 'amount_paid');
CREATE INDEX grants_of_account_to_expire ON grants (tenant_id, owner_type, owner_id, currency, expires_at)
    WHERE expires_at IS NOT NULL AND available + reserved > 0;
CREATE INDEX grants_of_account_to_begin ON grants (tenant_id, owner_type, owner_id, currency, effective_at)
    WHERE pending > 0;

DROP INDEX invoices_open;
CREATE INDEX invoices_open ON invoices (
    tenant_id, owner_type, owner_id, currency, ((automatic AND NOT barred)::integer), finalized_at, invoice_id COLLATE "C"
) WHERE NOT voided AND total + restored > settled + applied AND total + restored > 0;

-- A change that is superseded decides nothing any more: a booking with 10,000 changes costs no more than one with two.
ALTER TABLE changes ADD COLUMN superseded boolean NOT NULL DEFAULT false;
GRANT UPDATE (superseded) ON changes TO avoir_service;
DROP INDEX changes_of_subject;
CREATE INDEX changes_of_subject ON changes (tenant_id, subject_kind, subject_id, superseded);
