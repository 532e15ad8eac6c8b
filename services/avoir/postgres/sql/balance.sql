-- More on balances: pending credit, and reserved credit by invoice.

-- name: read_pending
-- Pending credit of accounts, by the time when it takes effect.
SELECT g.owner_type, g.owner_id, g.currency, g.effective_at, sum(g.pending)::bigint AS amount
FROM unnest(:accounts.owner_type::text[], :accounts.owner_id::text[], :accounts.currency::text[])
    AS asked (owner_type, owner_id, currency)
JOIN grants g USING (owner_type, owner_id, currency)
WHERE g.tenant_id = :tenant_id AND g.available + g.reserved + g.pending > 0 AND g.pending > 0
GROUP BY g.owner_type, g.owner_id, g.currency, g.effective_at
ORDER BY g.effective_at;

-- name: read_reserved
-- Reserved credit of accounts, by invoice (null: the owner's next), without what has expired.
SELECT g.owner_type, g.owner_id, g.currency, r.invoice_id, sum(r.amount)::bigint AS amount
FROM unnest(:accounts.owner_type::text[], :accounts.owner_id::text[], :accounts.currency::text[])
    AS asked (owner_type, owner_id, currency)
JOIN grants g USING (owner_type, owner_id, currency)
JOIN reservations r ON r.tenant_id = g.tenant_id AND r.grant_id = g.grant_id AND r.amount > 0
WHERE g.tenant_id = :tenant_id AND g.available + g.reserved + g.pending > 0 AND g.reserved > 0
  AND (g.expires_at IS NULL OR g.expires_at > :now)
GROUP BY g.owner_type, g.owner_id, g.currency, r.invoice_id
ORDER BY r.invoice_id NULLS FIRST;

-- name: read_pending_counts
-- Pending grants, those of them that should have been issued, and accounts with a requested refill. Over all tenants.
SELECT count(*) AS pending,
       count(*) FILTER (WHERE effective_at <= :now) AS overdue,
       min(effective_at) AS next_at,
       (SELECT count(*) FROM accounts WHERE refill_asked) AS refills
FROM grants
WHERE pending > 0;
