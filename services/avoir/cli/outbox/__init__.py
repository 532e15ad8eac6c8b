"""`avoir outbox`: records that the broker refused."""
