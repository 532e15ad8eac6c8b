-- Operators' commands: replays, skipped records, a new epoch.

-- name: lock_dead_letter
-- Locks a dead letter's row while it is replayed.
SELECT replayed_at FROM dead_letters WHERE tenant_id = :tenant_id AND dead_letter_id = :dead_letter_id FOR UPDATE;

-- name: mark_replayed
-- Records that a dead letter was sent to its topic again.
UPDATE dead_letters SET replayed_at = clock_timestamp() WHERE tenant_id = :tenant_id AND dead_letter_id = :dead_letter_id;

-- name: skip_record
-- Moves a position past the one record that can't be read, and past no other.
UPDATE consumer_offsets
SET next_offset = :offset + 1, moved_at = clock_timestamp()
WHERE group_id = :group_id AND topic = :topic AND partition = :partition AND next_offset = :offset
RETURNING next_offset;

-- name: record_skip
-- Records that a record was skipped, and why. Its bytes are only in Kafka: no client can read them.
INSERT INTO dead_letters (tenant_id, dead_letter_id, outcome, reason, event_id, topic, partition, kafka_offset,
    header_names, header_values, recorded_at)
VALUES ('', :dead_letter_id, 'skipped', :reason, '', :topic, :partition, :offset, '{}', '{}', clock_timestamp())
ON CONFLICT (tenant_id, dead_letter_id) DO NOTHING;

-- name: raise_epoch
-- Begins a new epoch, above another if need be: from now on the same sequence numbers may come again with different
-- contents.
INSERT INTO epochs (epoch, reason) SELECT greatest(max(epoch), :above) + 1, :reason FROM epochs RETURNING epoch;

-- name: lock_all_accounts
-- Waits for the batches in progress, and keeps new ones waiting.
LOCK TABLE accounts IN EXCLUSIVE MODE;

-- name: stream_accounts
-- Every account with a published event, in its current state.
SELECT * FROM accounts WHERE seq > 0;

-- name: read_known_accounts
-- Those of some accounts that have a published event.
SELECT tenant_id, owner_type, owner_id, currency
FROM unnest(
    :accounts.tenant_id::text[], :accounts.owner_type::text[], :accounts.owner_id::text[], :accounts.currency::text[]
) AS k (tenant_id, owner_type, owner_id, currency)
JOIN accounts a USING (tenant_id, owner_type, owner_id, currency)
WHERE a.seq > 0;

-- name: set_epochs
-- Sets the epoch of accounts, and the seq from which on it counts.
UPDATE accounts a SET epoch = :epoch, epoch_from = v.epoch_from
FROM unnest(:accounts.tenant_id::text[], :accounts.owner_type::text[], :accounts.owner_id::text[],
    :accounts.currency::text[], :seqs::bigint[])
    AS v (tenant_id, owner_type, owner_id, currency, epoch_from)
WHERE a.tenant_id = v.tenant_id AND a.owner_type = v.owner_type AND a.owner_id = v.owner_id AND a.currency = v.currency;

-- name: stream_outbox
-- The outbox rows of some topics, in order, those that the broker refused included.
SELECT tenant_id, outbox_id, topic, key, value, headers, refused IS NOT NULL AS refused
FROM outbox WHERE topic = ANY (:topics::text[]) ORDER BY outbox_id;

-- name: restate_outbox
-- Replaces the values and headers of outbox rows.
UPDATE outbox o SET value = v.value, headers = v.headers
FROM unnest(:rows.tenant_id::text[], :rows.outbox_id::bigint[], :rows.value::bytea[], :rows.headers::bytea[])
    AS v (tenant_id, outbox_id, value, headers)
WHERE o.tenant_id = v.tenant_id AND o.outbox_id = v.outbox_id;

-- name: delete_outbox_of_topics
-- Deletes all outbox rows of some topics: their events are published again.
DELETE FROM outbox WHERE topic = ANY (:topics::text[]);

-- name: delete_refused
-- Deletes outbox rows of a topic that the broker refused, and returns their keys.
DELETE FROM outbox o
USING (
    SELECT tenant_id, outbox_id FROM outbox WHERE refused IS NOT NULL AND topic = :topic ORDER BY outbox_id LIMIT :limit
) v
WHERE o.tenant_id = v.tenant_id AND o.outbox_id = v.outbox_id
RETURNING o.key;

-- name: retry_refused
-- Lets the relay send refused rows again, except those of one topic; returns their number.
WITH retried AS (UPDATE outbox SET refused = NULL WHERE refused IS NOT NULL AND topic <> :except_topic RETURNING 1)
SELECT count(*) FROM retried;

-- name: set_position
-- Moves a position, in the topic that exists now, lets its partition go on, and returns the position before.
UPDATE consumer_offsets o SET next_offset = :offset, topic_id = :topic_id, stopped = NULL, moved_at = clock_timestamp()
FROM consumer_offsets before
WHERE o.group_id = :group_id AND o.topic = :topic AND o.partition = :partition
  AND before.group_id = o.group_id AND before.topic = o.topic AND before.partition = o.partition
RETURNING before.next_offset;

-- name: allow_all_plans
-- Allows this transaction to read whole tables; the service's connections forbid that (`PLANS` in connect.py).
SELECT set_config(name, 'on', true) FROM unnest(ARRAY['enable_seqscan', 'enable_hashjoin', 'enable_mergejoin']) AS name
UNION ALL SELECT set_config('plan_cache_mode', 'auto', true);

-- name: set_all_epochs
-- Puts the events of all accounts, from the first on, into an epoch.
UPDATE accounts SET epoch = :epoch, epoch_from = 1 WHERE seq > 0;
