-- Messages that wait for a row that another session keeps locked: those rows, who locks them, and the messages.

-- name: lock_free_subjects
-- Locks those of some subjects that no other session has locked, and returns them; they stay locked until the
-- transaction ends. It never waits, so the order of the locks doesn't matter.
SELECT s.tenant_id, s.kind, s.id
FROM unnest(:subjects.tenant_id::text[], :subjects.kind::text[], :subjects.id::text[]) AS k (tenant_id, kind, id)
JOIN subjects s USING (tenant_id, kind, id)
FOR UPDATE OF s SKIP LOCKED;

-- name: known_subjects
-- Those of some subjects that have a row.
SELECT s.tenant_id, s.kind, s.id
FROM unnest(:subjects.tenant_id::text[], :subjects.kind::text[], :subjects.id::text[]) AS k (tenant_id, kind, id)
JOIN subjects s USING (tenant_id, kind, id);

-- name: lock_free_accounts
-- Locks those of some accounts that no other session has locked, and returns them; they stay locked until the
-- transaction ends.
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
-- The sessions that block a session (0 is a prepared transaction). Only roles with the right to see it learn what
-- another user's session does.
SELECT b.pid, a.usename AS user, a.application_name AS application, host(a.client_addr) AS address, a.state,
       a.xact_start AS since, a.query_start AS last_query_at, left(a.query, 200) AS last_query
FROM unnest(pg_blocking_pids(:pid)) AS b (pid)
LEFT JOIN pg_stat_activity a ON a.pid = b.pid;

-- name: read_deferred
-- The rows that the messages of some partitions wait for, with the number and size of the messages.
SELECT d.waits_for, d.concerns, count(*) AS messages,
       sum(octet_length(coalesce(d.key, '')) + octet_length(d.value) + octet_length(d.headers))::bigint AS bytes
FROM deferred d
WHERE d.group_id = :group_id
  AND (d.topic, d.partition) IN (SELECT * FROM unnest(:partitions.topic::text[], :partitions.partition::integer[]))
GROUP BY d.waits_for, d.concerns;

-- name: oldest_deferred
-- The oldest messages of some partitions that wait for some rows, in their order, at least one. `limit_bytes` limits
-- their sizes in bytes, approximately.
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
-- Makes messages wait for other rows.
UPDATE deferred d SET waits_for = v.waits_for, concerns = v.concerns
FROM unnest(:numbers::bigint[], :waits_for::text[], :concerns::text[]) AS v (n, waits_for, concerns)
WHERE d.group_id = :group_id AND d.n = v.n;

-- name: delete_deferred
-- Deletes messages that were handled.
DELETE FROM deferred d USING unnest(:numbers::bigint[]) AS v (n) WHERE d.group_id = :group_id AND d.n = v.n;

-- name: count_deferred
-- The number of a group's messages that wait for a locked row, since when, and for which rows.
SELECT count(*) AS messages, min(deferred_at) AS oldest, array_agg(DISTINCT waits_for) AS waits_for,
       greatest(0, extract(epoch FROM clock_timestamp() - min(deferred_at)))::float8 AS oldest_s
FROM deferred WHERE group_id = :group_id;
