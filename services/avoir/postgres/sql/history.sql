-- A tenant's history, to decide it again: every message that counted, by groups of owners that nothing ties to other
-- owners. Statements that are read side by side return rows in the order of groups. A group is named after one of its
-- owners (type/id): `owners` are those that are tied to others, `groups` the owner that names each one's group, and
-- `only` the owners to read (null: all).

-- name: history_size
-- The number of a tenant's messages that were decided and counted.
SELECT count(*) FROM decisions
WHERE tenant_id = :tenant_id AND outcome NOT IN ('rejected', 'duplicate', 'conflict', 'parked');

-- name: history_ties
-- Owners that one booking or plan is billed to, or that are concerned with one invoice: it is theirs, or a command was
-- to use their credit on it.
SELECT array_agg(DISTINCT i.owner_type || '/' || i.owner_id) AS owners
FROM invoice_lines l
JOIN invoices i ON i.tenant_id = l.tenant_id AND i.invoice_id = l.invoice_id
WHERE l.tenant_id = :tenant_id AND l.kind IN ('booking', 'plan') AND l.subject_id IS NOT NULL
GROUP BY l.kind, l.subject_id
HAVING count(DISTINCT i.owner_type || '/' || i.owner_id) > 1
UNION ALL
SELECT array_agg(DISTINCT named.owner)
FROM (
    SELECT c.body ->> 'invoice_id' AS invoice_id,
           unnest(ARRAY[(c.body -> 'owner' ->> 'type') || '/' || (c.body -> 'owner' ->> 'id'),
                        i.owner_type || '/' || i.owner_id]) AS owner
    FROM commands c
    LEFT JOIN invoices i ON i.tenant_id = c.tenant_id AND i.invoice_id = c.body ->> 'invoice_id'
    WHERE c.tenant_id = :tenant_id AND c.topic = 'apply-credit'
) named
WHERE named.owner IS NOT NULL
GROUP BY named.invoice_id
HAVING count(DISTINCT named.owner) > 1;

-- name: history_accounts
-- Every account in its state by the database clock: credit counts as issued or expired from its time on, even if the
-- sweep has not handled it yet.
SELECT coalesce(g.name, o.owner) AS in_group, a.tenant_id, a.owner_type, a.owner_id, a.currency,
       (a.available - coalesce(swept.available, 0) + coalesce(swept.begun, 0))::bigint AS available,
       (a.reserved - coalesce(swept.reserved, 0))::bigint AS reserved,
       coalesce(swept.granted, 0)::bigint AS granted,
       coalesce(swept.available + swept.reserved + swept.granted - swept.begun, 0)::bigint AS expired,
       coalesce(short.amount, 0)::bigint AS shortfall
FROM accounts a
CROSS JOIN LATERAL (SELECT a.owner_type || '/' || a.owner_id AS owner) o
LEFT JOIN unnest(:owners::text[], :groups::text[]) AS g (owner, name) ON g.owner = o.owner
LEFT JOIN (
    SELECT owner_type, owner_id, currency,
           coalesce(sum(available) FILTER (WHERE expires_at <= now()), 0) AS available,
           coalesce(sum(reserved) FILTER (WHERE expires_at <= now()), 0) AS reserved,
           coalesce(sum(pending) FILTER (WHERE effective_at <= now()), 0) AS granted,
           coalesce(sum(pending) FILTER (WHERE effective_at <= now() AND coalesce(expires_at > now(), true)), 0) AS begun
    FROM grants
    WHERE tenant_id = :tenant_id AND available + reserved + pending > 0
    GROUP BY owner_type, owner_id, currency
) swept USING (owner_type, owner_id, currency)
LEFT JOIN (
    SELECT owner_type, owner_id, currency, sum(shortfall) AS amount
    FROM entitlements
    WHERE tenant_id = :tenant_id AND shortfall > 0
    GROUP BY owner_type, owner_id, currency
) short USING (owner_type, owner_id, currency)
WHERE a.tenant_id = :tenant_id AND (:only::text[] IS NULL OR o.owner = ANY (:only))
ORDER BY coalesce(g.name, o.owner) COLLATE "C", a.owner_type, a.owner_id, a.currency;

-- name: history_flows
-- The amounts that each account's entries moved, by counter account and the source of the credit.
SELECT coalesce(g.name, o.owner) AS in_group, e.tenant_id, e.owner_type, e.owner_id, e.currency, e.counter_account,
       e.source, e.amount
FROM (
    SELECT e.tenant_id, e.owner_type, e.owner_id, e.currency, e.counter_account, c.source, sum(e.amount)::bigint AS amount
    FROM entries e
    JOIN grants c ON c.tenant_id = e.tenant_id AND c.grant_id = e.grant_id
    WHERE e.tenant_id = :tenant_id AND (:only::text[] IS NULL OR e.owner_type || '/' || e.owner_id = ANY (:only))
    GROUP BY e.tenant_id, e.owner_type, e.owner_id, e.currency, e.counter_account, c.source
) e
CROSS JOIN LATERAL (SELECT e.owner_type || '/' || e.owner_id AS owner) o
LEFT JOIN unnest(:owners::text[], :groups::text[]) AS g (owner, name) ON g.owner = o.owner
ORDER BY coalesce(g.name, o.owner) COLLATE "C";

-- name: history_invoices
-- Invoices with their decisions.
SELECT coalesce(g.name, o.owner) AS in_group, i.*, d.recorded_at, d.position, d.kafka_offset, d.outcome,
       d.reason AS because, d.facts, d.policy
FROM invoices i
CROSS JOIN LATERAL (SELECT i.owner_type || '/' || i.owner_id AS owner) o
LEFT JOIN unnest(:owners::text[], :groups::text[]) AS g (owner, name) ON g.owner = o.owner
JOIN decisions d ON d.tenant_id = i.tenant_id AND d.event_id = i.event_id AND d.topic = 'invoice-finalized'
    AND d.outcome NOT IN ('rejected', 'duplicate', 'conflict', 'parked')
WHERE i.tenant_id = :tenant_id AND (:only::text[] IS NULL OR o.owner = ANY (:only))
ORDER BY coalesce(g.name, o.owner) COLLATE "C";

-- name: history_lines
-- The lines of these invoices.
SELECT coalesce(g.name, o.owner) AS in_group, l.*
FROM invoice_lines l
JOIN invoices i ON i.tenant_id = l.tenant_id AND i.invoice_id = l.invoice_id
CROSS JOIN LATERAL (SELECT i.owner_type || '/' || i.owner_id AS owner) o
LEFT JOIN unnest(:owners::text[], :groups::text[]) AS g (owner, name) ON g.owner = o.owner
WHERE l.tenant_id = :tenant_id AND (:only::text[] IS NULL OR o.owner = ANY (:only))
ORDER BY coalesce(g.name, o.owner) COLLATE "C", l.invoice_id, l.position;

-- name: history_voids
-- Voids with their decisions: of these invoices, or of one that never came and that credit of these owners was reserved
-- for.
SELECT coalesce(g.name, o.owner) AS in_group, v.*, d.recorded_at, d.position, d.kafka_offset, d.outcome,
       d.reason AS because, d.policy
FROM voids v
LEFT JOIN invoices i ON i.tenant_id = v.tenant_id AND i.invoice_id = v.invoice_id
LEFT JOIN (
    SELECT body ->> 'invoice_id' AS invoice_id,
        min((body -> 'owner' ->> 'type') || '/' || (body -> 'owner' ->> 'id')) AS owner
    FROM commands
    WHERE tenant_id = :tenant_id AND topic = 'apply-credit'
    GROUP BY body ->> 'invoice_id'
) named ON named.invoice_id = v.invoice_id
CROSS JOIN LATERAL (SELECT coalesce(i.owner_type || '/' || i.owner_id, named.owner) AS owner) o
LEFT JOIN unnest(:owners::text[], :groups::text[]) AS g (owner, name) ON g.owner = o.owner
JOIN decisions d ON d.tenant_id = v.tenant_id AND d.event_id = v.event_id AND d.topic = 'invoice-voided'
    AND d.outcome NOT IN ('rejected', 'duplicate', 'conflict', 'parked')
WHERE v.tenant_id = :tenant_id AND o.owner IS NOT NULL AND (:only::text[] IS NULL OR o.owner = ANY (:only))
ORDER BY coalesce(g.name, o.owner) COLLATE "C";

-- name: history_changes
-- Changes to what these invoices bill, with their decisions; what was never billed affects no account.
SELECT b.in_group, c.*, d.recorded_at, d.position, d.kafka_offset, d.outcome,
       d.reason AS because, d.policy
FROM (
    SELECT DISTINCT coalesce(g.name, o.owner) AS in_group, l.kind, l.subject_id
    FROM invoice_lines l
    JOIN invoices i ON i.tenant_id = l.tenant_id AND i.invoice_id = l.invoice_id
    CROSS JOIN LATERAL (SELECT i.owner_type || '/' || i.owner_id AS owner) o
    LEFT JOIN unnest(:owners::text[], :groups::text[]) AS g (owner, name) ON g.owner = o.owner
    WHERE l.tenant_id = :tenant_id AND l.subject_id IS NOT NULL AND (:only::text[] IS NULL OR o.owner = ANY (:only))
) b
JOIN changes c ON c.tenant_id = :tenant_id AND c.subject_kind = b.kind AND c.subject_id = b.subject_id
JOIN decisions d ON d.tenant_id = c.tenant_id AND d.event_id = c.event_id AND d.topic = c.topic
    AND d.outcome NOT IN ('rejected', 'duplicate', 'conflict', 'parked')
ORDER BY b.in_group COLLATE "C";

-- name: history_payments
-- Payments with their decisions; an invoice's `amount_paid` is part of the invoice.
SELECT coalesce(g.name, o.owner) AS in_group, p.*, d.recorded_at, d.position, d.kafka_offset, d.outcome,
       d.reason AS because, d.policy
FROM payments p
CROSS JOIN LATERAL (SELECT p.owner_type || '/' || p.owner_id AS owner) o
LEFT JOIN unnest(:owners::text[], :groups::text[]) AS g (owner, name) ON g.owner = o.owner
JOIN decisions d ON d.tenant_id = p.tenant_id AND d.event_id = p.event_id AND d.topic = 'payment-recorded'
    AND d.outcome NOT IN ('rejected', 'duplicate', 'conflict', 'parked')
WHERE p.tenant_id = :tenant_id AND p.kind = 'payment' AND (:only::text[] IS NULL OR o.owner = ANY (:only))
ORDER BY coalesce(g.name, o.owner) COLLATE "C";

-- name: history_reversals
-- The reversals of these payments, with their decisions.
SELECT coalesce(g.name, o.owner) AS in_group, r.*, d.recorded_at, d.position, d.kafka_offset, d.outcome,
       d.reason AS because, d.policy
FROM reversals r
JOIN payments p ON p.tenant_id = r.tenant_id AND p.kind = 'payment' AND p.payment_id = r.payment_id
CROSS JOIN LATERAL (SELECT p.owner_type || '/' || p.owner_id AS owner) o
LEFT JOIN unnest(:owners::text[], :groups::text[]) AS g (owner, name) ON g.owner = o.owner
JOIN decisions d ON d.tenant_id = r.tenant_id AND d.event_id = r.event_id AND d.topic = 'payment-reversed'
    AND d.outcome NOT IN ('rejected', 'duplicate', 'conflict', 'parked')
WHERE r.tenant_id = :tenant_id AND (:only::text[] IS NULL OR o.owner = ANY (:only))
ORDER BY coalesce(g.name, o.owner) COLLATE "C";

-- name: history_commands
-- Commands with their decisions, and rejected applications, each with the owner whose credit it is about: the owner
-- that it names, or that of the grant or application. A command whose body was not kept has none.
SELECT coalesce(g.name, d.owner) AS in_group, d.tenant_id, d.topic, d.event_id, d.occurred_at, d.subject_id, d.recorded_at,
       d.position, d.kafka_offset, d.outcome,
       d.reason AS because, d.policy, d.body
FROM (
    SELECT d.*, c.body,
           CASE
               WHEN c.body ->> 'scope' = 'invoice' THEN i.owner_type || '/' || i.owner_id
               WHEN d.topic = 'void-credit' THEN n.owner_type || '/' || n.owner_id
               WHEN d.topic IN ('reinstate-credit', 'credit-application-rejected')
               THEN coalesce(a.owner_type || '/' || a.owner_id, r.owner_type || '/' || r.owner_id)
               WHEN c.body IS NULL AND d.subject_kind = 'owner' THEN d.subject_id
               WHEN c.body IS NULL AND d.subject_kind = 'invoice' THEN i.owner_type || '/' || i.owner_id
               ELSE (c.body -> 'owner' ->> 'type') || '/' || (c.body -> 'owner' ->> 'id')
           END AS owner
    FROM decisions d
    LEFT JOIN commands c ON c.tenant_id = d.tenant_id AND c.topic = d.topic AND c.event_id = d.event_id
    LEFT JOIN grants n ON n.tenant_id = d.tenant_id AND d.topic = 'void-credit' AND n.grant_id::text = lower(d.subject_id)
    LEFT JOIN applications a ON a.tenant_id = d.tenant_id AND d.subject_kind = 'application'
        AND a.application_id::text = lower(d.subject_id)
    LEFT JOIN (SELECT DISTINCT tenant_id, application_id, owner_type, owner_id
        FROM reservations WHERE tenant_id = :tenant_id) r
        ON r.tenant_id = d.tenant_id AND d.subject_kind = 'application' AND r.application_id::text = lower(d.subject_id)
    LEFT JOIN invoices i ON i.tenant_id = d.tenant_id
        AND i.invoice_id = CASE WHEN d.subject_kind = 'invoice' THEN d.subject_id ELSE c.body ->> 'invoice_id' END
    WHERE d.tenant_id = :tenant_id AND d.topic = ANY (:topics::text[])
      AND d.outcome NOT IN ('rejected', 'duplicate', 'conflict', 'parked')
) d
LEFT JOIN unnest(:owners::text[], :groups::text[]) AS g (owner, name) ON g.owner = d.owner
WHERE d.owner IS NOT NULL AND (:only::text[] IS NULL OR d.owner = ANY (:only))
ORDER BY coalesce(g.name, d.owner) COLLATE "C";

-- name: history_tenant_policies
-- The policies that were set for the whole tenant, which count in every group.
SELECT d.tenant_id, d.topic, d.event_id, d.occurred_at, d.subject_id, d.recorded_at, d.position, d.kafka_offset, d.outcome,
       d.reason AS because, d.policy, c.body
FROM commands c
JOIN decisions d ON d.tenant_id = c.tenant_id AND d.event_id = c.event_id AND d.topic = c.topic
    AND d.outcome NOT IN ('rejected', 'duplicate', 'conflict', 'parked')
WHERE c.tenant_id = :tenant_id AND c.topic = 'set-credit-policy' AND c.body ->> 'scope' = 'tenant';

-- name: history_moments
-- The times at which entries of some accounts were recorded, and the reason of a rejected application: no other row has
-- it.
SELECT DISTINCT e.tenant_id, e.owner_type, e.owner_id, e.currency, e.recorded_at,
       CASE WHEN e.topic = 'credit-application-rejected' AND e.event = 'reinstated' THEN e.event_id END AS event_id,
       CASE WHEN e.topic = 'credit-application-rejected' AND e.event = 'reinstated' THEN e.reason END AS reason
FROM unnest(
    :accounts.tenant_id::text[], :accounts.owner_type::text[], :accounts.owner_id::text[], :accounts.currency::text[]
) AS k (tenant_id, owner_type, owner_id, currency)
JOIN entries e USING (tenant_id, owner_type, owner_id, currency)
ORDER BY e.recorded_at, e.tenant_id, e.owner_type, e.owner_id, e.currency;

-- name: history_unbilled_changes
-- Changes to what no invoice bills, with their decisions, by booking or plan.
SELECT c.*, d.recorded_at, d.position, d.kafka_offset, d.outcome, d.reason AS because, d.policy
FROM changes c
JOIN decisions d ON d.tenant_id = c.tenant_id AND d.event_id = c.event_id AND d.topic = c.topic
    AND d.outcome NOT IN ('rejected', 'duplicate', 'conflict', 'parked')
WHERE c.tenant_id = :tenant_id AND NOT EXISTS (
    SELECT FROM invoice_lines l
    WHERE l.tenant_id = c.tenant_id AND l.kind = c.subject_kind AND l.subject_id = c.subject_id
)
ORDER BY c.subject_kind, c.subject_id, d.recorded_at, d.position, d.kafka_offset;

-- name: history_unknown_commands
-- Commands on unknown grants and applications, with their decisions.
SELECT d.tenant_id, d.topic, d.event_id, d.occurred_at, d.subject_id, d.recorded_at, d.position, d.kafka_offset, d.outcome,
       d.reason AS because, d.policy, c.body
FROM decisions d
LEFT JOIN commands c ON c.tenant_id = d.tenant_id AND c.topic = d.topic AND c.event_id = d.event_id
WHERE d.tenant_id = :tenant_id AND d.topic IN ('void-credit', 'reinstate-credit') AND d.outcome = 'declined'
  AND NOT EXISTS (SELECT FROM grants g WHERE g.tenant_id = d.tenant_id AND d.topic = 'void-credit'
                  AND g.grant_id::text = lower(d.subject_id))
  AND NOT EXISTS (SELECT FROM applications a WHERE a.tenant_id = d.tenant_id AND d.topic = 'reinstate-credit'
                  AND a.application_id::text = lower(d.subject_id))
  AND NOT EXISTS (SELECT FROM reservations r WHERE r.tenant_id = d.tenant_id AND d.topic = 'reinstate-credit'
                  AND r.application_id::text = lower(d.subject_id))
ORDER BY d.recorded_at, d.position, d.kafka_offset;

-- name: history_dead_letters
-- Every message that was dead-lettered, in order.
SELECT dead_letter_id, tenant_id, reason, topic, partition, kafka_offset, key, value, header_names, header_values,
       value_length, sha256, first_offset, messages
FROM dead_letters
WHERE outcome IN ('rejected', 'conflict', 'parked')
ORDER BY recorded_at, topic, partition, kafka_offset;

-- name: history_tenants
-- Every tenant with a decision that counted.
SELECT DISTINCT tenant_id FROM decisions
WHERE outcome NOT IN ('rejected', 'duplicate', 'conflict', 'parked')
ORDER BY tenant_id;

-- name: history_messages
-- The number of messages that were decided and counted, over all tenants.
SELECT count(*) FROM decisions WHERE outcome NOT IN ('rejected', 'duplicate', 'conflict', 'parked');
