-- What it takes to decide a history again: every command as it came, and the order in which a batch was decided.

SET LOCAL search_path = avoir;

-- The place of a decision in its batch: all decisions of a batch were recorded at the same moment.
ALTER TABLE decisions ADD COLUMN position integer NOT NULL DEFAULT 0;

-- One row for each command that was decided; amounts in the body are decimal strings.
CREATE TABLE commands (
    tenant_id text NOT NULL,
    topic text NOT NULL,
    event_id text NOT NULL,
    occurred_at timestamptz NOT NULL,
    body jsonb NOT NULL,
    PRIMARY KEY (tenant_id, topic, event_id)
);
CREATE TRIGGER refuse_update BEFORE UPDATE OR DELETE ON commands FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON commands EXECUTE FUNCTION refuse_change();

GRANT SELECT ON commands TO avoir_readonly;
GRANT INSERT ON commands TO avoir_service;
