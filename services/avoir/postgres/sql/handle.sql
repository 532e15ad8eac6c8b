-- The statements of the batch transaction, in the order in which it runs them.

-- name: forget_plans
-- Lets every plan of the connection be made anew at its next use, those of foreign keys included.
DISCARD PLANS;

-- name: claim_inbox
-- Claims event ids, in one order; a claim that another message holds comes back with that message's contents.
-- $1 tenants, $2 topics, $3 event ids, $4 contents.
WITH asked AS (
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bytea[]) AS v (tenant_id, topic, event_id, contents)
), claimed AS (
    INSERT INTO inbox (tenant_id, topic, event_id, contents)
    SELECT * FROM asked ORDER BY tenant_id, topic, event_id
    ON CONFLICT DO NOTHING
    RETURNING tenant_id, topic, event_id
)
SELECT tenant_id, topic, event_id FROM claimed;

-- name: read_inbox
-- The contents of event ids that were claimed before. $1 tenants, $2 topics, $3 event ids.
SELECT i.tenant_id, i.topic, i.event_id, i.contents
FROM unnest($1::text[], $2::text[], $3::text[]) AS k (tenant_id, topic, event_id)
JOIN inbox i USING (tenant_id, topic, event_id);

-- name: reclaim_inbox
-- Sets the contents of claims whose first message was not the one that was handled in the end.
-- $1 tenants, $2 topics, $3 event ids, $4 contents.
UPDATE inbox i SET contents = v.contents
FROM unnest($1::text[], $2::text[], $3::text[], $4::bytea[]) AS v (tenant_id, topic, event_id, contents)
WHERE i.tenant_id = v.tenant_id AND i.topic = v.topic AND i.event_id = v.event_id;

-- name: release_inbox
-- Gives back claims of messages that were dead-lettered, so that their event ids can be used again.
-- $1 tenants, $2 topics, $3 event ids.
DELETE FROM inbox i
USING unnest($1::text[], $2::text[], $3::text[]) AS v (tenant_id, topic, event_id)
WHERE i.tenant_id = v.tenant_id AND i.topic = v.topic AND i.event_id = v.event_id;

-- name: add_subjects
-- Placeholders for things that messages name, in one order; returns those that are new, which nobody else can lock.
-- $1 tenants, $2 kinds, $3 ids.
INSERT INTO subjects (tenant_id, kind, id)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[]) AS v (tenant_id, kind, id)
ORDER BY tenant_id, kind, id
ON CONFLICT DO NOTHING
RETURNING tenant_id, kind, id;

-- name: lock_subjects
-- Locks the things that messages name, in one order. $1 tenants, $2 kinds, $3 ids.
SELECT 1
FROM unnest($1::text[], $2::text[], $3::text[]) AS k (tenant_id, kind, id)
JOIN subjects s USING (tenant_id, kind, id)
ORDER BY tenant_id, kind, id
FOR UPDATE OF s;

-- name: read_subjects_of_invoices
-- The bookings and plans that invoices bill. $1 tenants, $2 invoice ids.
SELECT DISTINCT l.tenant_id, l.kind, l.subject_id AS id
FROM unnest($1::text[], $2::text[]) AS k (tenant_id, invoice_id)
JOIN invoice_lines l USING (tenant_id, invoice_id)
WHERE l.subject_id IS NOT NULL;

-- name: read_accounts_concerned
-- The accounts that bookings and plans, invoices, payments, applications, reservations and grants lead to.
-- $1-$3 tenants, kinds, ids of bookings and plans; $4-$5 invoices; $6-$7 payments; $8-$9 applications and reservations;
-- $10-$11 invoices that credit may be reserved for; $12-$13 grants.
SELECT i.tenant_id, i.owner_type, i.owner_id, i.currency
FROM unnest($1::text[], $2::text[], $3::text[]) AS k (tenant_id, kind, subject_id)
JOIN invoice_lines l ON l.tenant_id = k.tenant_id AND l.kind = k.kind AND l.subject_id = k.subject_id
JOIN invoices i ON i.tenant_id = l.tenant_id AND i.invoice_id = l.invoice_id
UNION
SELECT i.tenant_id, i.owner_type, i.owner_id, i.currency
FROM unnest($4::text[], $5::text[]) AS k (tenant_id, invoice_id)
JOIN invoices i USING (tenant_id, invoice_id)
UNION
SELECT p.tenant_id, p.owner_type, p.owner_id, p.currency
FROM unnest($6::text[], $7::text[]) AS k (tenant_id, payment_id)
JOIN payments p ON p.tenant_id = k.tenant_id AND p.kind = 'payment' AND p.payment_id = k.payment_id
UNION
SELECT a.tenant_id, a.owner_type, a.owner_id, a.currency
FROM unnest($8::text[], $9::uuid[]) AS k (tenant_id, application_id)
JOIN applications a USING (tenant_id, application_id)
UNION
SELECT r.tenant_id, r.owner_type, r.owner_id, r.currency
FROM unnest($8::text[], $9::uuid[]) AS k (tenant_id, application_id)
JOIN reservations r USING (tenant_id, application_id)
UNION
SELECT r.tenant_id, r.owner_type, r.owner_id, r.currency
FROM unnest($10::text[], $11::text[]) AS k (tenant_id, invoice_id)
JOIN reservations r USING (tenant_id, invoice_id)
WHERE r.amount > 0
UNION
SELECT g.tenant_id, g.owner_type, g.owner_id, g.currency
FROM unnest($12::text[], $13::uuid[]) AS k (tenant_id, grant_id)
JOIN grants g USING (tenant_id, grant_id);

-- name: add_accounts
-- Opens accounts that are new, in one order. $1 tenants, $2 owner types, $3 owner ids, $4 currencies.
INSERT INTO accounts (tenant_id, owner_type, owner_id, currency)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS v (tenant_id, owner_type, owner_id, currency)
ORDER BY tenant_id, owner_type, owner_id, currency
ON CONFLICT DO NOTHING;

-- name: lock_accounts
-- Locks accounts in one order and reads them. $1 tenants, $2 owner types, $3 owner ids, $4 currencies.
SELECT a.tenant_id, a.owner_type, a.owner_id, a.currency, a.available, a.reserved, a.seq, a.head, a.refill_asked,
    a.recorded_at
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS k (tenant_id, owner_type, owner_id, currency)
JOIN accounts a USING (tenant_id, owner_type, owner_id, currency)
ORDER BY tenant_id, owner_type, owner_id, currency
FOR UPDATE OF a;

-- name: read_moment
-- The database clock and the epoch; read after the last lock.
SELECT clock_timestamp() AS now, max(epoch) AS epoch FROM epochs;

-- name: load_applications
-- Applications by id, and all of some invoices. $1-$2 tenants, ids; $3-$4 tenants, invoice ids.
SELECT a.* FROM unnest($1::text[], $2::uuid[]) AS k (tenant_id, application_id)
JOIN applications a USING (tenant_id, application_id)
UNION
SELECT a.* FROM unnest($3::text[], $4::text[]) AS k (tenant_id, invoice_id)
JOIN applications a USING (tenant_id, invoice_id);

-- name: read_invoices_settled_by
-- The invoices that payments settled. $1 tenants, $2 payment ids.
SELECT DISTINCT s.tenant_id, s.invoice_id
FROM unnest($1::text[], $2::text[]) AS k (tenant_id, payment_id)
JOIN settlements s ON s.tenant_id = k.tenant_id AND s.kind = 'payment' AND s.payment_id = k.payment_id;

-- name: load_invoices
-- Invoices with something due of some accounts, and those whose credit is short there; the invoices that bill some bookings and plans; and invoices by id.
-- $1-$4 accounts; $5-$7 tenants, kinds, ids of bookings and plans; $8-$9 tenants, invoice ids.
WITH concerned AS (
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS k (tenant_id, owner_type, owner_id, currency)
), found AS (
    SELECT i.tenant_id, i.invoice_id FROM concerned
    JOIN invoices i USING (tenant_id, owner_type, owner_id, currency)
    WHERE NOT i.voided AND i.total + i.restored > i.settled + i.applied AND i.total + i.restored > 0
    UNION
    SELECT e.tenant_id, e.id FROM concerned
    JOIN entitlements e USING (tenant_id, owner_type, owner_id, currency)
    WHERE e.shortfall > 0 AND e.kind IN ('line', 'negative_total', 'credit_line')
    UNION
    SELECT l.tenant_id, l.invoice_id
    FROM unnest($5::text[], $6::text[], $7::text[]) AS k (tenant_id, kind, subject_id)
    JOIN invoice_lines l ON l.tenant_id = k.tenant_id AND l.kind = k.kind AND l.subject_id = k.subject_id
    UNION
    SELECT * FROM unnest($8::text[], $9::text[]) AS k (tenant_id, invoice_id)
)
SELECT i.* FROM found JOIN invoices i USING (tenant_id, invoice_id);

-- name: load_payments
-- Payments by key, those that settled some invoices, those of some accounts whose overpayment is not used up, and
-- those whose overpayment may come back, by its grants.
-- $1-$4 accounts; $5-$7 tenants, kinds, payment ids; $8-$9 tenants, invoice ids; $10-$11 tenants, grant ids.
WITH found AS (
    SELECT g.tenant_id, g.entitlement_kind AS kind, g.entitlement_id AS payment_id
    FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS k (tenant_id, owner_type, owner_id, currency)
    JOIN grants g USING (tenant_id, owner_type, owner_id, currency)
    WHERE g.available + g.reserved + g.pending > 0 AND g.entitlement_kind IN ('payment', 'amount_paid')
    UNION
    SELECT * FROM unnest($5::text[], $6::text[], $7::text[]) AS k (tenant_id, kind, payment_id)
    UNION
    SELECT s.tenant_id, s.kind, s.payment_id
    FROM unnest($8::text[], $9::text[]) AS k (tenant_id, invoice_id)
    JOIN settlements s USING (tenant_id, invoice_id)
    UNION
    SELECT g.tenant_id, g.entitlement_kind, g.entitlement_id
    FROM unnest($10::text[], $11::uuid[]) AS k (tenant_id, grant_id)
    JOIN grants g USING (tenant_id, grant_id)
    WHERE g.entitlement_kind IN ('payment', 'amount_paid')
)
SELECT p.* FROM found JOIN payments p USING (tenant_id, kind, payment_id);

-- name: load_settlements
-- All settlements of payments, in the order of their record. $1-$3 tenants, kinds, payment ids.
SELECT s.* FROM unnest($1::text[], $2::text[], $3::text[]) AS k (tenant_id, kind, payment_id)
JOIN settlements s USING (tenant_id, kind, payment_id)
ORDER BY s.tenant_id, s.kind, s.payment_id, s.n;

-- name: load_entitlements
-- Entitlements of some accounts that are short, or wait for an invoice with something due; those of the lines of some bookings and plans; all of some invoices; and by key.
-- $1-$4 accounts; $5-$7 bookings and plans; $8-$9 invoices; $10-$12 tenants, kinds, ids of payments.
WITH found AS (
    SELECT e.tenant_id, e.kind, e.id, e.line_id
    FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS k (tenant_id, owner_type, owner_id, currency)
    JOIN entitlements e USING (tenant_id, owner_type, owner_id, currency)
    WHERE e.shortfall > 0
    UNION
    SELECT e.tenant_id, e.kind, e.id, e.line_id
    FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS k (tenant_id, owner_type, owner_id, currency)
    JOIN invoices i USING (tenant_id, owner_type, owner_id, currency)
    JOIN entitlements e ON e.tenant_id = i.tenant_id AND e.kind = 'line' AND e.id = i.invoice_id
    WHERE NOT i.voided AND i.total + i.restored > i.settled + i.applied AND i.total + i.restored > 0 AND e.target <> e.given
    UNION
    SELECT l.tenant_id, 'line', l.invoice_id, l.line_id
    FROM unnest($5::text[], $6::text[], $7::text[]) AS k (tenant_id, kind, subject_id)
    JOIN invoice_lines l ON l.tenant_id = k.tenant_id AND l.kind = k.kind AND l.subject_id = k.subject_id
    UNION
    SELECT e.tenant_id, e.kind, e.id, e.line_id
    FROM unnest($8::text[], $9::text[]) AS k (tenant_id, id)
    JOIN entitlements e ON e.tenant_id = k.tenant_id AND e.kind IN ('line', 'negative_total', 'credit_line') AND e.id = k.id
    UNION
    SELECT k.tenant_id, k.kind, k.id, '' FROM unnest($10::text[], $11::text[], $12::text[]) AS k (tenant_id, kind, id)
)
SELECT e.* FROM found JOIN entitlements e USING (tenant_id, kind, id, line_id);

-- name: load_lines
-- The lines of some bookings and plans, all lines of some invoices, and lines by their ids.
-- $1-$3 bookings and plans; $4-$5 invoices; $6-$8 tenants, invoice ids, line ids.
SELECT l.* FROM unnest($1::text[], $2::text[], $3::text[]) AS k (tenant_id, kind, subject_id)
JOIN invoice_lines l ON l.tenant_id = k.tenant_id AND l.kind = k.kind AND l.subject_id = k.subject_id
UNION
SELECT l.* FROM unnest($4::text[], $5::text[]) AS k (tenant_id, invoice_id)
JOIN invoice_lines l USING (tenant_id, invoice_id)
UNION
SELECT l.* FROM unnest($6::text[], $7::text[], $8::text[]) AS k (tenant_id, invoice_id, line_id)
JOIN invoice_lines l USING (tenant_id, invoice_id, line_id);

-- name: load_grants
-- Grants of some accounts with something left or still to come, all grants of some entitlements, and grants by id and
-- by reference.
-- $1-$4 accounts; $5-$8 tenants, kinds, ids, line ids of entitlements; $9-$10 tenants, grant ids; $11-$12 tenants,
-- references.
WITH found AS (
    SELECT g.tenant_id, g.grant_id
    FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS k (tenant_id, owner_type, owner_id, currency)
    JOIN grants g USING (tenant_id, owner_type, owner_id, currency)
    WHERE g.available + g.reserved + g.pending > 0
    UNION
    SELECT g.tenant_id, g.grant_id
    FROM unnest($5::text[], $6::text[], $7::text[], $8::text[])
        AS k (tenant_id, entitlement_kind, entitlement_id, entitlement_line_id)
    JOIN grants g USING (tenant_id, entitlement_kind, entitlement_id, entitlement_line_id)
    UNION
    SELECT * FROM unnest($9::text[], $10::uuid[]) AS k (tenant_id, grant_id)
    UNION
    SELECT g.tenant_id, g.grant_id
    FROM unnest($11::text[], $12::text[]) AS k (tenant_id, reference)
    JOIN grants g USING (tenant_id, reference)
)
SELECT g.* FROM found JOIN grants g USING (tenant_id, grant_id);

-- name: load_reservations
-- What is held of some grants, and what of them was ever a line item; what was reserved under some application ids, used
-- or not; and what is held for some invoices.
-- $1-$2 tenants, grant ids; $3-$4 tenants, application ids; $5-$6 tenants, invoice ids.
SELECT r.* FROM unnest($1::text[], $2::uuid[]) AS k (tenant_id, grant_id)
JOIN reservations r USING (tenant_id, grant_id)
WHERE r.amount > 0 OR r.reserved_for = 'line_item'
UNION
SELECT r.* FROM unnest($3::text[], $4::uuid[]) AS k (tenant_id, application_id)
JOIN reservations r USING (tenant_id, application_id)
UNION
SELECT r.* FROM unnest($5::text[], $6::text[]) AS k (tenant_id, invoice_id)
JOIN reservations r USING (tenant_id, invoice_id)
WHERE r.amount > 0;

-- name: load_policies
-- All versions of the policies of some scopes. $1 tenants, $2 scopes, $3 their ids.
SELECT p.* FROM unnest($1::text[], $2::text[], $3::text[]) AS k (tenant_id, scope, scope_id)
JOIN policies p USING (tenant_id, scope, scope_id);

-- name: load_changes
-- All changes of some bookings and plans. $1-$3 tenants, kinds, ids.
SELECT c.* FROM unnest($1::text[], $2::text[], $3::text[]) AS k (tenant_id, subject_kind, subject_id)
JOIN changes c USING (tenant_id, subject_kind, subject_id);

-- name: load_reversals
-- All reversals of some payments, and reversals by id. $1-$2 tenants, payment ids; $3-$4 tenants, reversal ids.
SELECT r.* FROM unnest($1::text[], $2::text[]) AS k (tenant_id, payment_id)
JOIN reversals r USING (tenant_id, payment_id)
UNION
SELECT r.* FROM unnest($3::text[], $4::text[]) AS k (tenant_id, reversal_id)
JOIN reversals r USING (tenant_id, reversal_id);

-- name: load_voids
-- Voids of invoices, known or still to come. $1-$2 tenants, invoice ids.
SELECT v.* FROM unnest($1::text[], $2::text[]) AS k (tenant_id, invoice_id)
JOIN voids v USING (tenant_id, invoice_id);

-- name: read_accounts_to_expire
-- Accounts with grants whose end or beginning has come, the longest overdue first. $1 how many grants to look at of each.
SELECT tenant_id, owner_type, owner_id, currency
FROM (
    SELECT tenant_id, owner_type, owner_id, currency FROM grants
    WHERE expires_at <= clock_timestamp() AND available + reserved > 0
    ORDER BY expires_at LIMIT $1
) AS over
UNION
SELECT tenant_id, owner_type, owner_id, currency
FROM (
    SELECT tenant_id, owner_type, owner_id, currency FROM grants
    WHERE effective_at <= clock_timestamp() AND pending > 0
    ORDER BY effective_at LIMIT $1
) AS begun;

-- name: write_accounts
-- What accounts hold now. $1-$4 keys, $5 available, $6 reserved, $7 seq, $8 heads, $9 refills asked for, $10 recorded at.
UPDATE accounts a
SET available = v.available, reserved = v.reserved, seq = v.seq, head = v.head, refill_asked = v.refill_asked,
    recorded_at = $10
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bytea[],
    $9::boolean[])
    AS v (tenant_id, owner_type, owner_id, currency, available, reserved, seq, head, refill_asked)
WHERE a.tenant_id = v.tenant_id AND a.owner_type = v.owner_type AND a.owner_id = v.owner_id AND a.currency = v.currency;

-- name: write_invoices
-- New invoices, and what changed of known ones. $1-$18 the columns in the table's order.
INSERT INTO invoices AS i (tenant_id, invoice_id, owner_type, owner_id, currency, number, finalized_at, total,
    amount_paid, automatic, barred, voided, settled, applied, settled_at, event_id, contents,
    restored)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::timestamptz[],
    $8::bigint[], $9::bigint[], $10::boolean[], $11::boolean[], $12::boolean[], $13::bigint[], $14::bigint[],
    $15::timestamptz[], $16::text[], $17::bytea[], $18::bigint[])
ON CONFLICT (tenant_id, invoice_id) DO UPDATE
SET barred = excluded.barred, voided = excluded.voided, settled = excluded.settled, applied = excluded.applied,
    settled_at = excluded.settled_at, restored = excluded.restored;

-- name: write_payments
-- New payments, and what changed of known ones. $1-$12 the columns in the table's order, invoice ids as JSON arrays.
INSERT INTO payments AS p (tenant_id, kind, payment_id, owner_type, owner_id, currency, amount, occurred_at,
    invoice_ids, reversed, settled, event_id, contents)
SELECT v.tenant_id, v.kind, v.payment_id, v.owner_type, v.owner_id, v.currency, v.amount, v.occurred_at,
    ARRAY(SELECT jsonb_array_elements_text(v.invoice_ids)), v.reversed, v.settled, v.event_id, v.contents
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bigint[], $8::timestamptz[],
    $9::jsonb[], $10::bigint[], $11::bigint[], $12::text[], $13::bytea[])
    AS v (tenant_id, kind, payment_id, owner_type, owner_id, currency, amount, occurred_at, invoice_ids, reversed,
        settled, event_id, contents)
ON CONFLICT (tenant_id, kind, payment_id) DO UPDATE SET reversed = excluded.reversed, settled = excluded.settled;

-- name: write_settlements
-- New settlements, and what is left of undone ones. $1-$6 the columns in the table's order.
INSERT INTO settlements AS s (tenant_id, kind, payment_id, n, invoice_id, amount)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::integer[], $5::text[], $6::bigint[])
ON CONFLICT (tenant_id, kind, payment_id, n) DO UPDATE SET amount = excluded.amount;

-- name: write_entitlements
-- New entitlements, and what changed of known ones. $1-$19 the columns in the table's order.
INSERT INTO entitlements AS e (tenant_id, kind, id, line_id, owner_type, owner_id, currency, cost, target, given,
    covered, shortfall, shortfall_reason, grants, source, due_from, settle_by, as_line_item,
    expires_after_days)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::bigint[],
    $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[], $13::text[], $14::integer[], $15::text[],
    $16::timestamptz[], $17::timestamptz[], $18::boolean[], $19::integer[])
ON CONFLICT (tenant_id, kind, id, line_id) DO UPDATE
SET target = excluded.target, given = excluded.given, covered = excluded.covered, shortfall = excluded.shortfall,
    shortfall_reason = excluded.shortfall_reason, grants = excluded.grants, source = excluded.source,
    due_from = excluded.due_from, settle_by = excluded.settle_by, as_line_item = excluded.as_line_item,
    expires_after_days = excluded.expires_after_days;

-- name: write_grants
-- New grants, and where the amounts of known ones are now. $1-$27 columns, $28 recorded at.
INSERT INTO grants AS g (tenant_id, grant_id, owner_type, owner_id, currency, amount, available, reserved, spent, lost,
    taken, source, reason, note, priority, paid_for, effective_at, expires_at, reference, entitlement_kind,
    entitlement_id, entitlement_line_id, ordinal, topic, event_id, pending, contents, recorded_at)
SELECT v.*, $28::timestamptz
FROM unnest($1::text[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::bigint[], $8::bigint[],
    $9::bigint[], $10::bigint[], $11::bigint[], $12::text[], $13::text[], $14::text[], $15::integer[], $16::boolean[],
    $17::timestamptz[], $18::timestamptz[], $19::text[], $20::text[], $21::text[], $22::text[], $23::integer[],
    $24::text[], $25::text[], $26::bigint[], $27::bytea[]) AS v
ON CONFLICT (tenant_id, grant_id) DO UPDATE
SET available = excluded.available, reserved = excluded.reserved, spent = excluded.spent, lost = excluded.lost,
    taken = excluded.taken, pending = excluded.pending;

-- name: write_changes
-- New changes, and the policy values of known ones. $1-$27 the columns.
INSERT INTO changes AS c (tenant_id, topic, event_id, subject_kind, subject_id, owner_type, owner_id, revision, occurred_at,
    changed_by, asked, fee, currency, billed_start, billed_end, remaining_start, remaining_end, billed_price,
    remaining_price, effective_at, unused, proration, time_zone, unpaid_change, credit_as, expires_after_days, contents)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::bigint[],
    $9::timestamptz[], $10::text[], $11::boolean[], $12::bigint[], $13::text[], $14::timestamptz[], $15::timestamptz[],
    $16::timestamptz[], $17::timestamptz[], $18::bigint[], $19::bigint[], $20::timestamptz[], $21::text[], $22::text[],
    $23::text[], $24::text[], $25::text[], $26::integer[], $27::bytea[])
ON CONFLICT (tenant_id, topic, event_id) DO UPDATE
SET proration = excluded.proration, time_zone = excluded.time_zone, unpaid_change = excluded.unpaid_change,
    credit_as = excluded.credit_as, expires_after_days = excluded.expires_after_days;

-- name: write_reservations
-- New reservations, and what known ones still hold. $1-$12 the columns in the table's order.
INSERT INTO reservations AS r (tenant_id, application_id, grant_id, owner_type, owner_id, currency, invoice_id,
    reserved_for, seq, amount, topic, event_id)
SELECT * FROM unnest($1::text[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
    $9::bigint[], $10::bigint[], $11::text[], $12::text[])
ON CONFLICT (tenant_id, application_id, grant_id) DO UPDATE SET amount = excluded.amount;

-- name: write_applications
-- New applications, and those that were reinstated. $1-$10 columns, $11 slices as JSON ([[grant id, micros], ...]),
-- $12 topics, $13 event ids, $14 what was moved from line items.
INSERT INTO applications AS a (tenant_id, application_id, owner_type, owner_id, currency, invoice_id, amount,
    applied_by, applied_at, reinstated, grant_ids, amounts, topic, event_id, moved)
SELECT v.tenant_id, v.application_id, v.owner_type, v.owner_id, v.currency, v.invoice_id, v.amount, v.applied_by,
    v.applied_at, v.reinstated,
    ARRAY(SELECT (part ->> 0)::uuid FROM jsonb_array_elements(v.slices) AS part),
    ARRAY(SELECT (part ->> 1)::bigint FROM jsonb_array_elements(v.slices) AS part),
    v.topic, v.event_id, v.moved
FROM unnest($1::text[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bigint[], $8::text[],
    $9::timestamptz[], $10::boolean[], $11::jsonb[], $12::text[], $13::text[], $14::bigint[])
    AS v (tenant_id, application_id, owner_type, owner_id, currency, invoice_id, amount, applied_by, applied_at,
        reinstated, slices, topic, event_id, moved)
ON CONFLICT (tenant_id, application_id) DO UPDATE SET reinstated = excluded.reinstated;
