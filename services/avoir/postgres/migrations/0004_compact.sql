-- What every message writes, in a form that costs less.

SET LOCAL search_path = avoir;

-- A decision is known by where its record lies, which grows; an id made of that lies anywhere in its index. Facts and
-- policy are kept as they were written: nothing looks for a decision by them.
ALTER TABLE decisions DROP CONSTRAINT decisions_pkey;
ALTER TABLE decisions DROP COLUMN decision_id;
ALTER TABLE decisions ADD PRIMARY KEY (tenant_id, topic, partition, kafka_offset, recorded_at);
ALTER TABLE decisions DROP CONSTRAINT decisions_facts_check;
ALTER TABLE decisions ALTER COLUMN facts TYPE json, ALTER COLUMN policy TYPE json;
ALTER TABLE decisions ADD CHECK (octet_length(facts::text) <= 4096);

-- The headers of a row to publish are one value: a MessagePack array of names (strings) and values (binary or nil) in turn.
ALTER TABLE outbox ADD COLUMN headers bytea;
UPDATE outbox SET headers = '\xdd' || int4send(2 * coalesce(cardinality(header_names), 0)) || coalesce((
    SELECT string_agg('\xdb' || int4send(octet_length(name)) || name
        || coalesce('\xc6' || int4send(octet_length(value)) || value, '\xc0'), '' ORDER BY n)
    FROM unnest(header_names, header_values) WITH ORDINALITY AS v (name, value, n)
), '');
ALTER TABLE outbox ALTER COLUMN headers SET NOT NULL, DROP COLUMN header_names, DROP COLUMN header_values;
