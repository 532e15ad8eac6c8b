-- What is too large to be kept whole, and what is too much of a topic in a minute, leaves its length, count, places and hash.

SET LOCAL search_path = avoir;

-- `value_length` and `sha256` are there where key and value are only their first bytes: of the whole value, or of a part of a batch
-- as it lies compressed in Kafka. `messages` may be more than one: from `first_offset` to `kafka_offset`.
ALTER TABLE dead_letters
    ADD COLUMN first_offset bigint,
    ADD COLUMN messages bigint NOT NULL DEFAULT 1 CHECK (messages > 0),
    ADD COLUMN value_length bigint,
    ADD COLUMN sha256 bytea CHECK (octet_length(sha256) = 32),
    DROP CONSTRAINT dead_letters_outcome_check,
    ADD CONSTRAINT dead_letters_outcome_check
        CHECK (outcome IN ('rejected', 'conflict', 'parked', 'skipped', 'summarised'));

-- Of a topic, how many dead letters the minute has had, and their bytes; one row each, so that all processes keep to one bound.
CREATE TABLE dead_letter_rates (
    topic text PRIMARY KEY,
    minute timestamptz NOT NULL,
    letters bigint NOT NULL,
    bytes bigint NOT NULL
);

-- Only a summary is ever changed: it takes in what comes in its minute.
GRANT UPDATE (first_offset, kafka_offset, messages, sha256, recorded_at) ON dead_letters TO avoir_service;
GRANT SELECT ON dead_letter_rates TO avoir_service, avoir_readonly;
GRANT INSERT, UPDATE ON dead_letter_rates TO avoir_service;
