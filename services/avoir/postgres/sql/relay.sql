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
