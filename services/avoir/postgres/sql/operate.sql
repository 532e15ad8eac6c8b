-- What operators do by hand: replays, records passed by, a new epoch.

-- name: lock_dead_letter
-- A dead letter's row, held while it is replayed.
SELECT replayed_at FROM dead_letters WHERE tenant_id = :tenant_id AND dead_letter_id = :dead_letter_id FOR UPDATE;

-- name: mark_replayed
-- Notes that a dead letter went to its topic again.
UPDATE dead_letters SET replayed_at = clock_timestamp() WHERE tenant_id = :tenant_id AND dead_letter_id = :dead_letter_id;

-- name: pass_by
-- Moves a position on by the one record that cannot be read, and by no other.
UPDATE consumer_offsets
SET next_offset = :offset + 1, moved_at = clock_timestamp()
WHERE group_id = :group_id AND topic = :topic AND partition = :partition AND next_offset = :offset
RETURNING next_offset;

-- name: record_passed_by
-- Keeps on record that somebody passed by a record, and why. Its bytes are only in Kafka: no client can read them.
INSERT INTO dead_letters (tenant_id, dead_letter_id, outcome, reason, event_id, topic, partition, kafka_offset,
    header_names, header_values, recorded_at)
VALUES ('', :dead_letter_id, 'skipped', :reason, '', :topic, :partition, :offset, '{}', '{}', clock_timestamp())
ON CONFLICT (tenant_id, dead_letter_id) DO NOTHING;

-- name: raise_epoch
-- Begins a new epoch: from now on the same sequence numbers may come again with other contents. It is above another.
INSERT INTO epochs (epoch, reason) SELECT greatest(max(epoch), :above) + 1, :reason FROM epochs RETURNING epoch;

-- name: lock_all_accounts
-- Waits for the batches in hand and keeps new ones waiting.
LOCK TABLE accounts IN EXCLUSIVE MODE;

-- name: stream_accounts
-- Every account that an event was published of, as it stands.
SELECT * FROM accounts WHERE seq > 0;

-- name: read_known_accounts
-- Which of some accounts an event was published of.
SELECT tenant_id, owner_type, owner_id, currency
FROM unnest(
    :accounts.tenant_id::text[], :accounts.owner_type::text[], :accounts.owner_id::text[], :accounts.currency::text[]
) AS k (tenant_id, owner_type, owner_id, currency)
JOIN accounts a USING (tenant_id, owner_type, owner_id, currency)
WHERE a.seq > 0;

-- name: set_epochs
-- Which epoch accounts are in, and from which seq on.
UPDATE accounts a SET epoch = :epoch, epoch_from = v.epoch_from
FROM unnest(:accounts.tenant_id::text[], :accounts.owner_type::text[], :accounts.owner_id::text[],
    :accounts.currency::text[], :seqs::bigint[])
    AS v (tenant_id, owner_type, owner_id, currency, epoch_from)
WHERE a.tenant_id = v.tenant_id AND a.owner_type = v.owner_type AND a.owner_id = v.owner_id AND a.currency = v.currency;

-- name: stream_outbox
-- All that waits of some topics, in order, what the broker refused included.
SELECT tenant_id, outbox_id, topic, key, value, headers, refused IS NOT NULL AS refused
FROM outbox WHERE topic = ANY (:topics::text[]) ORDER BY outbox_id;

-- name: restate_outbox
-- Other values and headers for rows that wait.
UPDATE outbox o SET value = v.value, headers = v.headers
FROM unnest(:rows.tenant_id::text[], :rows.outbox_id::bigint[], :rows.value::bytea[], :rows.headers::bytea[])
    AS v (tenant_id, outbox_id, value, headers)
WHERE o.tenant_id = v.tenant_id AND o.outbox_id = v.outbox_id;

-- name: drop_topics
-- Takes all rows of some topics out of the outbox: what they say comes again.
DELETE FROM outbox WHERE topic = ANY (:topics::text[]);

-- name: drop_refused
-- Takes rows of a topic that the broker refused out of the outbox, and returns their keys.
DELETE FROM outbox o
USING (
    SELECT tenant_id, outbox_id FROM outbox WHERE refused IS NOT NULL AND topic = :topic ORDER BY outbox_id LIMIT :limit
) v
WHERE o.tenant_id = v.tenant_id AND o.outbox_id = v.outbox_id
RETURNING o.key;

-- name: retry_refused
-- Lets the relay send again what the broker refused, but for one topic; returns how many rows that are.
WITH retried AS (UPDATE outbox SET refused = NULL WHERE refused IS NOT NULL AND topic <> :except_topic RETURNING 1)
SELECT count(*) FROM retried;

-- name: set_position
-- Moves a position elsewhere, in the topic that is there now, lets its partition go on, and returns where it was.
UPDATE consumer_offsets o SET next_offset = :offset, topic_id = :topic_id, stopped = NULL, moved_at = clock_timestamp()
FROM consumer_offsets before
WHERE o.group_id = :group_id AND o.topic = :topic AND o.partition = :partition
  AND before.group_id = o.group_id AND before.topic = o.topic AND before.partition = o.partition
RETURNING before.next_offset;

-- name: plan_freely
-- Lets this transaction read whole tables: the service's connections are kept from it.
SELECT set_config(name, 'on', true) FROM unnest(ARRAY['enable_seqscan', 'enable_hashjoin', 'enable_mergejoin']) AS name
UNION ALL SELECT set_config('plan_cache_mode', 'auto', true);

-- name: set_all_epochs
-- Puts the events of all accounts, from the first on, into an epoch.
UPDATE accounts SET epoch = :epoch, epoch_from = 1 WHERE seq > 0;
