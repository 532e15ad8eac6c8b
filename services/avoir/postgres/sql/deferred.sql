-- Messages that wait for a row which somebody keeps locked: which rows those are, who has them, and what waits.

-- name: free_subjects
-- Those of some things that messages name that nobody has locked; each is locked until the transaction ends.
-- $1 tenants, $2 kinds, $3 ids.
SELECT s.tenant_id, s.kind, s.id
FROM unnest($1::text[], $2::text[], $3::text[]) AS k (tenant_id, kind, id)
JOIN subjects s USING (tenant_id, kind, id)
FOR UPDATE OF s SKIP LOCKED;

-- name: known_subjects
-- Those of some things that messages name that have a row. $1 tenants, $2 kinds, $3 ids.
SELECT s.tenant_id, s.kind, s.id
FROM unnest($1::text[], $2::text[], $3::text[]) AS k (tenant_id, kind, id)
JOIN subjects s USING (tenant_id, kind, id);

-- name: free_accounts
-- Those of some accounts that nobody has locked; each is locked until the transaction ends.
-- $1 tenants, $2 owner types, $3 owner ids, $4 currencies.
SELECT a.tenant_id, a.owner_type, a.owner_id, a.currency
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS k (tenant_id, owner_type, owner_id, currency)
JOIN accounts a USING (tenant_id, owner_type, owner_id, currency)
FOR UPDATE OF a SKIP LOCKED;

-- name: known_accounts
-- Those of some accounts that have a row. $1 tenants, $2 owner types, $3 owner ids, $4 currencies.
SELECT a.tenant_id, a.owner_type, a.owner_id, a.currency
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS k (tenant_id, owner_type, owner_id, currency)
JOIN accounts a USING (tenant_id, owner_type, owner_id, currency);

-- name: read_holders
-- Who keeps a session waiting (0 is a prepared transaction); what another user does is only told to those who may see
-- it. $1 process id.
SELECT b.pid, a.usename AS user, a.application_name AS application, host(a.client_addr) AS address, a.state,
       a.xact_start AS since, a.query_start AS last_query_at, left(a.query, 200) AS last_query
FROM unnest(pg_blocking_pids($1)) AS b (pid)
LEFT JOIN pg_stat_activity a ON a.pid = b.pid;

-- name: read_deferred
-- What the messages of some partitions wait for, and how many they are. $1 group, $2 topics, $3 partitions.
SELECT d.waits_for, d.concerns, count(*) AS messages, sum(octet_length(d.value))::bigint AS bytes
FROM deferred d
WHERE d.group_id = $1 AND (d.topic, d.partition) IN (SELECT * FROM unnest($2::text[], $3::integer[]))
GROUP BY d.waits_for, d.concerns;

-- name: oldest_deferred
-- The messages of some partitions that wait for some rows, in their order.
-- $1 group, $2 topics, $3 partitions, $4 what they wait for, $5 limit.
SELECT d.n, d.topic, d.partition, d.kafka_offset, d.timestamp_ms, d.key, d.value, d.headers
FROM deferred d
WHERE d.group_id = $1 AND (d.topic, d.partition) IN (SELECT * FROM unnest($2::text[], $3::integer[]))
  AND d.waits_for = ANY ($4::text[])
ORDER BY d.n
LIMIT $5;

-- name: defer_again
-- Lets messages wait for other rows. $1 group, $2 numbers, $3 what they wait for, $4 what they concern.
UPDATE deferred d SET waits_for = v.waits_for, concerns = v.concerns
FROM unnest($2::bigint[], $3::text[], $4::text[]) AS v (n, waits_for, concerns)
WHERE d.group_id = $1 AND d.n = v.n;

-- name: delete_deferred
-- Removes messages that were handled. $1 group, $2 numbers.
DELETE FROM deferred d USING unnest($2::bigint[]) AS v (n) WHERE d.group_id = $1 AND d.n = v.n;

-- name: count_deferred
-- How many messages of a group wait for a locked row, since when, and for which. $1 group.
SELECT count(*) AS messages, min(deferred_at) AS oldest, array_agg(DISTINCT waits_for) AS waits_for,
       greatest(0, extract(epoch FROM clock_timestamp() - min(deferred_at)))::float8 AS oldest_s
FROM deferred WHERE group_id = $1;
