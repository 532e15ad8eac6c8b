-- What explains a decision: the decision as it was made, and what the facts and the credit are now.

-- name: explain_event
-- The decisions on an event id, oldest first. $1 tenant, $2 event id, $3 limit.
SELECT topic, event_id, partition, kafka_offset, occurred_at, recorded_at, outcome, reason, facts, policy,
       would_change_it, subject_kind, subject_id
FROM decisions
WHERE tenant_id = $1 AND event_id = $2
ORDER BY recorded_at, decision_id
LIMIT $3;

-- name: explain_subjects
-- The last decisions about any of several subjects, newest first. $1 tenant, $2 kinds, $3 ids, $4 limit.
SELECT d.topic, d.event_id, d.partition, d.kafka_offset, d.occurred_at, d.recorded_at, d.outcome, d.reason, d.facts,
       d.policy, d.would_change_it, d.subject_kind, d.subject_id
FROM unnest($2::text[], $3::text[]) AS asked (kind, id)
JOIN decisions d ON d.tenant_id = $1 AND d.subject_kind = asked.kind AND d.subject_id = asked.id
ORDER BY d.recorded_at DESC, d.decision_id DESC
LIMIT $4;

-- name: explain_lines_of_subject
-- The lines that billed a booking or a plan. $1 tenant, $2 kind, $3 booking or plan, $4 limit.
SELECT l.invoice_id, l.line_id
FROM invoice_lines l
WHERE l.tenant_id = $1 AND l.kind = $2 AND l.subject_id = $3
ORDER BY l.invoice_id, l.position
LIMIT $4;

-- name: explain_lines
-- Lines of invoices with what was due and given for them; all lines of the invoices where $3 is null.
-- $1 tenant, $2 invoices, $3 lines (one of each invoice named, or null), $4 limit.
SELECT l.invoice_id, l.line_id, l.kind, l.subject_id, l.period_start, l.period_end, l.amount, l.tax, l.cost, i.currency,
       e.target, e.given, e.shortfall, e.covered, e.source
FROM invoice_lines l
JOIN invoices i ON i.tenant_id = l.tenant_id AND i.invoice_id = l.invoice_id
LEFT JOIN entitlements e
    ON e.tenant_id = l.tenant_id AND e.kind = 'line' AND e.id = l.invoice_id AND e.line_id = l.line_id
WHERE l.tenant_id = $1
  AND (($3::text[] IS NULL AND l.invoice_id = ANY ($2::text[]))
       OR (l.invoice_id, l.line_id) IN (SELECT * FROM unnest($2::text[], $3::text[])))
ORDER BY i.finalized_at, l.invoice_id, l.position
LIMIT $4;

-- name: explain_invoices
-- Invoices as they stand, and since when one is void. $1 tenant, $2 invoices.
SELECT i.invoice_id, i.number, i.owner_type, i.owner_id, i.currency, i.finalized_at, i.total, i.amount_paid, i.automatic,
       i.barred, i.voided, i.settled, i.applied, i.settled_at, v.occurred_at AS voided_at, v.reason AS void_reason
FROM invoices i
LEFT JOIN voids v ON v.tenant_id = i.tenant_id AND v.invoice_id = i.invoice_id
WHERE i.tenant_id = $1 AND i.invoice_id = ANY ($2::text[])
ORDER BY i.finalized_at, i.invoice_id;

-- name: explain_changes
-- Changes to a booking or a plan, in the order they were made. $1 tenant, $2 kind, $3 booking or plan, $4 limit.
SELECT topic, event_id, revision, occurred_at, changed_by, asked, fee, currency, effective_at
FROM changes
WHERE tenant_id = $1 AND subject_kind = $2 AND subject_id = $3
ORDER BY revision NULLS FIRST, occurred_at, event_id, topic
LIMIT $4;

-- name: explain_grants
-- Grants by the things that they were given for. $1 tenant, $2 kinds, $3 ids, $4 lines, $5 limit.
SELECT g.grant_id, g.owner_type, g.owner_id, g.currency, g.amount, g.available, g.reserved, g.spent, g.lost, g.taken,
       g.source, g.reason, g.note, g.effective_at, g.expires_at, g.topic, g.event_id, g.recorded_at,
       g.entitlement_kind, g.entitlement_id, g.entitlement_line_id
FROM unnest($2::text[], $3::text[], $4::text[]) AS asked (kind, id, line_id)
JOIN grants g ON g.tenant_id = $1 AND g.entitlement_kind = asked.kind AND g.entitlement_id = asked.id
    AND g.entitlement_line_id = asked.line_id
ORDER BY g.recorded_at, g.ordinal, g.grant_id
LIMIT $5;

-- name: explain_grant
-- One grant. $1 tenant, $2 grant.
SELECT g.grant_id, g.owner_type, g.owner_id, g.currency, g.amount, g.available, g.reserved, g.spent, g.lost, g.taken,
       g.source, g.reason, g.note, g.effective_at, g.expires_at, g.topic, g.event_id, g.recorded_at,
       g.entitlement_kind, g.entitlement_id, g.entitlement_line_id
FROM grants g
WHERE g.tenant_id = $1 AND g.grant_id = $2;

-- name: explain_movements
-- The entries of grants, in the order they were made. $1 tenant, $2 grants, $3 limit.
SELECT e.grant_id, e.ledger_account, e.counter_account, e.amount, e.event, e.reason, e.invoice_id, e.topic, e.event_id,
       e.occurred_at, e.recorded_at
FROM entries e
WHERE e.tenant_id = $1 AND e.grant_id = ANY ($2::uuid[])
ORDER BY e.recorded_at, e.seq, e.n
LIMIT $3;

-- name: explain_payments
-- Payments, by their ids or by the invoices that they settled. $1 tenant, $2 payments, $3 invoices, $4 limit.
SELECT p.kind, p.payment_id, p.owner_type, p.owner_id, p.currency, p.amount, p.occurred_at, p.reversed, p.settled
FROM payments p
WHERE p.tenant_id = $1
  AND ((p.kind = 'payment' AND p.payment_id = ANY ($2::text[]))
       OR (p.kind, p.payment_id) IN (
           SELECT s.kind, s.payment_id FROM settlements s WHERE s.tenant_id = $1 AND s.invoice_id = ANY ($3::text[])))
ORDER BY p.occurred_at, p.kind, p.payment_id
LIMIT $4;

-- name: explain_settlements
-- Which payments settled which invoices, as it stands. $1 tenant, $2 payment kinds, $3 payments, $4 limit.
SELECT s.kind, s.payment_id, s.invoice_id, sum(s.amount)::bigint AS amount
FROM unnest($2::text[], $3::text[]) AS asked (kind, id)
JOIN settlements s ON s.tenant_id = $1 AND s.kind = asked.kind AND s.payment_id = asked.id
WHERE s.amount > 0
GROUP BY s.kind, s.payment_id, s.invoice_id
ORDER BY min(s.n)
LIMIT $4;

-- name: explain_applications
-- Credit used on invoices. $1 tenant, $2 invoices, $3 limit.
SELECT application_id, invoice_id, currency, amount, applied_by, applied_at, reinstated, topic, event_id
FROM applications
WHERE tenant_id = $1 AND invoice_id = ANY ($2::text[])
ORDER BY applied_at, application_id
LIMIT $3;

-- name: explain_application
-- The invoice that credit was used on. $1 tenant, $2 application.
SELECT invoice_id FROM applications WHERE tenant_id = $1 AND application_id = $2;
