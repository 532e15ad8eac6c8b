-- name: add_lease
-- The row of a lease, held by nobody.
INSERT INTO leases (name, holder, held_until) VALUES (:name, '', '-infinity') ON CONFLICT DO NOTHING;

-- name: hold_lease
-- Takes a lease that is free, run out, or further ahead than it can be, since the clock was set back; or renews one's
-- own. No row while somebody else holds it.
UPDATE leases
SET holder = :holder, held_until = clock_timestamp() + :duration::interval, held_for = :duration
WHERE name = :name
  AND (holder = :holder OR held_until NOT BETWEEN clock_timestamp() AND clock_timestamp() + held_for)
RETURNING 1;

-- name: renew_lease
-- Prolongs one's own lease, also when it has run out and nobody took it since. No row when another did.
UPDATE leases SET held_until = clock_timestamp() + :duration::interval, held_for = :duration
WHERE name = :name AND holder = :holder
RETURNING 1;

-- name: release_lease
-- Lets go of a lease.
UPDATE leases SET held_until = '-infinity' WHERE name = :name AND holder = :holder;

-- name: lease_is_held
-- Whether anybody holds a lease.
SELECT EXISTS (
    SELECT FROM leases
    WHERE name = :name AND held_until BETWEEN clock_timestamp() AND clock_timestamp() + held_for
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
-- A row that is taken back in the same transaction: whether the database takes any.
INSERT INTO outbox (tenant_id, topic, value, headers, recorded_at)
VALUES ('', 'probe', :value, '\x90', clock_timestamp())
RETURNING outbox_id;

-- name: answers
-- Nothing but an answer.
SELECT true;

-- name: keep_alive
-- Nothing: the server hears that the transaction goes on.
SELECT;
