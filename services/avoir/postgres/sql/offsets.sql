-- Positions of the consumer group: how far each partition is handled, and why one is stopped.

-- name: read_positions
-- The rows of some partitions, for those that have one.
SELECT o.topic, o.partition, o.next_offset, o.topic_id, o.stopped
FROM unnest(:partitions.topic::text[], :partitions.partition::integer[]) AS asked (topic, partition)
JOIN consumer_offsets o ON o.group_id = :group_id AND o.topic = asked.topic AND o.partition = asked.partition;

-- name: add_positions
-- Adds rows for partitions that never had one; a row that another process added first stays.
INSERT INTO consumer_offsets (group_id, topic, partition, next_offset)
SELECT :group_id, v.topic, v.partition, v.next_offset
FROM unnest(:partitions.topic::text[], :partitions.partition::integer[], :next_offsets::bigint[])
    AS v (topic, partition, next_offset)
ORDER BY v.topic, v.partition
ON CONFLICT DO NOTHING;

-- name: set_topic_ids
-- Records the topic ids of positions that have none yet.
UPDATE consumer_offsets o SET topic_id = v.topic_id
FROM unnest(:partitions.topic::text[], :partitions.partition::integer[], :topic_ids::uuid[])
    AS v (topic, partition, topic_id)
WHERE o.group_id = :group_id AND o.topic = v.topic AND o.partition = v.partition AND o.topic_id IS NULL;

-- name: stop_positions
-- Stops partitions until an operator sets an offset; a partition that was moved or stopped meanwhile is left out.
UPDATE consumer_offsets o SET stopped = v.why
FROM unnest(:partitions.topic::text[], :partitions.partition::integer[], :expected::bigint[], :reasons::text[])
    AS v (topic, partition, expected, why)
WHERE o.group_id = :group_id AND o.topic = v.topic AND o.partition = v.partition AND o.next_offset = v.expected
  AND o.stopped IS NULL
RETURNING 1;

-- name: lock_offsets
-- Locks the rows of a batch's partitions in the lock order, and reads them. An UPDATE ... FROM unnest would lock them
-- in no order.
SELECT o.topic, o.partition, o.next_offset, o.stopped
FROM consumer_offsets o
WHERE o.group_id = :group_id
  AND (o.topic, o.partition) IN (SELECT * FROM unnest(:partitions.topic::text[], :partitions.partition::integer[]))
ORDER BY o.topic, o.partition
FOR UPDATE;

-- name: advance_offsets
-- Moves the positions of a batch's partitions on from the expected ones, at which the rows were locked (fencing).
UPDATE consumer_offsets o
SET next_offset = v.next_offset, moved_at = clock_timestamp()
FROM unnest(:partitions.topic::text[], :partitions.partition::integer[], :next_offsets::bigint[], :expected::bigint[])
    AS v (topic, partition, next_offset, expected)
WHERE o.group_id = :group_id AND o.topic = v.topic AND o.partition = v.partition AND o.next_offset = v.expected
  AND o.stopped IS NULL
RETURNING 1;

-- name: all_positions
-- Every stored position of a group.
SELECT topic, partition, next_offset, topic_id, stopped, moved_at
FROM consumer_offsets WHERE group_id = :group_id ORDER BY topic, partition;
