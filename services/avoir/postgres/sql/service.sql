-- The running service: leases, health, the backlog, sweeps and partitions of the ledger.

-- name: add_lease
-- Adds the row of a lease, without a holder.
INSERT INTO leases (name, holder, held_until) VALUES (:name, '', '-infinity') ON CONFLICT DO NOTHING;

-- name: hold_lease
-- Takes a lease that is free or expired, or renews one's own; no row while another process holds it. A lease that ends
-- further ahead than its term counts as free: the clock was set back.
UPDATE leases
SET holder = :holder, held_until = clock_timestamp() + :duration::interval, held_for = :duration
WHERE name = :name
  AND (holder = :holder OR held_until NOT BETWEEN clock_timestamp() AND clock_timestamp() + held_for)
RETURNING 1;

-- name: renew_lease
-- Renews one's own lease, even if it has expired, unless another process has taken it meanwhile: then no row.
UPDATE leases SET held_until = clock_timestamp() + :duration::interval, held_for = :duration
WHERE name = :name AND holder = :holder
RETURNING 1;

-- name: release_lease
-- Releases a lease.
UPDATE leases SET held_until = '-infinity' WHERE name = :name AND holder = :holder;

-- name: lease_is_held
-- Whether any process holds a lease.
SELECT EXISTS (
    SELECT FROM leases
    WHERE name = :name AND held_until BETWEEN clock_timestamp() AND clock_timestamp() + held_for
);

-- name: ensure_partitions
-- Creates the ledger's partitions of this month and the next two.
SELECT ensure_partitions();

-- name: backlog
-- Work that waits or has failed, for the metrics; counts stop at 100,000.
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
-- Adds a row that is rolled back in the same transaction: a test of whether the database accepts writes.
INSERT INTO outbox (tenant_id, topic, value, headers, recorded_at)
VALUES ('', 'probe', :value, '\x90', clock_timestamp())
RETURNING outbox_id;

-- name: ping
-- Tests whether the database answers.
SELECT true;

-- name: keep_alive
-- Does nothing, but resets the idle time of the transaction.
SELECT;
