-- name: add_lease
-- The row of a lease, held by nobody. $1 name.
INSERT INTO leases (name, holder, held_until) VALUES ($1, '', '-infinity') ON CONFLICT DO NOTHING;

-- name: hold_lease
-- Takes a lease that is free, run out, or further ahead than it can be, since the clock was set back; or renews one's
-- own. No row while somebody else holds it. $1 name, $2 holder, $3 for how long.
UPDATE leases
SET holder = $2, held_until = clock_timestamp() + $3::interval, held_for = $3
WHERE name = $1
  AND (holder = $2 OR held_until NOT BETWEEN clock_timestamp() AND clock_timestamp() + held_for)
RETURNING 1;

-- name: release_lease
-- Lets go of a lease. $1 name, $2 holder.
UPDATE leases SET held_until = '-infinity' WHERE name = $1 AND holder = $2;

-- name: lease_is_held
-- Whether anybody holds a lease. $1 name.
SELECT EXISTS (
    SELECT FROM leases
    WHERE name = $1 AND held_until BETWEEN clock_timestamp() AND clock_timestamp() + held_for
);

-- name: ensure_partitions
-- Makes the ledger's partitions of this month and the next two.
SELECT ensure_partitions();

-- name: backlog
-- What waits or has failed, for the metrics: counts stop at 100,000.
SELECT (SELECT count(*) FROM (SELECT FROM outbox WHERE refused IS NULL LIMIT 100000) AS rows) AS outbox,
       (SELECT count(*) FROM (SELECT FROM outbox WHERE refused IS NOT NULL LIMIT 100000) AS rows) AS refused,
       (SELECT greatest(0, extract(epoch FROM clock_timestamp() - recorded_at))::float8
        FROM outbox WHERE refused IS NULL ORDER BY outbox_id LIMIT 1) AS oldest_unpublished_s,
       (SELECT sum(messages)::bigint FROM (SELECT messages FROM dead_letters WHERE replayed_at IS NULL LIMIT 100000) AS rows)
           AS dead_letters,
       (SELECT count(*) FROM (SELECT FROM dead_letters
                              WHERE replayed_at IS NULL AND outcome = 'parked' LIMIT 100000) AS rows) AS parked,
       (SELECT count(*) FROM deferred) AS deferred;

-- name: probe
-- A row that is taken back in the same transaction: whether the database takes any. $1 some bytes.
INSERT INTO outbox (tenant_id, topic, value, headers, recorded_at)
VALUES ('', 'probe', $1, '\x90', clock_timestamp())
RETURNING outbox_id;

-- name: answers
-- Nothing but an answer.
SELECT true;
