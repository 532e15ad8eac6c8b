-- Checks of the ledger: everything that is stored twice, streamed or compared in the database.

-- name: verify_plans
-- Turns nested loops off for this transaction: it reads all of a tenant, and while a table has no statistics Postgres
-- assumes that it is small and would read it once for each row of another.
SELECT set_config('enable_nestloop', 'off', true), set_config('jit', 'off', true);

-- name: verify_tenants
-- Every tenant with any row, by one index look-up for each table.
WITH RECURSIVE tenants (tenant_id) AS (
    SELECT ''
    UNION ALL
    SELECT least(
                 (SELECT min(tenant_id) FROM accounts WHERE tenant_id > t.tenant_id),
                 (SELECT min(tenant_id) FROM entries WHERE tenant_id > t.tenant_id),
                 (SELECT min(tenant_id) FROM grants WHERE tenant_id > t.tenant_id),
                 (SELECT min(tenant_id) FROM entitlements WHERE tenant_id > t.tenant_id),
                 (SELECT min(tenant_id) FROM applications WHERE tenant_id > t.tenant_id),
                 (SELECT min(tenant_id) FROM reservations WHERE tenant_id > t.tenant_id),
                 (SELECT min(tenant_id) FROM invoices WHERE tenant_id > t.tenant_id),
                 (SELECT min(tenant_id) FROM invoice_lines WHERE tenant_id > t.tenant_id),
                 (SELECT min(tenant_id) FROM payments WHERE tenant_id > t.tenant_id),
                 (SELECT min(tenant_id) FROM settlements WHERE tenant_id > t.tenant_id),
                 (SELECT min(tenant_id) FROM reversals WHERE tenant_id > t.tenant_id),
                 (SELECT min(tenant_id) FROM voids WHERE tenant_id > t.tenant_id),
                 (SELECT min(tenant_id) FROM changes WHERE tenant_id > t.tenant_id),
                 (SELECT min(tenant_id) FROM decisions WHERE tenant_id > t.tenant_id),
                 (SELECT min(tenant_id) FROM policies WHERE tenant_id > t.tenant_id))
    FROM tenants t
    WHERE t.tenant_id IS NOT NULL
)
SELECT tenant_id FROM tenants WHERE tenant_id <> '';

-- name: verify_sizes
-- The number of rows to read, for the progress bar.
SELECT (SELECT count(*) FROM entries WHERE tenant_id = :tenant_id) AS entries,
       (SELECT count(*) FROM invoice_lines WHERE tenant_id = :tenant_id) AS lines;

-- name: verify_accounts
-- Every account, in the order of verify_entries.
SELECT owner_type, owner_id, currency, available, reserved, seq, head, recorded_at
FROM accounts
WHERE tenant_id = :tenant_id
ORDER BY tenant_id, owner_type, owner_id, currency;

-- name: verify_entries
-- Every entry, by account in the order of the chain, and whether its account exists.
SELECT e.tenant_id, e.owner_type, e.owner_id, e.currency, e.seq, e.n, e.ledger_account, e.counter_account, e.grant_id,
       e.amount, e.balance, e.event, e.reason, e.invoice_id, e.application_id, e.topic, e.event_id, e.occurred_at,
       e.recorded_at, e.hash,
       EXISTS (SELECT FROM accounts a
               WHERE a.tenant_id = e.tenant_id AND a.owner_type = e.owner_type AND a.owner_id = e.owner_id
                 AND a.currency = e.currency) AS has_account
FROM entries e
WHERE e.tenant_id = :tenant_id
ORDER BY e.tenant_id, e.owner_type, e.owner_id, e.currency, e.seq, e.n;

-- name: verify_grants
-- Grants whose amounts differ from their entries and reservations, under the same owner and currency; each of the three
-- can be missing.
SELECT grant_id, owner_type, owner_id, currency, compared.part, compared.expected::bigint AS expected,
       compared.found::bigint AS found
FROM (SELECT * FROM grants WHERE tenant_id = :tenant_id) g
FULL JOIN (
    SELECT e.grant_id, e.owner_type, e.owner_id, e.currency,
           sum(amount) FILTER (WHERE counter_account = 'issued') AS issued,
           sum(amount) FILTER (WHERE ledger_account = 'available') AS available,
           sum(amount) FILTER (WHERE ledger_account = 'reserved') AS reserved,
           -sum(amount) FILTER (WHERE counter_account IN ('applied', 'drawn', 'refunded')) AS spent,
           -sum(amount) FILTER (WHERE counter_account IN ('expired', 'voided')) AS lost,
           -sum(amount) FILTER (WHERE counter_account = 'taken_back') AS taken
    FROM entries e
    WHERE e.tenant_id = :tenant_id
    GROUP BY e.grant_id, e.owner_type, e.owner_id, e.currency
) said USING (grant_id, owner_type, owner_id, currency)
FULL JOIN (
    SELECT r.grant_id, r.owner_type, r.owner_id, r.currency, sum(amount) AS amount
    FROM reservations r
    WHERE r.tenant_id = :tenant_id
    GROUP BY r.grant_id, r.owner_type, r.owner_id, r.currency
) held USING (grant_id, owner_type, owner_id, currency)
CROSS JOIN LATERAL (
    -- A grant voided before it took effect was never issued, and left no entry.
    SELECT said.issued IS NULL AND g.lost = g.amount AS never_issued
) AS standing
CROSS JOIN LATERAL (
    VALUES ('amount', said.issued, CASE WHEN g.pending > 0 OR standing.never_issued THEN 0 ELSE g.amount END),
           ('available', said.available, g.available),
           ('reserved', said.reserved, g.reserved),
           ('spent', said.spent, g.spent),
           ('lost', said.lost, CASE WHEN standing.never_issued THEN 0 ELSE g.lost END),
           ('held by reservations', held.amount, g.reserved),
           ('taken back', said.taken, g.taken)
) AS said_of (part, by_others, by_itself)
CROSS JOIN LATERAL (
    SELECT said_of.part, coalesce(said_of.by_others, 0) AS expected, coalesce(said_of.by_itself, 0) AS found
) AS compared
WHERE compared.expected <> compared.found;

-- name: verify_facts
-- Facts and grants by command against the decisions on them: one without the other, two of one, or a different time.
SELECT topic, event_id, compared.part, compared.expected, compared.found
FROM (
    SELECT topic, event_id, name, count(*) AS number, max(occurred_at) AS occurred_at
    FROM (
        SELECT 'invoice-finalized' AS topic, event_id, 'invoices' AS name, finalized_at AS occurred_at
        FROM invoices
        WHERE tenant_id = :tenant_id
        UNION ALL
        SELECT 'invoice-voided', event_id, 'voids', occurred_at FROM voids WHERE tenant_id = :tenant_id
        UNION ALL
        SELECT 'payment-recorded', event_id, 'payments', occurred_at FROM payments WHERE tenant_id = :tenant_id
            AND kind = 'payment'
        UNION ALL
        SELECT 'payment-reversed', event_id, 'reversals', occurred_at FROM reversals WHERE tenant_id = :tenant_id
        UNION ALL
        SELECT topic, event_id, 'changes', occurred_at FROM changes WHERE tenant_id = :tenant_id
        UNION ALL
        SELECT topic, event_id, 'grants', NULL FROM grants WHERE tenant_id = :tenant_id AND source = 'granted'
    ) fact
    GROUP BY topic, event_id, name
) kept
FULL JOIN (
    SELECT topic, event_id, 1 AS number, max(occurred_at) AS occurred_at,
           CASE topic WHEN 'invoice-finalized' THEN 'invoices' WHEN 'invoice-voided' THEN 'voids'
               WHEN 'payment-recorded' THEN 'payments' WHEN 'payment-reversed' THEN 'reversals'
               WHEN 'grant-credit' THEN 'grants' ELSE 'changes' END AS name
    FROM decisions
    WHERE tenant_id = :tenant_id AND outcome IN ('issued', 'applied', 'recorded', 'waiting', 'declined')
      AND topic IN ('invoice-finalized', 'invoice-voided', 'payment-recorded', 'payment-reversed', 'booking-cancelled',
                    'booking-shortened', 'plan-cancelled', 'grant-credit')
    GROUP BY topic, event_id
) decided USING (topic, event_id, name)
CROSS JOIN LATERAL (
    VALUES (name, coalesce(decided.number, 0)::text, coalesce(kept.number, 0)::text),
           ('occurred at', decided.occurred_at::text, kept.occurred_at::text)
) AS compared (part, expected, found)
WHERE compared.expected <> compared.found;

-- name: verify_invoices
-- Invoices whose amounts differ from the sums of their payments, applications and lines, under the same owner and
-- currency; each of them can be missing.
SELECT invoice_id, owner_type, owner_id, currency, compared.part, compared.expected::bigint AS expected,
       compared.found::bigint AS found
FROM (SELECT * FROM invoices WHERE tenant_id = :tenant_id) i
FULL JOIN (
    SELECT s.invoice_id, p.owner_type, p.owner_id, p.currency, sum(s.amount) AS amount
    FROM settlements s
    JOIN payments p ON p.tenant_id = s.tenant_id AND p.kind = s.kind AND p.payment_id = s.payment_id
    WHERE s.tenant_id = :tenant_id
    GROUP BY s.invoice_id, p.owner_type, p.owner_id, p.currency
) paid USING (invoice_id, owner_type, owner_id, currency)
FULL JOIN (
    SELECT invoice_id, owner_type, owner_id, currency,
           sum(amount) FILTER (WHERE NOT reinstated AND applied_by <> 'line_item') AS amount,
           sum(amount) FILTER (WHERE reinstated AND applied_by = 'line_item') AS restored
    FROM applications
    WHERE tenant_id = :tenant_id
    GROUP BY invoice_id, owner_type, owner_id, currency
) used USING (invoice_id, owner_type, owner_id, currency)
FULL JOIN (
    SELECT payment_id AS invoice_id, owner_type, owner_id, currency, amount
    FROM payments
    WHERE tenant_id = :tenant_id AND kind = 'amount_paid'
) with_it USING (invoice_id, owner_type, owner_id, currency)
LEFT JOIN (
    SELECT invoice_id AS id, sum(amount + tax) AS amount FROM invoice_lines WHERE tenant_id = :tenant_id GROUP BY invoice_id
) billed ON billed.id = i.invoice_id
LEFT JOIN (
    SELECT id, sum(covered) AS amount FROM entitlements WHERE tenant_id = :tenant_id AND kind = 'line' GROUP BY id
) covered ON covered.id = i.invoice_id
CROSS JOIN LATERAL (
    VALUES ('settled', paid.amount, i.settled),
           ('applied', used.amount, i.applied),
           ('applied beside a void', 0, CASE WHEN i.voided THEN i.applied END),
           ('restored', used.restored, i.restored),
           ('amount paid', with_it.amount, i.amount_paid),
           ('total', billed.amount, i.total),
           ('covered', CASE WHEN i.voided THEN i.settled END, covered.amount)
) AS said_of (part, by_others, by_itself)
CROSS JOIN LATERAL (
    SELECT said_of.part, coalesce(said_of.by_others, 0) AS expected, coalesce(said_of.by_itself, 0) AS found
) AS compared
WHERE compared.expected <> compared.found;

-- name: verify_invoice_times
-- Invoices that are void without a void or the other way round, or whose times of finalization and settlement differ
-- from those of their payments and applications. A void may come before its invoice.
SELECT i.invoice_id, i.owner_type, i.owner_id, compared.part, compared.expected, compared.found
FROM invoices i
LEFT JOIN voids v ON v.tenant_id = i.tenant_id AND v.invoice_id = i.invoice_id
LEFT JOIN payments with_it
    ON with_it.tenant_id = i.tenant_id AND with_it.kind = 'amount_paid' AND with_it.payment_id = i.invoice_id
LEFT JOIN (
    SELECT s.invoice_id, max(p.occurred_at) AS at
    FROM settlements s
    JOIN payments p ON p.tenant_id = s.tenant_id AND p.kind = s.kind AND p.payment_id = s.payment_id
    WHERE s.tenant_id = :tenant_id AND s.amount > 0
    GROUP BY s.invoice_id
) paid ON paid.invoice_id = i.invoice_id
LEFT JOIN (
    SELECT invoice_id, max(applied_at) AS at FROM applications WHERE tenant_id = :tenant_id
        AND NOT reinstated GROUP BY invoice_id
) used ON used.invoice_id = i.invoice_id
CROSS JOIN LATERAL (
    VALUES ('voided', (v.invoice_id IS NOT NULL)::text, i.voided::text),
           ('finalized at', coalesce(with_it.occurred_at, i.finalized_at)::text, i.finalized_at::text),
           ('settled at', greatest(i.finalized_at, paid.at, used.at)::text, i.settled_at::text)
) AS compared (part, expected, found)
WHERE i.tenant_id = :tenant_id AND compared.expected <> compared.found;

-- name: verify_payments
-- Payments whose amounts differ from the sums of their settlements and reversals, under the same owner and currency;
-- each of them can be missing, but a reversal may wait for its payment.
SELECT kind, payment_id, owner_type, owner_id, currency, compared.part, compared.expected::bigint AS expected,
       compared.found::bigint AS found
FROM (SELECT * FROM payments WHERE tenant_id = :tenant_id) p
FULL JOIN (
    SELECT s.kind, s.payment_id, i.owner_type, i.owner_id, i.currency, sum(s.amount) AS amount
    FROM settlements s
    JOIN invoices i ON i.tenant_id = s.tenant_id AND i.invoice_id = s.invoice_id
    WHERE s.tenant_id = :tenant_id
    GROUP BY s.kind, s.payment_id, i.owner_type, i.owner_id, i.currency
) used USING (kind, payment_id, owner_type, owner_id, currency)
LEFT JOIN (
    SELECT payment_id AS id, currency AS paid_in, sum(amount) AS amount
    FROM reversals
    WHERE tenant_id = :tenant_id
    GROUP BY payment_id, currency
) back ON p.kind = 'payment' AND back.id = p.payment_id AND back.paid_in = p.currency
CROSS JOIN LATERAL (
    VALUES ('settled', coalesce(used.amount, 0), coalesce(p.settled, 0)),
           ('reversed', least(p.amount, coalesce(back.amount, 0)), coalesce(p.reversed, 0))
) AS compared (part, expected, found)
WHERE compared.expected <> compared.found;

-- name: verify_applied_at
-- Applications that count from a different time than their invoice, command or grants imply.
SELECT a.application_id, 'applied at' AS part, due.at::text AS expected, a.applied_at::text AS found
FROM applications a
JOIN invoices i ON i.tenant_id = a.tenant_id AND i.invoice_id = a.invoice_id
JOIN (
    SELECT application_id, min(occurred_at) AS occurred_at
    FROM entries
    WHERE tenant_id = :tenant_id AND event = 'applied'
    GROUP BY application_id
) e ON e.application_id = a.application_id
CROSS JOIN LATERAL (
    SELECT CASE a.applied_by
               WHEN 'command' THEN greatest(i.finalized_at, e.occurred_at)
               WHEN 'reservation' THEN greatest(i.finalized_at, (
                   SELECT max(g.effective_at) FROM grants g WHERE g.tenant_id = a.tenant_id
                       AND g.grant_id = ANY (a.grant_ids)
               ))
               ELSE i.finalized_at END AS at
) AS due
WHERE a.tenant_id = :tenant_id AND a.applied_at <> due.at;

-- name: verify_applications
-- Applications that are not the sum of their parts.
SELECT a.application_id, a.currency, 'amount' AS part, parts.amount AS expected, a.amount AS found
FROM applications a
CROSS JOIN LATERAL (SELECT coalesce(sum(part), 0)::bigint AS amount FROM unnest(a.amounts) AS part) AS parts
WHERE a.tenant_id = :tenant_id AND parts.amount <> a.amount;

-- name: verify_uses
-- Parts of applications that differ from the entries, or the other way round: amount, grant, invoice, owner, use and
-- cause, of all that was applied and of what was undone.
SELECT application_id, grant_id, owner_type, owner_id, currency, invoice_id, applied_by, compared.part,
       compared.expected::bigint AS expected, compared.found::bigint AS found
FROM (
    SELECT a.application_id, slice.grant_id, a.owner_type, a.owner_id, a.currency, a.invoice_id, a.applied_by, a.topic,
           a.event_id, sum(slice.amount) AS amount, sum(slice.amount) FILTER (WHERE a.reinstated) AS undone
    FROM applications a
    CROSS JOIN LATERAL unnest(a.grant_ids, a.amounts) AS slice (grant_id, amount)
    WHERE a.tenant_id = :tenant_id
    GROUP BY a.tenant_id, a.application_id, slice.grant_id
) used
FULL JOIN (
    SELECT application_id, grant_id, owner_type, owner_id, currency, invoice_id,
           min(reason) FILTER (WHERE event = 'applied') AS applied_by,
           min(topic) FILTER (WHERE event = 'applied') AS topic,
           min(event_id) FILTER (WHERE event = 'applied') AS event_id,
           -sum(amount) FILTER (WHERE event = 'applied') AS amount,
           sum(amount) FILTER (WHERE event = 'reinstated') AS undone
    FROM entries
    WHERE tenant_id = :tenant_id AND counter_account = 'applied'
    GROUP BY application_id, grant_id, owner_type, owner_id, currency, invoice_id
) said USING (application_id, grant_id, owner_type, owner_id, currency, invoice_id, applied_by, topic, event_id)
CROSS JOIN LATERAL (
    VALUES ('applied by entries', coalesce(said.amount, 0), coalesce(used.amount, 0)),
           ('undone by entries', coalesce(said.undone, 0), coalesce(used.undone, 0))
) AS compared (part, expected, found)
WHERE compared.expected <> compared.found;

-- name: verify_reservations
-- Credit that is still reserved for an invoice that no longer needs it: it is finalized, or void.
SELECT r.application_id, r.grant_id, r.currency, 'set aside for invoice ' || r.invoice_id AS part, 0::bigint AS expected,
       r.amount AS found
FROM reservations r
WHERE r.tenant_id = :tenant_id AND r.amount > 0
  AND (EXISTS (SELECT FROM invoices i WHERE i.tenant_id = r.tenant_id AND i.invoice_id = r.invoice_id)
       OR EXISTS (SELECT FROM voids v WHERE v.tenant_id = r.tenant_id AND v.invoice_id = r.invoice_id));

-- name: verify_reserved
-- Reservations that differ from the entries that made them: one without the other, a different invoice or cause, or a
-- different part of a line item than the same message released. The amount still held is known by grant only.
SELECT application_id, grant_id, owner_type, owner_id, compared.part, coalesce(compared.expected, 'none') AS expected,
       coalesce(compared.found, 'none') AS found
FROM (SELECT *, 'there' AS standing FROM reservations WHERE tenant_id = :tenant_id) r
FULL JOIN (
    SELECT application_id, grant_id, owner_type, owner_id, currency, invoice_id, seq, topic, event_id, amount AS made,
           'there' AS standing
    FROM entries
    WHERE tenant_id = :tenant_id AND event = 'reserved' AND ledger_account = 'reserved'
) e USING (application_id, grant_id, owner_type, owner_id, currency)
LEFT JOIN (
    SELECT grant_id, topic, event_id, sum(amount) AS amount
    FROM entries
    WHERE tenant_id = :tenant_id AND event = 'reinstated' AND reason = 'moved' AND ledger_account = 'available'
    GROUP BY grant_id, topic, event_id
) moving (moved_grant, by_topic, by_event, amount) ON e.invoice_id IS NOT NULL
    AND (moved_grant, by_topic, by_event) = (e.grant_id, e.topic, e.event_id)
CROSS JOIN LATERAL (
    VALUES ('reservation', e.standing, r.standing),
           ('for invoice', e.invoice_id, r.invoice_id),
           ('reserved for', CASE WHEN e.invoice_id IS NULL THEN 'line_item' ELSE 'command' END, r.reserved_for),
           ('seq', e.seq::text, r.seq::text),
           ('message', concat_ws(' ', e.topic, e.event_id), concat_ws(' ', r.topic, r.event_id)),
           ('micros of a line item', least(r.amount, greatest(0, coalesce(moving.amount, 0) - (e.made - r.amount)))::text,
            r.moved::text)
) AS compared (part, expected, found)
WHERE compared.expected IS DISTINCT FROM compared.found
  AND (compared.part = 'reservation' OR e.standing = r.standing);

-- name: verify_credit_lines
-- Credit lines of invoices that are not void, by invoice and grant: what they take off the total is what was used plus
-- what is short, and nothing is short while credit of the grant is left. Lines that never named a grant are left out.
WITH billed AS (
    SELECT l.invoice_id, l.credit_line_id::uuid AS grant_id, -sum(l.amount + l.tax) AS amount,
           coalesce(sum(e.given), 0) AS short
    FROM invoice_lines l
    LEFT JOIN entitlements e
        ON e.tenant_id = l.tenant_id AND e.kind = 'credit_line' AND e.id = l.invoice_id AND e.line_id = l.line_id
    WHERE l.tenant_id = :tenant_id AND l.kind = 'credit' AND l.amount + l.tax < 0
      AND CASE WHEN l.credit_line_id ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN true END
    GROUP BY l.invoice_id, l.credit_line_id::uuid
), used AS (
    SELECT a.invoice_id, slice.grant_id, sum(slice.amount) AS amount
    FROM applications a
    CROSS JOIN LATERAL unnest(a.grant_ids, a.amounts) AS slice (grant_id, amount)
    WHERE a.tenant_id = :tenant_id AND a.applied_by = 'line_item'
    GROUP BY a.invoice_id, slice.grant_id
)
SELECT i.invoice_id, g.grant_id, i.currency, compared.part, compared.expected::bigint AS expected,
       compared.found::bigint AS found
FROM billed b
JOIN invoices i ON i.tenant_id = :tenant_id AND i.invoice_id = b.invoice_id
JOIN grants g ON g.tenant_id = :tenant_id AND g.grant_id = b.grant_id
    AND (g.owner_type, g.owner_id, g.currency) = (i.owner_type, i.owner_id, i.currency)
LEFT JOIN used u ON u.invoice_id = b.invoice_id AND u.grant_id = b.grant_id
JOIN unnest(:currencies::text[], :units::bigint[]) AS units (currency, unit) ON units.currency = i.currency
CROSS JOIN LATERAL (
    VALUES ('used and short', b.amount, coalesce(u.amount, 0) + b.short),
           ('short beside credit left', 0,
            CASE WHEN i.restored > 0 OR g.expires_at <= clock_timestamp() THEN 0
                 ELSE least(b.short, g.available - g.available % units.unit + g.reserved - g.reserved % units.unit) END)
) AS compared (part, expected, found)
WHERE NOT i.voided AND (u.amount IS NOT NULL OR b.short > 0) AND compared.expected <> compared.found;

-- name: verify_entitlements
-- What is due against what was given, from everything that credit can be due for: payments, lines of bookings and
-- plans, prepaid and credit lines, negative totals; each with or without a row, and each row with or without one of
-- these. Given is issued less taken back. At rest it is neither below what it is worth nor, while something of it
-- remains, above; what is above, and neither remains nor is covered or lost, is short. A line or a negative total is
-- worth its target once its invoice is settled (in time, if the policy said so); the target of a payment is what it has
-- left.
WITH basis AS (
    SELECT kind, payment_id AS id, '' AS line_id, owner_type, owner_id, currency, amount AS cost,
           amount - reversed - settled AS aim, false AS is_open, NULL::timestamptz AS settled_at
    FROM payments
    WHERE tenant_id = :tenant_id
    UNION ALL
    SELECT billed.kind, i.invoice_id, billed.line_id, i.owner_type, i.owner_id, i.currency, billed.cost,
           CASE WHEN i.voided THEN 0 ELSE billed.aim END,
           i.voided OR greatest(i.total + i.restored, 0) - i.settled - i.applied > 0, i.settled_at
    FROM (
        -- The target of a booking's or plan's line follows from the changes: see verify_changes.
        SELECT 'line' AS kind, invoice_id, line_id, cost, CASE kind WHEN 'prepaid' THEN cost END AS aim
        FROM invoice_lines
        WHERE tenant_id = :tenant_id AND kind IN ('booking', 'plan', 'prepaid')
        UNION ALL
        SELECT 'credit_line', invoice_id, line_id, -(amount + tax), 0
        FROM invoice_lines
        WHERE tenant_id = :tenant_id AND kind = 'credit'
        UNION ALL
        SELECT 'negative_total', invoice_id, '', -total, greatest(0, -total - restored)
        FROM invoices
        WHERE tenant_id = :tenant_id AND total < 0
    ) billed
    JOIN invoices i ON i.tenant_id = :tenant_id AND i.invoice_id = billed.invoice_id
), due AS (
    SELECT kind, id, line_id, owner_type, owner_id, currency, e.id IS NOT NULL AS has_row, e.given, e.covered, e.shortfall,
           e.cost, e.target, coalesce(b.cost, 0) AS expected_cost,
           CASE WHEN b.id IS NULL THEN 0 ELSE coalesce(b.aim, e.target, 0) END AS expected_target,
           CASE WHEN b.is_open OR b.settled_at > e.settle_by THEN 0 ELSE coalesce(e.target, 0) END AS worth
    FROM (SELECT * FROM entitlements WHERE tenant_id = :tenant_id) e
    FULL JOIN basis b USING (kind, id, line_id, owner_type, owner_id, currency)
)
SELECT d.kind, d.id, d.line_id, d.owner_type, d.owner_id, d.currency, compared.part, compared.expected::bigint AS expected,
       compared.found::bigint AS found
FROM due d
LEFT JOIN (
    SELECT entitlement_kind AS kind, entitlement_id AS id, entitlement_line_id AS line_id,
           sum(amount - taken) AS given, sum(available + reserved) AS remaining, sum(lost) AS lost
    FROM grants
    WHERE tenant_id = :tenant_id AND entitlement_kind IS NOT NULL
    GROUP BY entitlement_kind, entitlement_id, entitlement_line_id
) g USING (kind, id, line_id)
CROSS JOIN LATERAL (
    SELECT greatest(0, d.given - d.covered - d.worth) AS above, coalesce(g.lost, 0) AS lost
) AS kept
CROSS JOIN LATERAL (
    VALUES ('target', d.expected_target::numeric, coalesce(d.target, 0)::numeric),
           -- A credit line can be short of a part of its own amount only.
           ('cost', CASE WHEN d.kind = 'credit_line' THEN least(d.cost, d.expected_cost) ELSE d.expected_cost END,
            d.cost),
           -- What a credit line is short of was given by no grant.
           ('given', CASE WHEN d.kind = 'credit_line' THEN d.shortfall ELSE coalesce(g.given, 0) END, d.given),
           ('given at rest', greatest(d.given, d.worth), d.given),
           ('shortfall', CASE WHEN d.kind = 'credit_line' THEN d.given ELSE greatest(0, kept.above - kept.lost) END,
               d.shortfall),
           ('covered', CASE WHEN d.kind = 'line' THEN d.covered ELSE 0 END, d.covered),
           -- What expired or was voided is not deducted from payments a second time.
           ('remaining of what is no longer due', 0,
            least(coalesce(g.remaining, 0), greatest(0, kept.above - CASE WHEN d.covered > 0 THEN kept.lost ELSE 0 END)))
) AS compared (part, expected, found)
WHERE compared.expected <> compared.found AND (d.has_row OR compared.part = 'target');

-- name: verify_due
-- What credit is due for and since when, as far as payments and invoices have it, and the number of grants for it.
SELECT e.kind, e.id, e.line_id, e.owner_type, e.owner_id, compared.part, compared.expected, compared.found
FROM entitlements e
LEFT JOIN payments p ON p.tenant_id = e.tenant_id AND p.kind = e.kind AND p.payment_id = e.id
LEFT JOIN invoices i
    ON e.kind IN ('line', 'negative_total', 'credit_line') AND i.tenant_id = e.tenant_id AND i.invoice_id = e.id
LEFT JOIN invoice_lines l
    ON e.kind = 'line' AND l.tenant_id = e.tenant_id AND l.invoice_id = e.id AND l.line_id = e.line_id
LEFT JOIN (
    SELECT entitlement_kind AS kind, entitlement_id AS id, entitlement_line_id AS line_id, count(*) AS grants
    FROM grants
    WHERE tenant_id = :tenant_id AND entitlement_kind IS NOT NULL
    GROUP BY entitlement_kind, entitlement_id, entitlement_line_id
) g ON g.kind = e.kind AND g.id = e.id AND g.line_id = e.line_id
CROSS JOIN LATERAL (
    VALUES ('grants', coalesce(g.grants, 0)::text, e.grants::text),
           ('source',
            CASE WHEN p.kind IS NOT NULL THEN 'overpayment'
                WHEN e.kind = 'negative_total' THEN 'negative_invoice'
                WHEN l.kind = 'prepaid' THEN 'prepaid'
                ELSE e.source END,
            e.source),
           ('due from',
            CASE WHEN l.kind IN ('booking', 'plan') THEN e.due_from
                ELSE coalesce(p.occurred_at, i.finalized_at, e.due_from) END::text,
            e.due_from::text)
) AS compared (part, expected, found)
WHERE e.tenant_id = :tenant_id AND compared.expected <> compared.found;

-- name: verify_costs
-- Every line with its invoice's currency, by invoice.
SELECT l.invoice_id, i.currency, l.line_id, l.kind, l.subject_id, l.amount, l.tax, l.cost, l.cost_tax
FROM invoice_lines l
JOIN invoices i ON i.tenant_id = l.tenant_id AND i.invoice_id = l.invoice_id
WHERE l.tenant_id = :tenant_id
ORDER BY l.tenant_id, l.invoice_id, l.position;

-- name: verify_billed
-- Every line of a booking or plan with its invoice and its stored target, by subject.
SELECT l.*, i.*, e.target, e.source, e.due_from, e.settle_by, e.as_line_item,
       e.expires_after_days AS terms_expire_after_days, e.time_zone AS terms_time_zone
FROM invoice_lines l
JOIN invoices i ON i.tenant_id = l.tenant_id AND i.invoice_id = l.invoice_id
LEFT JOIN entitlements e
    ON e.tenant_id = l.tenant_id AND e.kind = 'line' AND e.id = l.invoice_id AND e.line_id = l.line_id
WHERE l.tenant_id = :tenant_id AND l.kind IN ('booking', 'plan') AND l.subject_id IS NOT NULL
ORDER BY l.kind COLLATE "C", l.subject_id COLLATE "C";

-- name: verify_changes
-- Every change, by subject in the order of verify_billed.
SELECT *
FROM changes
WHERE tenant_id = :tenant_id
ORDER BY subject_kind COLLATE "C", subject_id COLLATE "C";

-- name: verify_policies
-- Every message that set policy keys with its decision; either can be missing.
SELECT event_id, p.scope, p.scope_id, p.keys, d.facts
FROM (SELECT event_id, scope, scope_id, keys FROM policies WHERE tenant_id = :tenant_id) p
FULL JOIN (
    SELECT event_id, facts
    FROM decisions
    WHERE tenant_id = :tenant_id AND subject_kind = 'policy' AND topic = 'set-credit-policy' AND outcome = 'recorded'
) d USING (event_id)
ORDER BY event_id;

-- name: verify_currencies
-- The currencies of a tenant's invoices.
SELECT DISTINCT currency FROM invoices WHERE tenant_id = :tenant_id;

-- name: verify_payments_at_rest
-- Invoices that are still due while a payment for them has overpayment left, in whole minor units.
SELECT i.invoice_id, i.currency, 'due beside the rest of payment ' || p.payment_id AS part, 0::bigint AS expected,
       least(i.total + i.restored - i.settled - i.applied, rest.available - rest.available % units.unit)::bigint AS found
FROM invoices i
JOIN payments p USING (tenant_id, owner_type, owner_id, currency)
JOIN unnest(:currencies::text[], :units::bigint[]) AS units (currency, unit) USING (currency)
CROSS JOIN LATERAL (
    SELECT coalesce(sum(g.available), 0) AS available
    FROM grants g
    WHERE g.tenant_id = p.tenant_id AND g.entitlement_kind = p.kind AND g.entitlement_id = p.payment_id
      AND g.entitlement_line_id = '' AND (g.expires_at IS NULL OR g.expires_at > clock_timestamp())
) AS rest
WHERE i.tenant_id = :tenant_id AND NOT i.voided AND i.total + i.restored > 0 AND i.total + i.restored > i.settled + i.applied
  AND (i.invoice_id = ANY (p.invoice_ids)
       OR (cardinality(p.invoice_ids) = 0 AND i.finalized_at <= p.occurred_at))
  AND rest.available >= units.unit;

-- name: verify_invoices_at_rest
-- Automatic invoices that are still due while there is credit that was early enough for them: of each grant what is in
-- whole minor units, since a fraction stays in its grant.
SELECT i.invoice_id, i.currency, 'due beside usable credit' AS part, 0::bigint AS expected,
       least(i.total + i.restored - i.settled - i.applied, usable.available)::bigint AS found
FROM invoices i
JOIN unnest(:currencies::text[], :units::bigint[]) AS units (currency, unit) USING (currency)
CROSS JOIN LATERAL (
    SELECT coalesce(sum(g.available - g.available % units.unit), 0) AS available
    FROM grants g
    WHERE g.tenant_id = i.tenant_id AND g.owner_type = i.owner_type AND g.owner_id = i.owner_id
      AND g.currency = i.currency AND g.available + g.reserved + g.pending > 0 AND g.effective_at <= i.finalized_at
      AND (g.expires_at IS NULL OR g.expires_at > greatest(i.finalized_at, clock_timestamp()))
) AS usable
WHERE i.tenant_id = :tenant_id AND NOT i.voided AND i.automatic AND NOT i.barred
  AND i.total + i.restored > 0 AND i.total + i.restored > i.settled + i.applied AND usable.available > 0;

-- name: verify_terms
-- Grants whose terms differ from those of the command or the line that they come from. The expiry of other credit is
-- not checked: it depends on the policy of the change that it was issued for, and a later change may have a different
-- one.
SELECT g.grant_id, compared.part, coalesce(compared.expected, 'none') AS expected,
       coalesce(compared.found, 'none') AS found
FROM grants g
LEFT JOIN commands c
    ON g.source = 'granted' AND c.tenant_id = g.tenant_id AND c.topic = g.topic AND c.event_id = g.event_id
LEFT JOIN entitlements e
    ON e.tenant_id = g.tenant_id AND e.kind = g.entitlement_kind AND e.id = g.entitlement_id
    AND e.line_id = g.entitlement_line_id
LEFT JOIN invoice_lines l
    ON g.source = 'prepaid' AND l.tenant_id = g.tenant_id AND l.invoice_id = g.entitlement_id
    AND l.line_id = g.entitlement_line_id
CROSS JOIN LATERAL (
    VALUES ('owner',
            CASE g.source WHEN 'granted' THEN concat_ws('/', c.body #>> '{owner,type}', c.body #>> '{owner,id}')
                ELSE concat_ws('/', e.owner_type, e.owner_id) END,
            concat_ws('/', g.owner_type, g.owner_id)),
           ('currency', CASE g.source WHEN 'granted' THEN c.body ->> 'currency' ELSE e.currency END, g.currency),
           ('amount asked for',
            trim_scale(CASE g.source WHEN 'granted' THEN (c.body ->> 'amount')::numeric ELSE g.amount / 1e6 END)::text,
            trim_scale(g.amount / 1e6)::text),
           ('reference', CASE g.source WHEN 'granted' THEN c.body ->> 'reference' END, g.reference),
           ('note', CASE g.source WHEN 'granted' THEN c.body ->> 'note' END, g.note),
           ('reason', CASE g.source WHEN 'granted' THEN c.body ->> 'reason' ELSE g.source END, g.reason),
           ('priority', CASE g.source WHEN 'granted' THEN c.body ->> 'priority' ELSE '50' END, g.priority::text),
           ('paid for',
            CASE g.source WHEN 'granted' THEN c.body ->> 'reason' = 'purchase' ELSE true END::text, g.paid_for::text),
           ('effective at',
            CASE g.source WHEN 'granted' THEN (c.body ->> 'effective_at')::timestamptz ELSE g.effective_at END::text,
            g.effective_at::text),
           ('expires at',
            CASE g.source WHEN 'granted' THEN (c.body ->> 'expires_at')::timestamptz
                WHEN 'prepaid' THEN l.expires_at ELSE g.expires_at END::text,
            g.expires_at::text)
) AS compared (part, expected, found)
WHERE g.tenant_id = :tenant_id AND compared.expected IS DISTINCT FROM compared.found;
