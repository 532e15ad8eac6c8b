-- What every message writes, in a form that costs less.

SET LOCAL search_path = avoir;

-- A decision is known by where its record lies, and looked for by its event: one index does both. Facts and policy are kept
-- as they were written, since nothing looks for a decision by them.
ALTER TABLE decisions DROP CONSTRAINT decisions_pkey;
ALTER TABLE decisions DROP COLUMN decision_id;
ALTER TABLE decisions ADD PRIMARY KEY (tenant_id, event_id, topic, partition, kafka_offset, recorded_at);
DROP INDEX decisions_of_event;
ALTER TABLE decisions DROP CONSTRAINT decisions_facts_check;
ALTER TABLE decisions ALTER COLUMN facts TYPE json, ALTER COLUMN policy TYPE json;
ALTER TABLE decisions ADD CHECK (octet_length(facts::text) <= 4096);

-- A line is known by its id; its place is only their order.
ALTER TABLE invoice_lines DROP CONSTRAINT invoice_lines_pkey;
ALTER TABLE invoice_lines DROP CONSTRAINT invoice_lines_tenant_id_invoice_id_line_id_key;
ALTER TABLE invoice_lines ADD PRIMARY KEY (tenant_id, invoice_id, line_id);

-- Most credit does not expire.
DROP INDEX grants_to_expire;
CREATE INDEX grants_to_expire ON grants (expires_at) WHERE expires_at IS NOT NULL AND available + reserved > 0;

-- The headers of a row to publish are one value: a MessagePack array of names (strings) and values (binary or nil) in turn.
ALTER TABLE outbox ADD COLUMN headers bytea;
UPDATE outbox SET headers = '\xdd' || int4send(2 * coalesce(cardinality(header_names), 0)) || coalesce((
    SELECT string_agg('\xdb' || int4send(octet_length(name)) || name
        || coalesce('\xc6' || int4send(octet_length(value)) || value, '\xc0'), '' ORDER BY n)
    FROM unnest(header_names, header_values) WITH ORDINALITY AS v (name, value, n)
), '');
ALTER TABLE outbox ALTER COLUMN headers SET NOT NULL, DROP COLUMN header_names, DROP COLUMN header_values;
