-- Queries that explain a decision: the decision as it was made, and the facts and the credit now.

-- name: explain_event
-- The decisions on an event id, oldest first.
SELECT topic, event_id, partition, kafka_offset, occurred_at, recorded_at, outcome, reason, facts, policy,
       would_change_it, subject_kind, subject_id
FROM decisions
WHERE tenant_id = :tenant_id AND event_id = :event_id
ORDER BY recorded_at, position
LIMIT :limit;

-- name: explain_subjects
-- The last decisions on any of several subjects, newest first.
SELECT d.topic, d.event_id, d.partition, d.kafka_offset, d.occurred_at, d.recorded_at, d.outcome, d.reason, d.facts,
       d.policy, d.would_change_it, d.subject_kind, d.subject_id
FROM unnest(:subjects.kind::text[], :subjects.id::text[]) AS asked (kind, id)
JOIN decisions d ON d.tenant_id = :tenant_id AND d.subject_kind = asked.kind AND d.subject_id = asked.id
ORDER BY d.recorded_at DESC, d.position DESC
LIMIT :limit;

-- name: explain_lines_of_subject
-- The lines that billed a booking or a plan.
SELECT l.invoice_id, l.line_id
FROM invoice_lines l
WHERE l.tenant_id = :tenant_id AND l.kind = :subject.kind AND l.subject_id = :subject.id
ORDER BY l.invoice_id, l.position
LIMIT :limit;

-- name: explain_lines
-- Lines of invoices with what was due and given for them, each as a whole row; all lines of the invoices if `line_ids`
-- is null.
SELECT l AS line, i AS invoice, e AS entitlement
FROM invoice_lines l
JOIN invoices i ON i.tenant_id = l.tenant_id AND i.invoice_id = l.invoice_id
LEFT JOIN entitlements e
    ON e.tenant_id = l.tenant_id AND e.kind = CASE l.kind WHEN 'credit' THEN 'credit_line' ELSE 'line' END
    AND e.id = l.invoice_id AND e.line_id = l.line_id
WHERE l.tenant_id = :tenant_id
  AND ((:line_ids::text[] IS NULL AND l.invoice_id = ANY (:invoice_ids::text[]))
       OR (l.invoice_id, l.line_id) IN (SELECT * FROM unnest(:invoice_ids::text[], :line_ids::text[])))
ORDER BY i.finalized_at, l.invoice_id, l.position
LIMIT :limit;

-- name: explain_invoices
-- Invoices in their current state, each with its void if there is one.
SELECT i AS invoice, v AS void
FROM invoices i
LEFT JOIN voids v ON v.tenant_id = i.tenant_id AND v.invoice_id = i.invoice_id
WHERE i.tenant_id = :tenant_id AND i.invoice_id = ANY (:invoice_ids::text[])
ORDER BY i.finalized_at, i.invoice_id;

-- name: explain_changes
-- Changes to a booking or a plan, in no particular order.
SELECT *
FROM changes
WHERE tenant_id = :tenant_id AND subject_kind = :subject.kind AND subject_id = :subject.id;

-- name: explain_billed
-- The lines that billed a booking or a plan, each with its invoice.
SELECT l AS line, i AS invoice
FROM invoice_lines l
JOIN invoices i ON i.tenant_id = l.tenant_id AND i.invoice_id = l.invoice_id
WHERE l.tenant_id = :tenant_id AND l.kind = :subject.kind AND l.subject_id = :subject.id;

-- name: explain_grants
-- Grants by what they were given for.
SELECT g.*
FROM unnest(:kinds::text[], :ids::text[], :line_ids::text[]) AS asked (kind, id, line_id)
JOIN grants g ON g.tenant_id = :tenant_id AND g.entitlement_kind = asked.kind AND g.entitlement_id = asked.id
    AND g.entitlement_line_id = asked.line_id
ORDER BY g.recorded_at, g.ordinal, g.grant_id
LIMIT :limit;

-- name: explain_grants_by_id
-- Grants by id.
SELECT *
FROM grants
WHERE tenant_id = :tenant_id AND grant_id = ANY (:grant_ids::uuid[])
ORDER BY recorded_at, ordinal, grant_id;

-- name: explain_movements
-- The last entries of grants, newest first.
SELECT e.grant_id, e.ledger_account, e.counter_account, e.amount, e.event, e.reason, e.invoice_id, e.application_id,
       e.topic, e.event_id, e.occurred_at, e.recorded_at
FROM entries e
WHERE e.tenant_id = :tenant_id AND e.grant_id = ANY (:grant_ids::uuid[])
ORDER BY e.recorded_at DESC, e.seq DESC, e.n DESC
LIMIT :limit;

-- name: explain_uses
-- What grants were used for, in total, over any number of entries.
SELECT e.grant_id, e.counter_account, e.invoice_id, -sum(e.amount)::bigint AS amount
FROM entries e
WHERE e.tenant_id = :tenant_id AND e.grant_id = ANY (:grant_ids::uuid[])
  AND e.counter_account IN ('applied', 'drawn', 'refunded', 'expired', 'voided', 'taken_back')
GROUP BY e.grant_id, e.counter_account, e.invoice_id
HAVING sum(e.amount) <> 0
ORDER BY min(e.recorded_at), e.counter_account, e.invoice_id;

-- name: explain_moved
-- The grants that a message moved in an owner's accounts.
SELECT DISTINCT e.grant_id
FROM entries e
WHERE e.tenant_id = :tenant_id AND e.owner_type = :owner_type AND e.owner_id = :owner_id AND e.topic = :topic
    AND e.event_id = :event_id;

-- name: explain_reservations
-- Reservations, current or past, by application, grant or invoice.
SELECT r.*
FROM reservations r
WHERE r.tenant_id = :tenant_id
  AND (r.application_id = ANY (:application_ids::uuid[]) OR r.grant_id = ANY (:grant_ids::uuid[])
       OR (r.invoice_id = ANY (:invoice_ids::text[]) AND r.amount > 0))
ORDER BY r.seq, r.application_id, r.grant_id
LIMIT :limit;

-- name: explain_payments
-- Payments, by id or by the invoices that they settled.
SELECT p.*
FROM payments p
WHERE p.tenant_id = :tenant_id
  AND ((p.kind = 'payment' AND p.payment_id = ANY (:payment_ids::text[]))
       OR (p.kind, p.payment_id) IN (
           SELECT s.kind, s.payment_id FROM settlements s WHERE s.tenant_id = :tenant_id
               AND s.invoice_id = ANY (:invoice_ids::text[])))
ORDER BY p.occurred_at, p.kind, p.payment_id
LIMIT :limit;

-- name: explain_settlements
-- The invoices that payments settle now; 0 if the settlement was undone.
SELECT s.kind, s.payment_id, s.invoice_id, sum(s.amount)::bigint AS amount
FROM unnest(:kinds::text[], :payment_ids::text[]) AS asked (kind, id)
JOIN settlements s ON s.tenant_id = :tenant_id AND s.kind = asked.kind AND s.payment_id = asked.id
GROUP BY s.kind, s.payment_id, s.invoice_id
ORDER BY min(s.n)
LIMIT :limit;

-- name: explain_applications
-- Credit used on invoices, by invoice or by application.
SELECT *
FROM applications
WHERE tenant_id = :tenant_id AND (invoice_id = ANY (:invoice_ids::text[]) OR application_id = ANY (:application_ids::uuid[]))
ORDER BY applied_at, application_id
LIMIT :limit;

-- name: explain_policies
-- The messages that set policy keys, by event id.
SELECT *
FROM policies
WHERE tenant_id = :tenant_id AND event_id = ANY (:event_ids::text[])
ORDER BY occurred_at, event_id;

-- name: explain_policies_of_scope
-- The messages that set policy keys for one tenant, owner or invoice.
SELECT 'set-credit-policy' AS topic, event_id
FROM policies
WHERE tenant_id = :tenant_id AND scope = :scope AND scope_id = :scope_id;

-- name: explain_owner_subjects
-- The subjects of an owner's last facts: invoices, payments, bookings and plans.
(SELECT 'invoice' AS kind, invoice_id AS id, finalized_at AS at FROM invoices
 WHERE tenant_id = :tenant_id AND owner_type = :owner_type AND owner_id = :owner_id ORDER BY finalized_at DESC LIMIT :limit)
UNION ALL
(SELECT 'payment', payment_id, occurred_at FROM payments
 WHERE tenant_id = :tenant_id AND owner_type = :owner_type AND owner_id = :owner_id
     AND kind = 'payment' ORDER BY occurred_at DESC LIMIT :limit)
UNION ALL
(SELECT subject_kind, subject_id, max(occurred_at) FROM changes
 WHERE tenant_id = :tenant_id AND owner_type = :owner_type AND owner_id = :owner_id
 GROUP BY subject_kind, subject_id ORDER BY max(occurred_at) DESC LIMIT :limit);

-- name: explain_owner_events
-- The messages that last moved an owner's credit, with the grants.
SELECT topic, event_id, array_agg(DISTINCT grant_id) AS grant_ids
FROM (
    SELECT e.topic, e.event_id, e.grant_id, e.recorded_at
    FROM accounts a
    CROSS JOIN LATERAL (
        SELECT topic, event_id, grant_id, recorded_at FROM entries
        WHERE tenant_id = a.tenant_id AND owner_type = a.owner_type AND owner_id = a.owner_id AND currency = a.currency
          AND topic <> ''
        ORDER BY seq DESC, n DESC
        LIMIT :limit
    ) e
    WHERE a.tenant_id = :tenant_id AND a.owner_type = :owner_type AND a.owner_id = :owner_id
) last
GROUP BY topic, event_id
ORDER BY max(recorded_at) DESC
LIMIT :limit;

-- name: explain_events
-- The decisions on messages.
SELECT d.topic, d.event_id, d.partition, d.kafka_offset, d.occurred_at, d.recorded_at, d.outcome, d.reason, d.facts,
       d.policy, d.would_change_it, d.subject_kind, d.subject_id
FROM unnest(:topics::text[], :event_ids::text[]) AS asked (topic, event_id)
JOIN decisions d ON d.tenant_id = :tenant_id AND d.event_id = asked.event_id AND d.topic = asked.topic
ORDER BY d.recorded_at, d.position;

-- name: explain_open
-- An owner's open grants and invoices: with something left, and with something due. The conditions are spelled as in
-- the partial indexes `grants_open` and `invoices_open`, so that Postgres can use these.
SELECT 'grant' AS kind, grant_id::text AS id FROM grants
WHERE tenant_id = :tenant_id AND owner_type = :owner_type AND owner_id = :owner_id AND available + reserved + pending > 0
UNION ALL
SELECT 'invoice', invoice_id FROM invoices
WHERE tenant_id = :tenant_id AND owner_type = :owner_type AND owner_id = :owner_id
  AND NOT voided AND total + restored > settled + applied AND total + restored > 0;
