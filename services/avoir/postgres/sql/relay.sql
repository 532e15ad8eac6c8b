-- The outbox: what the relay reads, publishes and deletes.

-- name: outbox_waits
-- Whether there is anything to publish.
SELECT EXISTS (SELECT FROM outbox WHERE refused IS NULL);

-- name: outbox_rows
-- The oldest rows to publish, in order, at least one. `most_bytes` limits their values in bytes, approximately.
WITH oldest AS (
    SELECT tenant_id, outbox_id, topic, key, value, headers
    FROM outbox
    WHERE refused IS NULL
    ORDER BY outbox_id
    LIMIT :limit
), measured AS (
    SELECT *, sum(coalesce(octet_length(value), 0)) OVER (ORDER BY outbox_id) - coalesce(octet_length(value), 0)
        AS bytes_before
    FROM oldest
)
SELECT tenant_id, outbox_id, topic, key, value, headers
FROM measured
WHERE bytes_before < :most_bytes
ORDER BY outbox_id;

-- name: delete_published
-- Deletes rows that the broker has acknowledged.
DELETE FROM outbox o
USING unnest(:tenant_ids::text[], :outbox_ids::bigint[]) AS v (tenant_id, outbox_id)
WHERE o.tenant_id = v.tenant_id AND o.outbox_id = v.outbox_id;

-- name: refuse_row
-- Marks a row that the broker refuses for good.
UPDATE outbox SET refused = :reason WHERE outbox_id = :outbox_id AND refused IS NULL;

-- name: add_output_topics
-- Records the number of partitions of output topics that are seen for the first time. Topics have their actual names.
INSERT INTO topics_out (topic, partitions)
SELECT * FROM unnest(:topics::text[], :partitions::integer[]) AS v (topic, partitions)
ON CONFLICT DO NOTHING;

-- name: read_output_topics
-- The number of partitions in use of some output topics. Topics have their actual names.
SELECT topic, partitions FROM topics_out WHERE topic = ANY (:topics::text[]) ORDER BY topic;

-- name: read_all_output_topics
-- The number of partitions in use of each output topic.
SELECT topic, partitions FROM topics_out ORDER BY topic;

-- name: read_heads
-- The epoch of the ledger and, for accounts with a seq each, their last seq and the hash of their last entry up to the
-- given seq; both are null if the ledger has none.
SELECT (SELECT max(epoch) FROM epochs) AS epoch, a.seq, e.hash
FROM unnest(:accounts.tenant_id::text[], :accounts.owner_type::text[], :accounts.owner_id::text[],
    :accounts.currency::text[], :seqs::bigint[]) WITH ORDINALITY
    AS k (tenant_id, owner_type, owner_id, currency, seq, n)
LEFT JOIN accounts a USING (tenant_id, owner_type, owner_id, currency)
LEFT JOIN LATERAL (
    SELECT e.hash FROM entries e
    WHERE e.tenant_id = k.tenant_id AND e.owner_type = k.owner_type AND e.owner_id = k.owner_id
        AND e.currency = k.currency AND e.seq <= k.seq
    ORDER BY e.seq DESC, e.n DESC LIMIT 1
) e ON true
ORDER BY k.n;
