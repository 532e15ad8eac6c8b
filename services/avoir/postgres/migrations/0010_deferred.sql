-- Messages that wait for a row which somebody keeps locked, while those behind them go on.

SET LOCAL search_path = avoir;

-- `waits_for` names the locked row, `concerns` the accounts whose later messages wait too: JSON arrays of keys.
CREATE TABLE deferred (
    tenant_id text NOT NULL,
    group_id text NOT NULL,
    topic text NOT NULL,
    partition integer NOT NULL,
    kafka_offset bigint NOT NULL,
    n bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    waits_for text NOT NULL,
    concerns text NOT NULL,
    timestamp_ms bigint NOT NULL,
    key bytea,
    value bytea NOT NULL,
    headers bytea NOT NULL,
    deferred_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant_id, n)
);
CREATE INDEX deferred_in_order ON deferred (group_id, n);
GRANT SELECT ON deferred TO avoir_service, avoir_readonly;
GRANT INSERT, UPDATE, DELETE ON deferred TO avoir_service;
