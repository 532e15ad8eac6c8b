-- Reads for people: balances, statements, the state of the service. Nothing here writes.

-- name: read_clock
-- The database clock, fixed for the transaction: all its reads use the same "now".
SELECT now();

-- name: read_balances
-- Accounts with the credit that can be used now: an expired grant counts for nothing, even if the sweep has not handled
-- it yet. No owner: all.
SELECT a.owner_type, a.owner_id, a.currency, a.seq, a.head, a.refill_asked,
       nullif(a.recorded_at, '-infinity') AS recorded_at,
       a.available - coalesce(expired.available, 0)::bigint AS available,
       a.reserved - coalesce(expired.reserved, 0)::bigint AS reserved,
       coalesce(expired.available + expired.reserved, 0)::bigint AS expired_unswept,
       next.expires_at AS next_expires_at,
       coalesce(next.amount, 0)::bigint AS next_expiring
FROM accounts a
LEFT JOIN LATERAL (
    SELECT sum(g.available) AS available, sum(g.reserved) AS reserved
    FROM grants g
    WHERE g.tenant_id = a.tenant_id AND g.owner_type = a.owner_type AND g.owner_id = a.owner_id
      AND g.currency = a.currency AND g.available + g.reserved + g.pending > 0 AND g.expires_at <= :now
) expired ON true
LEFT JOIN LATERAL (
    SELECT g.expires_at, sum(g.available + g.reserved) AS amount
    FROM grants g
    WHERE g.tenant_id = a.tenant_id AND g.owner_type = a.owner_type AND g.owner_id = a.owner_id
      AND g.currency = a.currency AND g.available + g.reserved + g.pending > 0 AND g.expires_at > :now
    GROUP BY g.expires_at
    HAVING sum(g.available + g.reserved) > 0
    ORDER BY g.expires_at
    LIMIT 1
) next ON true
WHERE a.tenant_id = :tenant_id
  AND (:owner_type::text IS NULL OR (a.owner_type = :owner_type AND a.owner_id = :owner_id))
ORDER BY a.owner_type, a.owner_id, a.currency
LIMIT :limit;

-- name: read_tenants
-- Every tenant that has an account, by one index look-up each.
WITH RECURSIVE tenants AS (
    (SELECT tenant_id FROM accounts ORDER BY tenant_id LIMIT 1)
    UNION ALL
    SELECT (SELECT a.tenant_id FROM accounts a WHERE a.tenant_id > t.tenant_id ORDER BY a.tenant_id LIMIT 1)
    FROM tenants t
    WHERE t.tenant_id IS NOT NULL
)
SELECT tenant_id FROM tenants WHERE tenant_id IS NOT NULL;

-- name: read_owner_accounts
-- An owner's accounts, each with the sums of all its entries. No currency: all.
SELECT a.currency, a.available, a.reserved, summed.available AS summed_available, summed.reserved AS summed_reserved
FROM accounts a
CROSS JOIN LATERAL (
    SELECT coalesce(sum(e.amount) FILTER (WHERE e.ledger_account = 'available'), 0)::bigint AS available,
           coalesce(sum(e.amount) FILTER (WHERE e.ledger_account = 'reserved'), 0)::bigint AS reserved
    FROM entries e
    WHERE e.tenant_id = a.tenant_id AND e.owner_type = a.owner_type AND e.owner_id = a.owner_id
      AND e.currency = a.currency
) summed
WHERE a.tenant_id = :tenant_id AND a.owner_type = :owner.type AND a.owner_id = :owner.id
    AND (:currency::text IS NULL OR a.currency = :currency)
ORDER BY a.currency;

-- name: read_movements
-- The last entries of an account recorded from `start` to before `end`, and no later than `as_of`, newest first, with
-- the numbers of their documents. No limit: all.
SELECT e.seq, e.n, e.ledger_account, e.counter_account, e.grant_id, e.amount, e.balance, e.event, e.reason,
       e.invoice_id, e.application_id, e.topic, e.event_id, e.occurred_at, e.recorded_at,
       g.source, g.reference, g.entitlement_kind, g.entitlement_id, l.kind AS line_kind, l.subject_id, i.number
FROM entries e
JOIN grants g ON g.tenant_id = e.tenant_id AND g.grant_id = e.grant_id
LEFT JOIN invoice_lines l
    ON g.entitlement_kind = 'line' AND l.tenant_id = g.tenant_id AND l.invoice_id = g.entitlement_id
    AND l.line_id = g.entitlement_line_id
LEFT JOIN invoices i
    ON i.tenant_id = e.tenant_id
    AND i.invoice_id = coalesce(e.invoice_id, CASE WHEN g.entitlement_kind <> 'payment' THEN g.entitlement_id END)
WHERE e.tenant_id = :account.tenant_id AND e.owner_type = :account.owner_type AND e.owner_id = :account.owner_id
  AND e.currency = :account.currency AND e.recorded_at >= :start AND e.recorded_at < :end AND e.recorded_at <= :as_of
ORDER BY e.seq DESC, e.n DESC
LIMIT :limit;

-- name: read_balance_before
-- The balance of one ledger account before an entry, or before a moment if there is no entry. Only entries recorded
-- before `before`, and no later than `as_of`, count.
SELECT e.balance
FROM entries e
WHERE e.tenant_id = :account.tenant_id AND e.owner_type = :account.owner_type AND e.owner_id = :account.owner_id
  AND e.currency = :account.currency AND e.ledger_account = :ledger_account
  AND (e.seq, e.n) < (:place.seq, :place.n)
  AND e.recorded_at < :place.before AND e.recorded_at <= :place.as_of
ORDER BY e.seq DESC, e.n DESC
LIMIT 1;

-- name: read_grants_left
-- What an account's entries, up to the same place, left in each of its grants; the first to expire comes first.
SELECT g.grant_id, g.source, g.reason, g.effective_at, g.expires_at, held.available, held.reserved
FROM (
    SELECT e.grant_id,
           coalesce(sum(e.amount) FILTER (WHERE e.ledger_account = 'available'), 0)::bigint AS available,
           coalesce(sum(e.amount) FILTER (WHERE e.ledger_account = 'reserved'), 0)::bigint AS reserved
    FROM entries e
    WHERE e.tenant_id = :account.tenant_id AND e.owner_type = :account.owner_type
        AND e.owner_id = :account.owner_id AND e.currency = :account.currency
      AND (e.seq, e.n) < (:place.seq, :place.n)
      AND e.recorded_at < :place.before AND e.recorded_at <= :place.as_of
    GROUP BY e.grant_id
) held
JOIN grants g ON g.tenant_id = :account.tenant_id AND g.grant_id = held.grant_id
WHERE held.available <> 0 OR held.reserved <> 0
ORDER BY g.expires_at, g.effective_at, g.grant_id;

-- name: read_epoch
-- The epoch of new events.
SELECT max(epoch) FROM epochs;

-- name: read_leases
-- The holder of each lease, and whether it is still held.
SELECT name, holder, held_until, held_until BETWEEN clock_timestamp() AND clock_timestamp() + held_for AS held
FROM leases ORDER BY name;

-- name: read_outbox
-- The number of rows to publish, since when, and the number that the broker refused. Over all tenants.
SELECT count(*) FILTER (WHERE refused IS NULL) AS waiting,
       min(recorded_at) FILTER (WHERE refused IS NULL) AS oldest,
       count(*) FILTER (WHERE refused IS NOT NULL) AS refused
FROM outbox;

-- name: read_refused
-- The outbox rows that the broker refused, without their contents, oldest first. Over all tenants.
SELECT tenant_id, outbox_id, topic, key, octet_length(value) AS bytes, recorded_at, refused
FROM outbox
WHERE refused IS NOT NULL
ORDER BY outbox_id
LIMIT :limit;

-- name: read_dead_letter_counts
-- The number of dead letters that were not replayed, by outcome and topic. Over all tenants.
SELECT outcome, topic, sum(messages)::bigint AS messages, max(recorded_at) AS newest
FROM dead_letters
WHERE replayed_at IS NULL
GROUP BY outcome, topic
ORDER BY outcome, topic;

-- name: read_dead_letters
-- Dead letters without their bytes, newest first. Null means all, also those of unreadable messages, whose tenant is
-- empty; `replayed` includes replayed ones.
SELECT tenant_id, dead_letter_id, outcome, reason, event_id, topic, partition, kafka_offset, recorded_at, replayed_at,
       first_offset, messages, value_length, sha256
FROM dead_letters
WHERE (:tenant_id::text IS NULL OR tenant_id = :tenant_id) AND (:outcome::text IS NULL OR outcome = :outcome)
  AND (:topic::text IS NULL OR topic = :topic) AND (:replayed OR replayed_at IS NULL)
ORDER BY recorded_at DESC, dead_letter_id
LIMIT :limit;

-- name: read_dead_letter
-- One dead letter with all that was kept. The id alone is enough: the tenant of unreadable bytes is unknown.
SELECT tenant_id, dead_letter_id, outcome, reason, event_id, topic, partition, kafka_offset, kafka_timestamp,
       key, value, header_names, header_values, recorded_at, replayed_at, first_offset, messages, value_length, sha256
FROM dead_letters
WHERE dead_letter_id = :dead_letter_id;
