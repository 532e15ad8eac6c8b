-- A decision is known by where its record lies, which grows, where an id made of that lies anywhere in its index. Facts
-- and policy are kept as they were written: nothing looks for a decision by them.

SET LOCAL search_path = avoir;

ALTER TABLE decisions DROP CONSTRAINT decisions_pkey;
ALTER TABLE decisions DROP COLUMN decision_id;
ALTER TABLE decisions ADD PRIMARY KEY (tenant_id, topic, partition, kafka_offset, recorded_at);
ALTER TABLE decisions DROP CONSTRAINT decisions_facts_check;
ALTER TABLE decisions ALTER COLUMN facts TYPE json, ALTER COLUMN policy TYPE json;
ALTER TABLE decisions ADD CHECK (octet_length(facts::text) <= 4096);
