-- Messages that wait for a row which somebody keeps locked: which rows those are, who has them, and what waits.

-- name: free_subjects
-- Those of some things that messages name that nobody has locked; each is locked until the transaction ends.
SELECT s.tenant_id, s.kind, s.id
FROM unnest(:subjects.tenant_id::text[], :subjects.kind::text[], :subjects.id::text[]) AS k (tenant_id, kind, id)
JOIN subjects s USING (tenant_id, kind, id)
FOR UPDATE OF s SKIP LOCKED;

-- name: known_subjects
-- Those of some things that messages name that have a row.
SELECT s.tenant_id, s.kind, s.id
FROM unnest(:subjects.tenant_id::text[], :subjects.kind::text[], :subjects.id::text[]) AS k (tenant_id, kind, id)
JOIN subjects s USING (tenant_id, kind, id);

-- name: free_accounts
-- Those of some accounts that nobody has locked; each is locked until the transaction ends.
SELECT a.tenant_id, a.owner_type, a.owner_id, a.currency
FROM unnest(
    :accounts.tenant_id::text[], :accounts.owner_type::text[], :accounts.owner_id::text[], :accounts.currency::text[]
) AS k (tenant_id, owner_type, owner_id, currency)
JOIN accounts a USING (tenant_id, owner_type, owner_id, currency)
FOR UPDATE OF a SKIP LOCKED;

-- name: known_accounts
-- Those of some accounts that have a row.
SELECT a.tenant_id, a.owner_type, a.owner_id, a.currency
FROM unnest(
    :accounts.tenant_id::text[], :accounts.owner_type::text[], :accounts.owner_id::text[], :accounts.currency::text[]
) AS k (tenant_id, owner_type, owner_id, currency)
JOIN accounts a USING (tenant_id, owner_type, owner_id, currency);

-- name: read_holders
-- Who keeps a session waiting (0 is a prepared transaction); what another user does is only told to those who may see
-- it.
SELECT b.pid, a.usename AS user, a.application_name AS application, host(a.client_addr) AS address, a.state,
       a.xact_start AS since, a.query_start AS last_query_at, left(a.query, 200) AS last_query
FROM unnest(pg_blocking_pids(:pid)) AS b (pid)
LEFT JOIN pg_stat_activity a ON a.pid = b.pid;

-- name: read_deferred
-- What the messages of some partitions wait for, and how many they are.
SELECT d.waits_for, d.concerns, count(*) AS messages,
       sum(octet_length(coalesce(d.key, '')) + octet_length(d.value) + octet_length(d.headers))::bigint AS bytes
FROM deferred d
WHERE d.group_id = :group_id
  AND (d.topic, d.partition) IN (SELECT * FROM unnest(:partitions.topic::text[], :partitions.partition::integer[]))
GROUP BY d.waits_for, d.concerns;

-- name: oldest_deferred
-- The messages of some partitions that wait for some rows, in their order; no further when they have so many bytes.
SELECT n, topic, partition, kafka_offset, timestamp_ms, key, value, headers
FROM (
    SELECT d.*, sum(size) OVER (ORDER BY n) - size AS bytes_before
    FROM (
        SELECT d.*, octet_length(coalesce(d.key, '')) + octet_length(d.value) + octet_length(d.headers) AS size
        FROM deferred d
        WHERE d.group_id = :group_id
          AND (d.topic, d.partition)
              IN (SELECT * FROM unnest(:partitions.topic::text[], :partitions.partition::integer[]))
          AND d.waits_for = ANY (:waits_for::text[])
        ORDER BY d.n
        LIMIT :limit
    ) d
) d
WHERE bytes_before < :limit_bytes
ORDER BY n;

-- name: defer_again
-- Lets messages wait for other rows.
UPDATE deferred d SET waits_for = v.waits_for, concerns = v.concerns
FROM unnest(:numbers::bigint[], :waits_for::text[], :concerns::text[]) AS v (n, waits_for, concerns)
WHERE d.group_id = :group_id AND d.n = v.n;

-- name: delete_deferred
-- Removes messages that were handled.
DELETE FROM deferred d USING unnest(:numbers::bigint[]) AS v (n) WHERE d.group_id = :group_id AND d.n = v.n;

-- name: count_deferred
-- How many messages of a group wait for a locked row, since when, and for which.
SELECT count(*) AS messages, min(deferred_at) AS oldest, array_agg(DISTINCT waits_for) AS waits_for,
       greatest(0, extract(epoch FROM clock_timestamp() - min(deferred_at)))::float8 AS oldest_s
FROM deferred WHERE group_id = :group_id;
