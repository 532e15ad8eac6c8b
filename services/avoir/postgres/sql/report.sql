-- Reports for finance: the credit that a tenant owes, at any moment, from entries and from what never changes of
-- grants.

-- name: report_liability
-- The credit left in a tenant's grants by currency and source: by age, by expiry, and what had expired by then. Age and
-- expiry are counted from `moment`.
SELECT g.currency, g.source, g.reason, g.paid_for,
       count(*) FILTER (WHERE NOT expired)::numeric AS grants,
       coalesce(sum(held.available) FILTER (WHERE NOT expired), 0) AS available,
       coalesce(sum(held.reserved) FILTER (WHERE NOT expired), 0) AS reserved,
       coalesce(sum(outstanding) FILTER (WHERE NOT expired AND age < interval '31 days'), 0) AS age_0_30,
       coalesce(sum(outstanding) FILTER (WHERE NOT expired AND age >= interval '31 days' AND age < interval '61 days'), 0)
           AS age_31_60,
       coalesce(sum(outstanding) FILTER (WHERE NOT expired AND age >= interval '61 days' AND age < interval '91 days'), 0)
           AS age_61_90,
       coalesce(sum(outstanding) FILTER (WHERE NOT expired AND age >= interval '91 days'), 0) AS age_over_90,
       coalesce(sum(outstanding) FILTER (WHERE NOT expired AND left_for <= interval '30 days'), 0) AS expires_in_30,
       coalesce(sum(outstanding) FILTER (WHERE NOT expired AND left_for <= interval '60 days'), 0) AS expires_in_60,
       coalesce(sum(outstanding) FILTER (WHERE NOT expired AND left_for <= interval '90 days'), 0) AS expires_in_90,
       coalesce(sum(held.available) FILTER (WHERE expired), 0) AS expired_available,
       coalesce(sum(held.reserved) FILTER (WHERE expired), 0) AS expired_reserved
FROM (
    SELECT e.grant_id,
           coalesce(sum(e.amount) FILTER (WHERE e.ledger_account = 'available'), 0) AS available,
           coalesce(sum(e.amount) FILTER (WHERE e.ledger_account = 'reserved'), 0) AS reserved
    FROM entries e
    WHERE e.tenant_id = :tenant_id AND e.recorded_at <= :recorded_by
    GROUP BY e.grant_id
) held
JOIN grants g ON g.tenant_id = :tenant_id AND g.grant_id = held.grant_id
CROSS JOIN LATERAL (
    SELECT held.available + held.reserved AS outstanding, :moment::timestamptz - g.effective_at AS age,
           g.expires_at - :moment::timestamptz AS left_for, coalesce(g.expires_at <= :moment::timestamptz, false) AS expired
) AS at_the_moment
WHERE held.available <> 0 OR held.reserved <> 0
GROUP BY g.currency, g.source, g.reason, g.paid_for
ORDER BY g.currency, g.source, g.reason, g.paid_for;

-- name: report_balances
-- The balances of all accounts at a moment, added up by currency: those in their last entries by then.
SELECT currency, sum(available) AS available, sum(reserved) AS reserved
FROM (
    SELECT e.currency,
           coalesce((max(ARRAY[e.seq, e.n, e.balance]) FILTER (WHERE e.ledger_account = 'available'))[3], 0) AS available,
           coalesce((max(ARRAY[e.seq, e.n, e.balance]) FILTER (WHERE e.ledger_account = 'reserved'))[3], 0) AS reserved
    FROM entries e
    WHERE e.tenant_id = :tenant_id AND e.recorded_at <= :recorded_by
    GROUP BY e.owner_type, e.owner_id, e.currency
) account
GROUP BY currency
ORDER BY currency;

-- name: report_differences
-- Accounts whose entries by a moment don't add up to the balance in the last of them, or whose entries of all time
-- don't add up to the account's balance.
SELECT a.owner_type, a.owner_id, a.currency, compared.part, compared.expected::bigint AS expected, compared.found
FROM accounts a
LEFT JOIN (
    SELECT e.owner_type, e.owner_id, e.currency,
           sum(e.amount) FILTER (WHERE e.ledger_account = 'available') AS available,
           sum(e.amount) FILTER (WHERE e.ledger_account = 'reserved') AS reserved,
           sum(e.amount) FILTER (WHERE e.ledger_account = 'available' AND e.recorded_at <= :recorded_by) AS available_then,
           sum(e.amount) FILTER (WHERE e.ledger_account = 'reserved' AND e.recorded_at <= :recorded_by) AS reserved_then,
           (max(ARRAY[e.seq, e.n, e.balance]) FILTER (WHERE e.ledger_account = 'available'
               AND e.recorded_at <= :recorded_by))[3]
               AS last_available,
           (max(ARRAY[e.seq, e.n, e.balance]) FILTER (WHERE e.ledger_account = 'reserved'
               AND e.recorded_at <= :recorded_by))[3]
               AS last_reserved
    FROM entries e
    WHERE e.tenant_id = :tenant_id
    GROUP BY e.owner_type, e.owner_id, e.currency
) said USING (owner_type, owner_id, currency)
CROSS JOIN LATERAL (
    VALUES ('available as of then', coalesce(said.available_then, 0), coalesce(said.last_available, 0)),
           ('reserved as of then', coalesce(said.reserved_then, 0), coalesce(said.last_reserved, 0)),
           ('available', coalesce(said.available, 0), a.available),
           ('reserved', coalesce(said.reserved, 0), a.reserved)
) AS compared (part, expected, found)
WHERE a.tenant_id = :tenant_id AND compared.expected <> compared.found
ORDER BY a.owner_type, a.owner_id, a.currency, compared.part;
