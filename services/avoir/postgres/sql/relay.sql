-- name: outbox_waits
-- Whether anything is there to publish.
SELECT EXISTS (SELECT FROM outbox WHERE refused IS NULL);

-- name: outbox_rows
-- The oldest rows to publish, in order, at least one. $1 most rows, $2 about how many bytes of values.
WITH oldest AS (
    SELECT tenant_id, outbox_id, topic, key, value, headers
    FROM outbox
    WHERE refused IS NULL
    ORDER BY outbox_id
    LIMIT $1
), measured AS (
    SELECT *, sum(coalesce(octet_length(value), 0)) OVER (ORDER BY outbox_id) - coalesce(octet_length(value), 0)
        AS bytes_before
    FROM oldest
)
SELECT tenant_id, outbox_id, topic, key, value, headers
FROM measured
WHERE bytes_before < $2
ORDER BY outbox_id;

-- name: delete_published
-- Removes what the broker has acknowledged. $1 tenants, $2 outbox ids.
DELETE FROM outbox o
USING unnest($1::text[], $2::bigint[]) AS v (tenant_id, outbox_id)
WHERE o.tenant_id = v.tenant_id AND o.outbox_id = v.outbox_id;

-- name: refuse_row
-- Sets a row aside that the broker refuses for good. $1 outbox id, $2 why.
UPDATE outbox SET refused = $2 WHERE outbox_id = $1 AND refused IS NULL;

-- name: keep_topics_out
-- Keeps how many partitions topics out have that are seen for the first time. $1 topics, by actual names, $2 partitions.
INSERT INTO topics_out (topic, partitions)
SELECT * FROM unnest($1::text[], $2::integer[]) AS v (topic, partitions)
ON CONFLICT DO NOTHING;

-- name: read_topics_out
-- How many partitions of topics out are used. $1 topics, by actual names.
SELECT topic, partitions FROM topics_out WHERE topic = ANY ($1::text[]) ORDER BY topic;

-- name: read_all_topics_out
-- How many partitions of each topic out are used.
SELECT topic, partitions FROM topics_out ORDER BY topic;

-- name: read_heads
-- The epoch of the ledger and, for accounts at a seq each, their last seq and the hash of their last entry up to there:
-- both null where the ledger has none. $1-$4 accounts, $5 seqs.
SELECT (SELECT max(epoch) FROM epochs) AS epoch, a.seq, e.hash
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[]) WITH ORDINALITY
    AS k (tenant_id, owner_type, owner_id, currency, seq, n)
LEFT JOIN accounts a USING (tenant_id, owner_type, owner_id, currency)
LEFT JOIN LATERAL (
    SELECT e.hash FROM entries e
    WHERE e.tenant_id = k.tenant_id AND e.owner_type = k.owner_type AND e.owner_id = k.owner_id
        AND e.currency = k.currency AND e.seq <= k.seq
    ORDER BY e.seq DESC, e.n DESC LIMIT 1
) e ON true
ORDER BY k.n;
