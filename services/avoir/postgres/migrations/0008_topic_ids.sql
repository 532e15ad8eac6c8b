-- Which topic a position is of, why it stands still until an operator sets it, and when it last moved.

SET LOCAL search_path = avoir;

ALTER TABLE consumer_offsets
    ADD COLUMN topic_id uuid,
    ADD COLUMN stopped text,
    ADD COLUMN moved_at timestamptz NOT NULL DEFAULT clock_timestamp();
