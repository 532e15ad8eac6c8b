-- What the output needs: leases that a step of the clock cannot prolong, partitions that stay, epochs that each account knows.

SET LOCAL search_path = avoir;

-- For how long a lease was taken: one that lies further ahead was taken before the clock was set back, and is free.
ALTER TABLE leases ADD COLUMN held_for interval NOT NULL DEFAULT interval '1 minute' CHECK (held_for > interval '0');

-- How many partitions of each topic out are used, by its actual name: as many as it had when it was first seen.
CREATE TABLE topics_out (
    topic text PRIMARY KEY,
    partitions integer NOT NULL CHECK (partitions >= 1)
);
GRANT SELECT ON topics_out TO avoir_service, avoir_readonly;
GRANT INSERT ON topics_out TO avoir_service;

-- The epoch of an account's last event, and the number that its events under that epoch began with.
ALTER TABLE accounts ADD COLUMN epoch integer NOT NULL DEFAULT 1 CHECK (epoch >= 1);
ALTER TABLE accounts ADD COLUMN epoch_from bigint NOT NULL DEFAULT 1 CHECK (epoch_from >= 1);

-- Events are published again from the commands too.
GRANT SELECT ON commands TO avoir_service;
