-- The statements of the batch transaction, in the order in which it runs them.

-- name: discard_plans
-- Discards all plans of the connection, those of foreign keys included, so that they are planned again at their next
-- use.
DISCARD PLANS;

-- name: claim_inbox
-- Claims event ids, in the lock order, and returns those that are new. A claim by a transaction in progress is waited
-- for.
WITH asked AS (
    SELECT * FROM unnest(:keys.tenant_id::text[], :keys.topic::text[], :keys.event_id::text[], :contents::bytea[])
        AS v (tenant_id, topic, event_id, contents)
), claimed AS (
    INSERT INTO inbox (tenant_id, topic, event_id, contents)
    SELECT * FROM asked ORDER BY tenant_id, topic, event_id
    ON CONFLICT DO NOTHING
    RETURNING tenant_id, topic, event_id
)
SELECT tenant_id, topic, event_id FROM claimed;

-- name: read_inbox
-- The contents of event ids that were claimed before.
SELECT i.tenant_id, i.topic, i.event_id, i.contents
FROM unnest(:keys.tenant_id::text[], :keys.topic::text[], :keys.event_id::text[]) AS k (tenant_id, topic, event_id)
JOIN inbox i USING (tenant_id, topic, event_id);

-- name: reclaim_inbox
-- Sets the contents of claims whose first message was not the one that was handled in the end.
UPDATE inbox i SET contents = v.contents
FROM unnest(:keys.tenant_id::text[], :keys.topic::text[], :keys.event_id::text[], :contents::bytea[])
    AS v (tenant_id, topic, event_id, contents)
WHERE i.tenant_id = v.tenant_id AND i.topic = v.topic AND i.event_id = v.event_id;

-- name: release_inbox
-- Deletes the claims of messages that were dead-lettered, so that their event ids can be used again.
DELETE FROM inbox i
USING unnest(:keys.tenant_id::text[], :keys.topic::text[], :keys.event_id::text[]) AS v (tenant_id, topic, event_id)
WHERE i.tenant_id = v.tenant_id AND i.topic = v.topic AND i.event_id = v.event_id;

-- name: add_subjects
-- Adds placeholders for the subjects that messages name, in the lock order; returns the new ones, which no other
-- transaction can see, or lock, yet.
INSERT INTO subjects (tenant_id, kind, id)
SELECT * FROM unnest(:subjects.tenant_id::text[], :subjects.kind::text[], :subjects.id::text[]) AS v (tenant_id, kind, id)
ORDER BY tenant_id, kind, id
ON CONFLICT DO NOTHING
RETURNING tenant_id, kind, id;

-- name: lock_subjects
-- Locks the subjects that messages name, in the lock order.
SELECT 1
FROM unnest(:subjects.tenant_id::text[], :subjects.kind::text[], :subjects.id::text[]) AS k (tenant_id, kind, id)
JOIN subjects s USING (tenant_id, kind, id)
ORDER BY tenant_id, kind, id
FOR UPDATE OF s;

-- name: read_subjects_of_invoices
-- The bookings and plans that invoices bill.
SELECT DISTINCT l.tenant_id, l.kind, l.subject_id AS id
FROM unnest(:invoices.tenant_id::text[], :invoices.invoice_id::text[]) AS k (tenant_id, invoice_id)
JOIN invoice_lines l USING (tenant_id, invoice_id)
WHERE l.subject_id IS NOT NULL;

-- name: read_changed
-- Those of some bookings and plans that were ever changed.
SELECT k.tenant_id, k.kind, k.id
FROM unnest(:subjects.tenant_id::text[], :subjects.kind::text[], :subjects.id::text[]) AS k (tenant_id, kind, id)
WHERE EXISTS (
    SELECT FROM changes c WHERE c.tenant_id = k.tenant_id AND c.subject_kind = k.kind AND c.subject_id = k.id
);

-- name: read_accounts_concerned
-- The accounts that bookings and plans, invoices, payments, applications, reservations and grants lead to.
-- `reserved_for` are invoices that credit may be reserved for.
SELECT i.tenant_id, i.owner_type, i.owner_id, i.currency
FROM unnest(:subjects.tenant_id::text[], :subjects.kind::text[], :subjects.id::text[]) AS k (tenant_id, kind, subject_id)
JOIN invoice_lines l ON l.tenant_id = k.tenant_id AND l.kind = k.kind AND l.subject_id = k.subject_id
JOIN invoices i ON i.tenant_id = l.tenant_id AND i.invoice_id = l.invoice_id
UNION
SELECT i.tenant_id, i.owner_type, i.owner_id, i.currency
FROM unnest(:invoices.tenant_id::text[], :invoices.invoice_id::text[]) AS k (tenant_id, invoice_id)
JOIN invoices i USING (tenant_id, invoice_id)
UNION
SELECT p.tenant_id, p.owner_type, p.owner_id, p.currency
FROM unnest(:payments.tenant_id::text[], :payments.id::text[]) AS k (tenant_id, payment_id)
JOIN payments p ON p.tenant_id = k.tenant_id AND p.kind = 'payment' AND p.payment_id = k.payment_id
UNION
SELECT a.tenant_id, a.owner_type, a.owner_id, a.currency
FROM unnest(:applications.tenant_id::text[], :applications.id::uuid[]) AS k (tenant_id, application_id)
JOIN applications a USING (tenant_id, application_id)
UNION
SELECT r.tenant_id, r.owner_type, r.owner_id, r.currency
FROM unnest(:applications.tenant_id::text[], :applications.id::uuid[]) AS k (tenant_id, application_id)
JOIN reservations r USING (tenant_id, application_id)
UNION
SELECT r.tenant_id, r.owner_type, r.owner_id, r.currency
FROM unnest(:reserved_for.tenant_id::text[], :reserved_for.invoice_id::text[]) AS k (tenant_id, invoice_id)
JOIN reservations r USING (tenant_id, invoice_id)
WHERE r.amount > 0
UNION
SELECT g.tenant_id, g.owner_type, g.owner_id, g.currency
FROM unnest(:grants.tenant_id::text[], :grants.id::uuid[]) AS k (tenant_id, grant_id)
JOIN grants g USING (tenant_id, grant_id);

-- name: add_accounts
-- Adds new accounts, in the lock order.
INSERT INTO accounts (tenant_id, owner_type, owner_id, currency)
SELECT * FROM unnest(
    :accounts.tenant_id::text[], :accounts.owner_type::text[], :accounts.owner_id::text[], :accounts.currency::text[]
) AS v (tenant_id, owner_type, owner_id, currency)
ORDER BY tenant_id, owner_type, owner_id, currency
ON CONFLICT DO NOTHING;

-- name: lock_accounts
-- Locks accounts in the lock order, and reads them.
SELECT a.*
FROM unnest(
    :accounts.tenant_id::text[], :accounts.owner_type::text[], :accounts.owner_id::text[], :accounts.currency::text[]
) AS k (tenant_id, owner_type, owner_id, currency)
JOIN accounts a USING (tenant_id, owner_type, owner_id, currency)
ORDER BY tenant_id, owner_type, owner_id, currency
FOR UPDATE OF a;

-- name: read_moment
-- The database clock and the epoch, read after the last lock, so that an account's entries are recorded in the order of
-- their times.
SELECT clock_timestamp() AS now, max(epoch) AS epoch FROM epochs;

-- name: load_applications
-- Applications by id, and all applications of some invoices.
SELECT a.* FROM unnest(:applications.tenant_id::text[], :applications.id::uuid[]) AS k (tenant_id, application_id)
JOIN applications a USING (tenant_id, application_id)
UNION
SELECT a.* FROM unnest(:invoices.tenant_id::text[], :invoices.invoice_id::text[]) AS k (tenant_id, invoice_id)
JOIN applications a USING (tenant_id, invoice_id);

-- name: read_invoices_settled_by
-- The invoices that payments settled.
SELECT DISTINCT s.tenant_id, s.invoice_id
FROM unnest(:payments.tenant_id::text[], :payments.id::text[]) AS k (tenant_id, payment_id)
JOIN settlements s ON s.tenant_id = k.tenant_id AND s.kind = 'payment' AND s.payment_id = k.payment_id;

-- name: load_open_invoices
-- The first invoices of some accounts with something due after a place, oldest finalization first. `limit` is per
-- account; `only_taking` leaves out invoices that take no credit. The conditions and the order are those of the index
-- `invoices_open`, once for each value of its expression column.
SELECT i.*
FROM unnest(
    :accounts.tenant_id::text[], :accounts.owner_type::text[], :accounts.owner_id::text[], :accounts.currency::text[]
) AS k (tenant_id, owner_type, owner_id, currency)
CROSS JOIN LATERAL (
    SELECT *
    FROM (
        (SELECT t.* FROM invoices t
         WHERE t.tenant_id = k.tenant_id AND t.owner_type = k.owner_type AND t.owner_id = k.owner_id
           AND t.currency = k.currency AND (t.automatic AND NOT t.barred)::integer = 1
           AND NOT t.voided AND t.total + t.restored > t.settled + t.applied AND t.total + t.restored > 0
           AND (t.finalized_at, t.invoice_id COLLATE "C") > (:after.finalized_at::timestamptz, :after.invoice_id::text)
         ORDER BY t.finalized_at, t.invoice_id COLLATE "C" LIMIT :limit)
        UNION ALL
        (SELECT t.* FROM invoices t
         WHERE NOT :only_taking AND t.tenant_id = k.tenant_id AND t.owner_type = k.owner_type AND t.owner_id = k.owner_id
           AND t.currency = k.currency AND (t.automatic AND NOT t.barred)::integer = 0
           AND NOT t.voided AND t.total + t.restored > t.settled + t.applied AND t.total + t.restored > 0
           AND (t.finalized_at, t.invoice_id COLLATE "C") > (:after.finalized_at::timestamptz, :after.invoice_id::text)
         ORDER BY t.finalized_at, t.invoice_id COLLATE "C" LIMIT :limit)
    ) AS both_kinds
    ORDER BY finalized_at, invoice_id COLLATE "C" LIMIT :limit
) AS i;

-- name: load_grants_in_use
-- The first grants of some accounts with something available after a place in the order of use. `limit` is per account.
-- The conditions and the order are those of the index `grants_open`.
SELECT g.*
FROM unnest(
    :accounts.tenant_id::text[], :accounts.owner_type::text[], :accounts.owner_id::text[], :accounts.currency::text[]
) AS k (tenant_id, owner_type, owner_id, currency)
CROSS JOIN LATERAL (
    SELECT o.* FROM grants o
    WHERE o.tenant_id = k.tenant_id AND o.owner_type = k.owner_type AND o.owner_id = k.owner_id
      AND o.currency = k.currency AND (o.available > 0) AND o.available + o.reserved + o.pending > 0
      AND (o.priority, coalesce(o.expires_at, 'infinity'::timestamptz), o.paid_for, o.effective_at, o.grant_id)
        > (:after.priority::integer, coalesce(:after.expires_at::timestamptz, 'infinity'::timestamptz),
           :after.paid_for::boolean, :after.effective_at::timestamptz, :after.id::uuid)
    ORDER BY o.priority, coalesce(o.expires_at, 'infinity'::timestamptz), o.paid_for, o.effective_at, o.grant_id
    LIMIT :limit
) AS g;

-- name: load_due_grants
-- The grants of some accounts whose expiry or effective time has come, the longest overdue first. `limit` is per
-- account and kind.
SELECT g.*
FROM unnest(
    :accounts.tenant_id::text[], :accounts.owner_type::text[], :accounts.owner_id::text[], :accounts.currency::text[]
) AS k (tenant_id, owner_type, owner_id, currency)
CROSS JOIN LATERAL (
    (SELECT o.* FROM grants o
     WHERE o.tenant_id = k.tenant_id AND o.owner_type = k.owner_type AND o.owner_id = k.owner_id
       AND o.currency = k.currency AND o.expires_at IS NOT NULL AND o.expires_at <= :now AND o.available + o.reserved > 0
     ORDER BY o.expires_at, o.grant_id LIMIT :limit)
    UNION ALL
    (SELECT o.* FROM grants o
     WHERE o.tenant_id = k.tenant_id AND o.owner_type = k.owner_type AND o.owner_id = k.owner_id
       AND o.currency = k.currency AND o.effective_at <= :now AND o.pending > 0
     ORDER BY o.effective_at, o.grant_id LIMIT :limit)
) AS g;

-- name: load_invoices
-- Invoices of some accounts whose credit is short; the invoices that bill some bookings and plans; and invoices by id.
WITH wanted AS (
    SELECT e.tenant_id, e.id AS invoice_id
    FROM unnest(
        :accounts.tenant_id::text[], :accounts.owner_type::text[], :accounts.owner_id::text[],
        :accounts.currency::text[]
    ) AS k (tenant_id, owner_type, owner_id, currency)
    JOIN entitlements e USING (tenant_id, owner_type, owner_id, currency)
    WHERE e.shortfall > 0 AND e.kind IN ('line', 'negative_total', 'credit_line')
    UNION
    SELECT l.tenant_id, l.invoice_id
    FROM unnest(:subjects.tenant_id::text[], :subjects.kind::text[], :subjects.id::text[]) AS k (tenant_id, kind, subject_id)
    JOIN invoice_lines l ON l.tenant_id = k.tenant_id AND l.kind = k.kind AND l.subject_id = k.subject_id
    UNION
    SELECT * FROM unnest(:invoices.tenant_id::text[], :invoices.invoice_id::text[]) AS k (tenant_id, invoice_id)
)
SELECT i.* FROM wanted JOIN invoices i USING (tenant_id, invoice_id);

-- name: load_payments
-- Payments by key, those that settled some invoices, those of some accounts with overpayment left, and those whose
-- overpayment may come back, by its grants. OFFSET 0 keeps each account a search of its own: planned while few rows
-- match, a join would read those of all accounts.
WITH wanted AS (
    SELECT g.tenant_id, g.entitlement_kind AS kind, g.entitlement_id AS payment_id
    FROM unnest(
        :accounts.tenant_id::text[], :accounts.owner_type::text[], :accounts.owner_id::text[],
        :accounts.currency::text[]
    ) AS k (tenant_id, owner_type, owner_id, currency)
    CROSS JOIN LATERAL (
        SELECT o.* FROM grants o
        WHERE o.tenant_id = k.tenant_id AND o.owner_type = k.owner_type AND o.owner_id = k.owner_id
          AND o.currency = k.currency AND o.available > 0 AND o.entitlement_kind IN ('payment', 'amount_paid')
        OFFSET 0
    ) AS g
    UNION
    SELECT * FROM unnest(:payments.tenant_id::text[], :payments.kind::text[], :payments.id::text[])
        AS k (tenant_id, kind, payment_id)
    UNION
    SELECT s.tenant_id, s.kind, s.payment_id
    FROM unnest(:invoices.tenant_id::text[], :invoices.invoice_id::text[]) AS k (tenant_id, invoice_id)
    JOIN settlements s USING (tenant_id, invoice_id)
    UNION
    SELECT g.tenant_id, g.entitlement_kind, g.entitlement_id
    FROM unnest(:grants.tenant_id::text[], :grants.id::uuid[]) AS k (tenant_id, grant_id)
    JOIN grants g USING (tenant_id, grant_id)
    WHERE g.entitlement_kind IN ('payment', 'amount_paid')
)
SELECT p.* FROM wanted JOIN payments p USING (tenant_id, kind, payment_id);

-- name: load_settlements
-- All settlements of some invoices.
SELECT s.* FROM unnest(:invoices.tenant_id::text[], :invoices.invoice_id::text[]) AS k (tenant_id, invoice_id)
JOIN settlements s USING (tenant_id, invoice_id);

-- name: read_last_settlements
-- The number of each payment's last settlement.
SELECT k.tenant_id, k.kind, k.payment_id AS id, l.n
FROM unnest(:payments.tenant_id::text[], :payments.kind::text[], :payments.id::text[]) AS k (tenant_id, kind, payment_id)
CROSS JOIN LATERAL (
    SELECT s.n FROM settlements s
    WHERE s.tenant_id = k.tenant_id AND s.kind = k.kind AND s.payment_id = k.payment_id
    ORDER BY s.n DESC LIMIT 1
) AS l;

-- name: load_entitlements
-- Entitlements of some accounts that are short; those that wait for some invoices (`waited_for`); those of the lines of
-- some bookings and plans; all of some invoices; and by key. OFFSET 0 keeps each invoice a search of its own.
WITH wanted AS (
    SELECT e.tenant_id, e.kind, e.id, e.line_id
    FROM unnest(
        :accounts.tenant_id::text[], :accounts.owner_type::text[], :accounts.owner_id::text[],
        :accounts.currency::text[]
    ) AS k (tenant_id, owner_type, owner_id, currency)
    JOIN entitlements e USING (tenant_id, owner_type, owner_id, currency)
    WHERE e.shortfall > 0
    UNION
    SELECT e.tenant_id, e.kind, e.id, e.line_id
    FROM unnest(:waited_for.tenant_id::text[], :waited_for.invoice_id::text[]) AS k (tenant_id, id)
    CROSS JOIN LATERAL (
        SELECT w.* FROM entitlements w
        WHERE w.tenant_id = k.tenant_id AND w.kind = 'line' AND w.id = k.id AND w.target <> w.given
        OFFSET 0
    ) AS e
    UNION
    SELECT l.tenant_id, 'line', l.invoice_id, l.line_id
    FROM unnest(:subjects.tenant_id::text[], :subjects.kind::text[], :subjects.id::text[]) AS k (tenant_id, kind, subject_id)
    JOIN invoice_lines l ON l.tenant_id = k.tenant_id AND l.kind = k.kind AND l.subject_id = k.subject_id
    UNION
    SELECT e.tenant_id, e.kind, e.id, e.line_id
    FROM unnest(:invoices.tenant_id::text[], :invoices.invoice_id::text[]) AS k (tenant_id, id)
    JOIN entitlements e ON e.tenant_id = k.tenant_id AND e.kind IN ('line', 'negative_total', 'credit_line') AND e.id = k.id
    UNION
    SELECT k.tenant_id, k.kind, k.id, '' FROM unnest(
        :payments.tenant_id::text[], :payments.kind::text[], :payments.id::text[]
    ) AS k (tenant_id, kind, id)
)
SELECT e.* FROM wanted JOIN entitlements e USING (tenant_id, kind, id, line_id);

-- name: load_lines
-- The lines of some bookings and plans, all lines of some invoices, and lines by id.
SELECT l.* FROM unnest(:subjects.tenant_id::text[], :subjects.kind::text[], :subjects.id::text[])
    AS k (tenant_id, kind, subject_id)
JOIN invoice_lines l ON l.tenant_id = k.tenant_id AND l.kind = k.kind AND l.subject_id = k.subject_id
UNION
SELECT l.* FROM unnest(:invoices.tenant_id::text[], :invoices.invoice_id::text[]) AS k (tenant_id, invoice_id)
JOIN invoice_lines l USING (tenant_id, invoice_id)
UNION
SELECT l.* FROM unnest(:lines.tenant_id::text[], :lines.id::text[], :lines.line_id::text[])
    AS k (tenant_id, invoice_id, line_id)
JOIN invoice_lines l USING (tenant_id, invoice_id, line_id);

-- name: load_grants
-- All grants of some entitlements, and grants by id and by reference.
WITH wanted AS (
    SELECT g.tenant_id, g.grant_id
    FROM unnest(:entitlements.tenant_id::text[], :entitlements.kind::text[], :entitlements.id::text[],
        :entitlements.line_id::text[])
        AS k (tenant_id, entitlement_kind, entitlement_id, entitlement_line_id)
    JOIN grants g USING (tenant_id, entitlement_kind, entitlement_id, entitlement_line_id)
    UNION
    SELECT * FROM unnest(:grants.tenant_id::text[], :grants.id::uuid[]) AS k (tenant_id, grant_id)
    UNION
    SELECT g.tenant_id, g.grant_id
    FROM unnest(:references.tenant_id::text[], :references.reference::text[]) AS k (tenant_id, reference)
    JOIN grants g USING (tenant_id, reference)
)
SELECT g.* FROM wanted JOIN grants g USING (tenant_id, grant_id);

-- name: load_reservations
-- The current reservations of some grants, and those of them that were ever a line item; those with some application
-- ids, used or not; and the current ones for some invoices.
SELECT r.* FROM unnest(:grants.tenant_id::text[], :grants.id::uuid[]) AS k (tenant_id, grant_id)
JOIN reservations r USING (tenant_id, grant_id)
WHERE r.amount > 0 OR r.reserved_for = 'line_item'
UNION
SELECT r.* FROM unnest(:applications.tenant_id::text[], :applications.id::uuid[]) AS k (tenant_id, application_id)
JOIN reservations r USING (tenant_id, application_id)
UNION
SELECT r.* FROM unnest(:invoices.tenant_id::text[], :invoices.invoice_id::text[]) AS k (tenant_id, invoice_id)
JOIN reservations r USING (tenant_id, invoice_id)
WHERE r.amount > 0;

-- name: load_policies
-- All versions of the policies of some scopes.
SELECT p.* FROM unnest(:scopes.tenant_id::text[], :scopes.scope::text[], :scopes.id::text[])
    AS k (tenant_id, scope, scope_id)
JOIN policies p USING (tenant_id, scope, scope_id);

-- name: load_changes
-- The changes of some bookings and plans that are not superseded.
SELECT c.* FROM unnest(:subjects.tenant_id::text[], :subjects.kind::text[], :subjects.id::text[])
    AS k (tenant_id, subject_kind, subject_id)
JOIN changes c USING (tenant_id, subject_kind, subject_id)
WHERE NOT c.superseded;

-- name: count_changed_lines
-- The number of lines, at most `limit`, of each of some bookings and plans that were changed before or are changed by
-- the batch (`changing`).
SELECT k.tenant_id, k.kind, k.subject_id AS id, (
    SELECT count(*) FROM (
        SELECT FROM invoice_lines l
        WHERE l.tenant_id = k.tenant_id AND l.kind = k.kind AND l.subject_id = k.subject_id LIMIT :limit
    ) AS counted
) AS lines
FROM unnest(:subjects.tenant_id::text[], :subjects.kind::text[], :subjects.id::text[]) AS k (tenant_id, kind, subject_id)
WHERE EXISTS (
    SELECT FROM changes c WHERE c.tenant_id = k.tenant_id AND c.subject_kind = k.kind AND c.subject_id = k.subject_id
) OR (k.tenant_id, k.kind, k.subject_id)
    IN (SELECT * FROM unnest(:changing.tenant_id::text[], :changing.kind::text[], :changing.id::text[]));

-- name: read_lines_elsewhere
-- The number of lines, at most `limit`, of each of some bookings and plans.
SELECT k.tenant_id, k.kind, k.subject_id AS id, (
    SELECT count(*) FROM (
        SELECT FROM invoice_lines l
        WHERE l.tenant_id = k.tenant_id AND l.kind = k.kind AND l.subject_id = k.subject_id LIMIT :limit
    ) AS counted
) AS lines
FROM unnest(:subjects.tenant_id::text[], :subjects.kind::text[], :subjects.id::text[]) AS k (tenant_id, kind, subject_id);

-- name: load_reversals
-- All reversals of some payments, and reversals by id.
SELECT r.* FROM unnest(:payments.tenant_id::text[], :payments.id::text[]) AS k (tenant_id, payment_id)
JOIN reversals r USING (tenant_id, payment_id)
UNION
SELECT r.* FROM unnest(:reversals.tenant_id::text[], :reversals.id::text[]) AS k (tenant_id, reversal_id)
JOIN reversals r USING (tenant_id, reversal_id);

-- name: load_voids
-- Voids of invoices, known or still to come.
SELECT v.* FROM unnest(:invoices.tenant_id::text[], :invoices.invoice_id::text[]) AS k (tenant_id, invoice_id)
JOIN voids v USING (tenant_id, invoice_id);

-- name: read_accounts_to_expire
-- The accounts of the grants that are longest overdue to expire or to be issued. `limit` is the number of grants of
-- each kind.
SELECT tenant_id, owner_type, owner_id, currency
FROM (
    SELECT tenant_id, owner_type, owner_id, currency FROM grants
    WHERE expires_at <= clock_timestamp() AND available + reserved > 0
    ORDER BY expires_at LIMIT :limit
) AS over
UNION
SELECT tenant_id, owner_type, owner_id, currency
FROM (
    SELECT tenant_id, owner_type, owner_id, currency FROM grants
    WHERE effective_at <= clock_timestamp() AND pending > 0
    ORDER BY effective_at LIMIT :limit
) AS begun;

-- name: count_dead_letters
-- Counts dead letters of topics in a minute, over all processes, and returns each topic's totals including these.
-- Topics are passed in order, which is the lock order.
INSERT INTO dead_letter_rates AS r (topic, minute, letters, bytes)
SELECT v.topic, :minute, v.letters, v.bytes FROM unnest(:topics::text[], :letters::bigint[], :bytes::bigint[])
    AS v(topic, letters, bytes)
ON CONFLICT (topic) DO UPDATE
SET minute = greatest(r.minute, excluded.minute),
    letters = CASE WHEN r.minute < excluded.minute THEN 0 ELSE r.letters END + excluded.letters,
    bytes = CASE WHEN r.minute < excluded.minute THEN 0 ELSE r.bytes END + excluded.bytes
RETURNING topic, letters, bytes;

-- name: summarise_dead_letters
-- Adds messages to the one row of their topic, partition and minute; its hash is that of the hashes so far, one per
-- batch.
INSERT INTO dead_letters AS d (tenant_id, dead_letter_id, outcome, reason, event_id, topic, partition, first_offset,
    kafka_offset, messages, sha256, header_names, header_values, recorded_at)
SELECT '', v.id, 'summarised', :reason, '', v.topic, v.partition, v.first_offset, v.last_offset, v.messages, v.sha256,
    '{}', '{}', :now
FROM unnest(:floods.dead_letter_id::uuid[], :floods.topic::text[], :floods.partition::int[],
    :floods.first_offset::bigint[], :floods.last_offset::bigint[], :floods.messages::bigint[], :floods.sha256::bytea[])
    AS v(id, topic, partition, first_offset, last_offset, messages, sha256)
ON CONFLICT (tenant_id, dead_letter_id) DO UPDATE
SET first_offset = least(d.first_offset, excluded.first_offset),
    kafka_offset = greatest(d.kafka_offset, excluded.kafka_offset),
    messages = d.messages + excluded.messages,
    sha256 = sha256(d.sha256 || excluded.sha256),
    recorded_at = excluded.recorded_at;
